package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
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

// gateFS holds the first table file up that is made after it was armed.
type gateFS struct {
	disk.FS

	armed         atomic.Bool
	came, release chan struct{}
}

func (g *gateFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") && g.armed.CompareAndSwap(true, false) {
		close(g.came)
		<-g.release
	}
	return g.FS.Create(name, category)
}

// says counts how often a message was logged.
type says struct {
	slog.Handler

	message string
	times   *atomic.Int64
}

func (s says) Enabled(context.Context, slog.Level) bool { return true }

func (s says) Handle(_ context.Context, r slog.Record) error {
	if r.Message == s.message {
		s.times.Add(1)
	}
	return nil
}

// TestFlushIsCancelledByAnIngestion installs a snapshot between the keys of a flush that is at work: the library cancels the flush and does it again, and no key is
// lost.
func TestFlushIsCancelledByAnIngestion(t *testing.T) {
	t.Parallel()
	gate := &gateFS{FS: vfs.NewMem(), came: make(chan struct{}), release: make(chan struct{})}
	var cancelled atomic.Int64
	e, err := Open(Options{
		FS: gate, Dir: "store", CacheBytes: 1 << 20, MemTableBytes: 32 << 20,
		Logger: slog.New(says{slog.DiscardHandler, "a flush or compaction made way", &cancelled}),
	})
	check(t, err)
	defer e.Close() //nolint:errcheck // it says again what the test says
	// A flush looks whether it is cancelled when it begins a table; it makes several of so much.
	random, long := rand.New(rand.NewPCG(1, 1)), make([]byte, 64<<10)
	const rows = 192
	for i := range rows {
		for at := range long {
			long[at] = byte(random.Uint32())
		}
		b := e.NewBatch()
		check(t, b.Set(fmt.Appendf(nil, "a%03d", i), long))
		check(t, e.Commit(b))
		check(t, b.Close())
	}
	commit(t, e, "z=2")
	gate.armed.Store(true)
	flushed, err := e.AsyncFlush()
	check(t, err)
	<-gate.came
	check(t, e.IngestReplace([]byte("m"), []byte("n"), nil))
	close(gate.release)
	select {
	case <-flushed:
	case <-e.failed: // the flush is not done again
	}
	check(t, e.Failure())
	if got := cancelled.Load(); got != 1 {
		t.Errorf("%d flushes made way, want 1", got)
	}
	for i := range rows {
		if value, found, err := e.Get(fmt.Appendf(nil, "a%03d", i)); err != nil || !found || len(value) != len(long) {
			t.Errorf("row %d has %d bytes, %v, %v", i, len(value), found, err)
		}
	}
	if value, _, err := e.Get([]byte("z")); err != nil || string(value) != "2" {
		t.Errorf("z is %q, %v", value, err)
	}
}
