package flush

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// pacedClock is a clock whose timers pass at once, and which knows how long all of them took.
type pacedClock struct {
	clock.Clock

	now    time.Time
	rested time.Duration
	stuck  bool // timers never fire
}

func (c *pacedClock) Now() time.Time { return c.now }

func (c *pacedClock) NewTimer(d time.Duration) clock.Timer {
	fired := make(chan time.Time, 1)
	if !c.stuck {
		c.now, c.rested = c.now.Add(d), c.rested+d
		fired <- c.now
	}
	return firedTimer{fired}
}

type firedTimer struct{ c chan time.Time }

func (t firedTimer) C() <-chan time.Time { return t.c }
func (t firedTimer) Stop() bool          { return false }

// TestFlushGivesWay works beside traffic that comes and goes: a run that is alone never rests, one beside others rests five times as long as it works, the
// command of its own is not taken for traffic, and a rest ends with the run.
func TestFlushGivesWay(t *testing.T) {
	t.Parallel()
	wall, traffic := &pacedClock{now: time.Unix(1000, 0)}, uint64(0)
	p := (&Worker{Clock: wall, Traffic: func() uint64 { return traffic }}).pacer()
	work := func(others bool) time.Duration {
		before := wall.rested
		for range 100 * paceRows {
			wall.now = wall.now.Add(2 * time.Microsecond)
			if others {
				traffic++
			}
			if err := p.row(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return wall.rested - before
	}
	const worked = 100 * paceRows * 2 * time.Microsecond
	if got := work(false); got != 0 {
		t.Errorf("alone it rested %s", got)
	}
	if got := work(true); got < (paceShare-1)*worked || got > paceShare*worked {
		t.Errorf("beside others it rested %s of %s", got, worked)
	}
	wall.now = wall.now.Add(time.Second) // they ended
	if err := p.piece(t.Context()); err != nil {
		t.Fatal(err)
	}
	traffic++ // its own command
	if err := p.named(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := work(false); got != 0 {
		t.Errorf("after its own command it rested %s", got)
	}
	wall.stuck = true
	traffic++
	wall.now = wall.now.Add(time.Millisecond)
	ended, end := context.WithCancelCause(t.Context())
	over := errors.New("the run is over")
	end(over)
	if err := p.piece(ended); !errors.Is(err, over) {
		t.Errorf("a rest of a run that is over gave %v", err)
	}
}
