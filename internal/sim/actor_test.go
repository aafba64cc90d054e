package sim

import (
	"iter"
	"time"
)

// actor is a plain function that gives way where production would wait. The driver resumes every actor once
// in each step, so all of them take turns on the driver's goroutine.
type actor struct {
	w     *world
	name  string
	node  *simNode // the process it belongs to; nil for a client
	life  int
	s     *session // its request
	at    *simNode // where its request is being served; it stands still while that node is paused
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	wake  time.Time // until when it sleeps; zero when it does not
	ended bool
	runs  bool // at this moment
}

// actorStopped unwinds an actor that is not resumed any more.
type actorStopped struct{}

// spawn starts a client.
func (w *world) spawn(name string, run func(*actor)) *actor {
	a := &actor{w: w, name: name}
	a.next, a.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if r := recover(); r != nil {
				if _, stopped := r.(actorStopped); !stopped {
					panic(r)
				}
			}
		}()
		a.yield = yield
		run(a)
	})
	w.actors = append(w.actors, a)
	return a
}

// spawnAt starts a part of a node's process, which ends with it.
func (w *world) spawnAt(n *simNode, name string, run func(*actor)) {
	a := w.spawn(name, run)
	a.node, a.life = n, n.life
}

// resume lets an actor go on until it gives way, unless it sleeps.
func (a *actor) resume(now time.Time) {
	switch {
	case a.ended, a.node != nil && a.node.paused, a.at != nil && a.at.paused:
		return
	case a.node != nil && a.node.life != a.life:
		a.end()
		return
	case now.Before(a.wake):
		return // it would only look at the time
	}
	a.w.current, a.runs = a, true
	if _, more := a.next(); !more {
		a.ended = true
	}
	a.runs = false
}

// unwind lets whoever waits in a process that has ended notice that, so that it closes what it has open.
func (a *actor) unwind() {
	s := a.s
	for range 100 {
		if a.ended || a.runs || s == nil || a.s != s || !s.reads {
			return
		}
		a.runs = true
		_, more := a.next()
		a.runs, a.ended = false, !more
	}
	a.w.fail("%s does not notice that its node has ended", a.name)
}

func (a *actor) end() {
	if !a.ended {
		a.ended = true
		a.stop()
	}
}

// pause gives way for one step.
func (a *actor) pause() {
	if !a.yield(struct{}{}) {
		panic(actorStopped{})
	}
}

// sleep gives way for a time.
func (a *actor) sleep(d time.Duration) {
	end := a.w.clock.Now().Add(d)
	for a.w.clock.Now().Before(end) {
		a.wake = end
		a.pause()
	}
	a.wake = time.Time{}
}
