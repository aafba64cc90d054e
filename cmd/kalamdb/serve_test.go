package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestNodeThatDoesNotCloseEndsTheProcess closes a node that waits for ever, one that is done when it is asked to be, and one that fails.
func TestNodeThatDoesNotCloseEndsTheProcess(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		began := time.Now()
		err := closeWithin(t.Context(), func(context.Context) error { <-never; return nil }, 30*time.Second, 15*time.Second)
		if !errors.Is(err, errNotClosed) || time.Since(began) != 45*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		close(never)
		if err := closeWithin(t.Context(), func(ctx context.Context) error { <-ctx.Done(); return nil }, time.Second, time.Second); err != nil {
			t.Errorf("a node that is done in time: %v", err)
		}
		if err := closeWithin(t.Context(), func(context.Context) error { return broken }, time.Second, time.Second); !errors.Is(err, broken) {
			t.Errorf("a node that cannot close its files: %v", err)
		}
	})
}
