package clock

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func (l *Limits) left() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.marks)
}

func TestLimitedEndsInTime(t *testing.T) {
	for name, wait := range map[string]func(context.Context){
		"by Ends": func(ctx context.Context) {
			done, limit := Ends(ctx)
			select {
			case <-done:
			case <-limit:
			}
		},
		"by Done": func(ctx context.Context) { <-ctx.Done() },
		"behind a value": func(ctx context.Context) {
			type key struct{}
			done, limit := Ends(context.WithValue(ctx, key{}, 1))
			select {
			case <-done:
			case <-limit:
				t.Error("a context that hides a limit gave one")
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			var limits Limits
			time.Sleep(37 * time.Millisecond)
			begun := time.Now()
			ctx := limits.Within(t.Context(), 2*time.Second)
			if at, ok := ctx.Deadline(); !ok || at.Sub(begun) != 2*time.Second || ctx.Err() != nil {
				t.Fatalf("%s: the deadline is %v, %v, the error %v", name, at, ok, ctx.Err())
			}
			wait(ctx)
			if took := time.Since(begun); took < 2*time.Second || took > 2*time.Second+limitStep || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				t.Errorf("%s: ended after %v: %v", name, took, ctx.Err())
			}
			time.Sleep(2 * limitStep) // the mark, which Done may come before
			if left := limits.left(); left != 0 {
				t.Errorf("%s: %d marks stay", name, left)
			}
		})
	}
}

func TestLimitedEndsWithItsParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var limits Limits
		parent, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("no matter"))
		defer cancel()
		ctx := limits.Within(parent, time.Minute)
		if at, _ := ctx.Deadline(); time.Until(at) != time.Second {
			t.Errorf("the deadline is %v away, that of the parent is sooner", time.Until(at))
		}
		cancel()
		for _, end := range []func() <-chan struct{}{ctx.Done, func() <-chan struct{} { done, _ := Ends(ctx); return done }} {
			<-end()
		}
		if !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("the error is %v", ctx.Err())
		}
		time.Sleep(2 * time.Minute)
	})
}

func TestLimitedIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var limits Limits
		before, after := limits.Within(t.Context(), time.Minute), limits.Within(t.Context(), time.Minute)
		waiting := before.Done()
		before.Release()
		after.Release()
		<-waiting
		<-after.Done()
		if !errors.Is(before.Err(), context.Canceled) || !errors.Is(after.Err(), context.Canceled) {
			t.Errorf("released contexts say %v and %v", before.Err(), after.Err())
		}
		if left := limits.left(); left != 1 {
			t.Errorf("%d marks for two limits of one moment", left)
		}
		time.Sleep(2 * time.Minute)
	})
}

// TestLimitedNeedsNoGoroutine: contexts below one are told of its end as those below the standard library's are.
func TestLimitedNeedsNoGoroutine(t *testing.T) {
	var limits Limits
	ctx := limits.Within(t.Context(), time.Minute)
	before := runtime.NumGoroutine()
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	if more := runtime.NumGoroutine() - before; more != 0 {
		t.Errorf("a context below it takes %d goroutines", more)
	}
	ctx.Release()
	<-child.Done()
	if !errors.Is(child.Err(), context.Canceled) {
		t.Errorf("the error is %v", child.Err())
	}
}

// TestLimitsShareByTheSteadyClock: a wall clock that is set back lets no limit end early.
func TestLimitsShareByTheSteadyClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var limits Limits
		first := limits.Within(t.Context(), 2*time.Second)
		time.Sleep(1900 * time.Millisecond)
		now := time.Now()
		// The same moment on the wall, later on the clock that nobody sets: so a wall clock looks that was set back.
		ended := limits.mark(now, now.Add(2*time.Second))
		if ended == first.ended {
			t.Error("a limit shares the end of one that began 1.9 s before")
		}
		<-ended
		if took := time.Since(now); took < 2*time.Second {
			t.Errorf("a limit of 2 s is over after %v", took)
		}
	})
}

func BenchmarkLimit(b *testing.B) {
	parent, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	b.Run("Limited", func(b *testing.B) {
		var limits Limits
		b.ReportAllocs()
		for b.Loop() {
			ctx := limits.Within(parent, 2*time.Second)
			done, limit := Ends(ctx)
			select {
			case <-done:
			case <-limit:
			default:
			}
			ctx.Release()
		}
	})
	b.Run("WithTimeout", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ctx, cancel := context.WithTimeout(parent, 2*time.Second)
			select {
			case <-ctx.Done():
			default:
			}
			cancel()
		}
	})
}
