package sim

import (
	"cmp"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// This file ends a run that stands still. Simulated time is bounded everywhere, but a step that never ends, because somebody waits
// for a lock, a channel or room on a disk, would hold up all tests and say nothing.

// stuckAfter is how long a run may take between two signs of life, in real time. The longest steps take a second or so.
const stuckAfter = 2 * time.Minute

// pulse is a sign of life: it counts what a run does.
type pulse struct{ beats atomic.Uint64 }

func (p *pulse) beat() { p.beats.Add(1) }

// supervised runs something on a goroutine of its own and returns when it has ended, or with an error when it stands still or takes too
// much memory. Then its goroutine is left behind: nothing can end it.
func (w *world) supervised(run func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- run() }()
	looks, weighs := w.opt.looks, w.opt.weighs
	if looks == nil {
		ticker := time.NewTicker(stuckAfter)
		defer ticker.Stop()
		looks = ticker.C
	}
	if weighs == nil {
		ticker := time.NewTicker(weighEvery)
		defer ticker.Stop()
		weighs = ticker.C
	}
	memory := newScales()
	for last := w.pulse.beats.Load(); ; {
		select {
		case err := <-ended:
			return err
		case <-weighs:
			if used, most := memory.bytes(), cmp.Or(w.opt.most, mostBytes); used > most {
				return w.tooLarge(used, most)
			}
			continue
		case <-looks:
		}
		now := w.pulse.beats.Load()
		if now == last {
			w.end = goroutines()
			return violation{fmt.Sprintf("the run stands still: nothing has happened for %v of real time", stuckAfter)}
		}
		last = now
	}
}

// goroutines are the stacks of all goroutines.
func goroutines() string {
	stacks := make([]byte, 1<<20)
	return string(stacks[:runtime.Stack(stacks, true)])
}

// TestStandstillIsAFailure lets a run wait for what never comes, in the middle of a change of the log, and wants it to fail with its
// seed, its last events and the place where it waits.
func TestStandstillIsAFailure(t *testing.T) {
	release := make(chan struct{})
	unwound := make(chan struct{})
	looks := make(chan time.Time)
	w, err := tell(t, 1, func(o *options) { o.solo, o.looks = true, looks }, nil, func(l *lab) {
		defer close(unwound)
		l.trace.event("the story goes to sleep")
		for range 2 { // the first look finds that something has happened before
			looks <- time.Time{}
		}
		<-release
		l.fail("the story woke up")
	})
	defer func() { close(release); <-unwound }()
	if err == nil {
		t.Fatal("a run that stands still ends well")
	}
	report := w.report(err)
	for _, part := range []string{"seed 1: the run stands still", "the story goes to sleep", "TestStandstillIsAFailure.func", "make sim SEED=1"} {
		if !strings.Contains(report, part) {
			t.Errorf("the report lacks %q:\n%s", part, report)
		}
	}
}
