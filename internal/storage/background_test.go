package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestFlushThatMakesWay: a flush that is cancelled because a snapshot is installed between its keys is done again by the library, and
// ends no node; any other error of a flush does.
func TestFlushThatMakesWay(t *testing.T) {
	t.Parallel()
	e := open(t, vfs.NewMem())
	tell := e.pebbleOptions(Options{FS: e.fs, Logger: slog.New(slog.DiscardHandler)}).EventListener.BackgroundError
	tell(fmt.Errorf("flush: %w", pebble.ErrCancelledCompaction))
	if err := e.Failure(); err != nil {
		t.Fatalf("a flush that made way ended the store: %v", err)
	}
	commit(t, e, "a=1")
	check(t, e.Flush())
	broken := errors.New("broken")
	tell(broken)
	if err := e.Failure(); !errors.Is(err, broken) {
		t.Errorf("a broken flush gave %v", err)
	}
	_ = e.Close() // it says again that it is broken
}
