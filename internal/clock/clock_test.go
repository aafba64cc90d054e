package clock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestPauseEndsWithTimeOrContext pauses on a clock that stands still: what ends it is that clock or the context, and no timer is left.
func TestPauseEndsWithTimeOrContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewManual(time.Unix(1000, 0))
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		pause := func() {
			go func() { ended <- Pause(ctx, m, time.Minute) }()
			synctest.Wait()
		}
		pause()
		m.Advance(time.Minute - 1)
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("a pause has ended before its time: %v", err)
		default:
		}
		m.Advance(1)
		if err := <-ended; err != nil {
			t.Errorf("a pause whose time is up: %v", err)
		}
		pause()
		cancel(errors.New("a cause"))
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("a pause whose context ends: %v", err)
		}
		if len(m.timers) > 0 {
			t.Errorf("%d timers are left", len(m.timers))
		}
	})
}
