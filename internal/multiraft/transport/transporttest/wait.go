package transporttest

import (
	"context"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// ticker paces the repetition of something that is lost until a connection heals.
type ticker struct {
	ctx context.Context //nolint:containedctx // it is the deadline of one test
}

func newTicker(t *testing.T) *ticker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	t.Cleanup(cancel)
	return &ticker{ctx: ctx}
}

// wait pauses before the next attempt, and fails the test when patience has ended.
func (k *ticker) wait(t *testing.T, what string) {
	t.Helper()
	timer := clock.Real{}.NewTimer(2 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-k.ctx.Done():
		t.Fatalf("waited in vain for %s", what)
	}
}
