package auth

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/bcrypt"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// TestHashingIsBounded holds the only worker, fills the queue, and sees the next caller refused and a
// canceled one leave its place.
func TestHashingIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, err := newHasher(Config{BcryptCost: bcrypt.MinCost, HashWorkers: 1, HashQueue: 1})
		if err != nil {
			t.Fatal(err)
		}
		release, outcomes := make(chan struct{}), make(chan error, 3)
		go func() { outcomes <- h.run(t.Context(), func() { <-release }) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { outcomes <- h.run(ctx, func() { t.Error("a canceled caller ran") }) }()
		synctest.Wait()
		if err := h.run(t.Context(), func() { t.Error("a refused caller ran") }); fault.KindOf(err) != fault.Overloaded {
			t.Errorf("a full queue: %v, want overloaded", err)
		}
		cancel()
		if err := <-outcomes; !errors.Is(err, context.Canceled) {
			t.Errorf("canceled while waiting: %v", err)
		}
		ran := false
		go func() { outcomes <- h.run(t.Context(), func() { ran = true }) }()
		synctest.Wait()
		close(release)
		for range 2 {
			if err := <-outcomes; err != nil {
				t.Error(err)
			}
		}
		if !ran || len(h.queue) != 0 || len(h.running) != 0 {
			t.Errorf("ran = %v, %d in the queue, %d running at the end", ran, len(h.queue), len(h.running))
		}
	})
}
