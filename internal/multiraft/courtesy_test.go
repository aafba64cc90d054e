package multiraft

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// TestCourtesy lets proposals take longer during a transfer than before it: senders rest for longer and longer, up to a
// bound, and for shorter again when proposals are as quick as before, or there are none.
func TestCourtesy(t *testing.T) {
	t.Parallel()
	wall := clock.NewManual(time.Unix(1_700_000_000, 0))
	var proposals, writes meterTotal
	observer := func(total *meterTotal) prometheus.Observer {
		return meter{prometheus.NewHistogram(prometheus.HistogramOpts{Name: "x"}), total}
	}
	propose, write := observer(&proposals), observer(&writes)
	c := newCourtesy(wall, &proposals, &writes)
	many := func(o prometheus.Observer, took time.Duration) {
		for range courtesyLeast {
			o.Observe(took.Seconds())
		}
	}
	const worked = 10 * time.Millisecond
	next := func(during func()) time.Duration {
		if during != nil {
			during()
		}
		wall.Advance(courtesyEvery)
		return c.pause(worked)
	}
	if got := next(func() { many(propose, time.Hour) }); got != 0 {
		t.Errorf("a rest of %s though nobody knows what is usual", got)
	}
	for range 3 {
		many(propose, time.Millisecond)
		many(write, 100*time.Microsecond)
		c.learn()
	}
	usual := func() { many(propose, 1050*time.Microsecond); many(write, 100*time.Microsecond) }
	if got := next(usual); got != 0 {
		t.Errorf("a rest of %s while proposals take as long as usual", got)
	}
	slow := func() { many(propose, 2*time.Millisecond) }
	want := []time.Duration{worked / 2, worked, 2 * worked, 4 * worked, 8 * worked, 16 * worked, longestIdle * worked, longestIdle * worked}
	for i, want := range want {
		if got := next(slow); got != want {
			t.Errorf("the rest number %d is %s, want %s", i+1, got, want)
		}
	}
	if got := c.pause(time.Hour); got != longestPause {
		t.Errorf("after a chunk of an hour the rest is %s, want %s", got, longestPause)
	}
	between := func() { many(propose, 1150*time.Microsecond) }
	if got := next(between); got != longestIdle*worked {
		t.Errorf("between the bounds the rest becomes %s", got)
	}
	settles := func(what string, during func()) {
		last := worked * longestIdle
		for range 12 {
			got := next(during)
			if got > last {
				t.Errorf("%s: the rest grows from %s to %s", what, last, got)
			}
			last = got
		}
		if last != 0 {
			t.Errorf("%s: the rest stays at %s", what, last)
		}
	}
	settles("as quick as before", usual)
	if got := next(func() { usual(); many(write, time.Millisecond) }); got == 0 {
		t.Error("no rest though writes of the log take ten times as long")
	}
	settles("nobody is there", nil)
	for range 3 {
		next(slow)
	}
	c.learn()
	if got := c.pause(worked); got != 0 {
		t.Errorf("the next transfer begins with a rest of %s", got)
	}
}
