package multiraft

import (
	"sync"
	"time"
)

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

// pace is how far the next tick that the timekeeper counts is away.
type pace struct {
	interval time.Duration

	mu      sync.Mutex // guards all below
	counted time.Time  // when the newest counted tick was due
	planned int        // ticks that pass when the timer fires: one, or more in a lull; zero while nobody keeps the time
	resting int        // workers whose groups all sleep, and that have nothing to do
	hurry   chan struct{}
}

func newPace(interval time.Duration) *pace {
	return &pace{interval: interval, hurry: make(chan struct{}, 1)}
}

// start begins to count.
func (p *pace) start(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counted = now
}

// plan sets how many ticks pass next, at most in a lull, and returns for how long the timekeeper sleeps.
func (p *pace) plan(now time.Time, workers, most int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.planned = 1
	if p.resting == workers {
		p.planned = max(most, 1)
	}
	return p.counted.Add(time.Duration(p.planned) * p.interval).Sub(now)
}

// take returns the ticks that were planned, now that their time is over.
func (p *pace) take(now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	ticks := p.planned
	p.planned, p.counted = 0, now
	return ticks
}

// uncounted is how many ticks of a lull have passed that nobody has counted.
func (p *pace) uncounted(now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.planned <= 1 {
		return 0
	}
	return max(min(int(now.Sub(p.counted)/p.interval), p.planned), 0)
}

// rest notes that a worker has come to rest.
func (p *pace) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resting++
}

// rouse notes that a resting worker has something to do, and ends a lull. It returns the ticks that have passed in it.
func (p *pace) rouse(now time.Time) int {
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
	signal(p.hurry)
	return ticks
}

// untilEvent is how many ticks may pass together in a lull: up to the next beat, and not beyond the tick at which a peer
// would count as silent that is heard of no more.
func (m *Manager) untilEvent() int {
	beat := int64(m.cfg.HeartbeatTicks)
	return int(m.peers.untilSilent(beat, m.cfg.silentAfter()))
}

// comeToRest notes that all groups of the worker sleep and nothing of it is under way, or no longer.
func (w *worker) comeToRest() {
	rests := w.sleeping == len(w.groups) && len(w.dirty) == 0 && w.underWay == 0 && len(w.held) == 0 && !w.roomless()
	switch {
	case rests && !w.resting:
		w.m.pace.rest()
	case !rests && w.resting:
		w.endRest()
	}
	w.resting = rests
}

// endRest ends a lull: its ticks pass before the worker does what has come up.
func (w *worker) endRest() {
	w.resting = false
	ticks := w.m.pace.rouse(w.m.cfg.Clock.Now())
	if ticks == 0 {
		return
	}
	w.m.peers.advance(ticks)
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
