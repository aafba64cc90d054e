package multiraft

import "time"

// This file lets the ticks between two beats pass together while all groups of the node sleep, which is a lull. A tick
// then changes nothing, but each costs a timer, a wake-up of a worker and the runtime's monitor, more than all the rest
// of an idle node.
//
// A lull ends at the next beat, or at the tick at which a silent peer would be noticed if that is earlier, or as soon
// as a worker has anything to do. Whoever ends it counts the ticks that have passed by the clock before anything else
// happens, so groups wake at the same tick, and nodes are found silent at the same tick, as without lulls. What is
// heard of peers during a lull is noted at the tick it was heard at.
//
// Only the goroutine that keeps the time makes lulls: a driver that calls Tick counts every tick itself.

// pace is how far the next tick that the timekeeper counts is away. It is part of the peerClock, under the same lock:
// how many ticks are counted, how many of a lull have passed besides, and at which tick a peer was heard are one thing.
type pace struct {
	counted time.Time // when the newest counted tick was due
	planned int       // ticks that pass when the timer fires: one, or more in a lull; zero while nobody keeps the time
	resting int       // workers whose groups all sleep, and that have nothing to do
}

// start begins to count.
func (p *peerClock) start(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counted = now
}

// plan sets how many ticks pass next, and returns for how long the timekeeper sleeps. In a lull, when all workers rest,
// they are those up to the next multiple of beat, but not beyond the tick at which a peer would be silent for more than
// so many ticks that is heard of no more.
func (p *peerClock) plan(now time.Time, workers, beat, silent int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.planned = 1
	if p.resting == workers {
		p.planned = max(int(p.untilSilent(int64(beat), silent)), 1)
	}
	return p.counted.Add(time.Duration(p.planned) * p.interval).Sub(now)
}

// take counts the ticks that were planned, now that their time is over, and returns them and all that have passed.
func (p *peerClock) take(now time.Time) (ticks int, all int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ticks = p.planned
	p.planned, p.counted = 0, now
	p.now += int64(ticks)
	return ticks, p.now
}

// uncounted is how many ticks of a lull have passed that nobody has counted. The caller holds mu.
func (p *peerClock) uncounted(now time.Time) int64 {
	if p.planned <= 1 {
		return 0
	}
	return int64(max(min(int(now.Sub(p.counted)/p.interval), p.planned), 0))
}

// rest notes that a worker has come to rest.
func (p *peerClock) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resting++
}

// rouse notes that a resting worker has something to do, and ends a lull: it counts and returns the ticks that have
// passed in it.
func (p *peerClock) rouse(now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resting--
	if p.planned <= 1 {
		return 0
	}
	// The last one is left to the timekeeper: it may be one of a beat.
	ticks := max(min(int(now.Sub(p.counted)/p.interval), p.planned-1), 0)
	p.planned = 1
	p.counted = p.counted.Add(time.Duration(ticks) * p.interval)
	p.now += int64(ticks)
	signal(p.hurry)
	return ticks
}

// comeToRest notes that all groups of the worker sleep and nothing of it is under way, or no longer.
func (w *worker) comeToRest() {
	rests := w.sleeping == len(w.groups) && len(w.dirty) == 0 && w.underWay == 0 && len(w.held) == 0 && !w.roomless()
	switch {
	case rests && !w.resting:
		w.m.peers.rest()
	case !rests && w.resting:
		w.endRest()
	}
	w.resting = rests
}

// endRest ends a lull: its ticks pass before the worker does what has come up.
func (w *worker) endRest() {
	w.resting = false
	ticks := w.m.peers.rouse(w.m.cfg.Clock.Now())
	if ticks == 0 {
		return
	}
	for _, other := range w.m.workers {
		other.addTicks(ticks)
	}
}

// hasItems reports whether anything waits for the worker but ticks.
func (w *worker) hasItems() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.inbox) > 0 || len(w.written) > 0
}
