package storage

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// drain walks an iterator to its end and returns what it ends with.
func drain(it *Iterator, err error) error {
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if _, err := it.Value(); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return errors.Join(it.Err(), it.Close())
}

// TestUnreadableDiskEndsTheEngine lets the disk fail reads of tables: whoever meets that is given the disk's error, and never
// an answer without what could not be read; the owner is told once; and from then on nothing is written, also where
// other blocks can still be read.
func TestUnreadableDiskEndsTheEngine(t *testing.T) {
	t.Parallel()
	key := []byte("k500")
	for name, read := range map[string]func(e *Engine) error{
		"get":            func(e *Engine) error { _, _, err := e.Get(key); return err },
		"get of a batch": func(e *Engine) error { b := e.NewBatch(); _, _, err := b.Get(key); return errors.Join(err, b.Close()) },
		"scan":           func(e *Engine) error { return drain(e.Scan(nil, nil)) },
		"durable scan":   func(e *Engine) error { return drain(e.Durable().Scan(nil, nil)) },
		"durable get":    func(e *Engine) error { _, _, err := e.Durable().Get(key); return err },
		"deleted range": func(e *Engine) error {
			b := e.NewBatch()
			return errors.Join(b.DeleteRange(key, []byte("l")), b.Close())
		},
		"staged table":    func(e *Engine) error { return e.ReadTable("beside", func(_, _ []byte) error { return nil }) },
		"staged, to move": func(e *Engine) error { return e.IngestReplace([]byte("x"), []byte("y"), []string{"beside"}) },
		"snapshot": func(e *Engine) error {
			view := e.NewSnapshot()
			_, _, err := view.Get(key)
			return errors.Join(err, drain(view.Scan(nil, nil)), view.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, fail, fatal := unreadable(t, name == "durable get") // which opens the table before it fails
			fail()
			if err := read(e); !errors.Is(err, errorfs.ErrInjected) {
				t.Errorf("the reader was told %v", err)
			}
			if err := <-fatal; !errors.Is(err, errorfs.ErrInjected) || !strings.Contains(err.Error(), "read") {
				t.Errorf("the owner was told %v", err)
			}
			b := e.NewBatch()
			check(t, b.Set([]byte("b"), nil))
			if err := e.Commit(b); err == nil {
				t.Error("commit after the failure succeeded")
			}
			check(t, b.Close())
			if _, err := e.NewTableWriter("other"); err == nil {
				t.Error("a snapshot was staged after the failure")
			}
			_ = e.Close() // may repeat the disk's error
			if len(fatal) != 0 {
				t.Error("the owner was told twice")
			}
		})
	}
}

// unreadable opens a store with a thousand rows in tables, of which nothing is in memory, and a table beside it. Reads of
// both fail after fail.
func unreadable(t *testing.T, warm bool) (e *Engine, fail func(), fatal <-chan error) {
	t.Helper()
	mem := vfs.NewMem()
	filled := open(t, mem)
	for i := range 1000 {
		commit(t, filled, "k"+string(rune('0'+i/100))+string(rune('0'+i/10%10))+string(rune('0'+i%10))+"=value")
	}
	check(t, filled.Flush())
	w, err := filled.NewTableWriter("beside")
	check(t, err)
	check(t, w.Set([]byte("x1"), []byte("value")))
	check(t, errors.Join(w.Close(), filled.Close()))
	var on atomic.Bool
	reported := make(chan error, 2)
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		table := strings.HasSuffix(op.Path, ".sst") || op.Path == "beside"
		if table && on.Load() && (op.Kind == errorfs.OpFileReadAt || op.Kind == errorfs.OpFileRead) {
			return errorfs.ErrInjected
		}
		return nil
	}))
	e, err = Open(Options{FS: fs, Dir: "store", OnFatal: func(err error) { reported <- err }})
	check(t, err)
	if warm {
		_, _, err = e.Get([]byte("a"))
		check(t, err)
	}
	return e, func() { on.Store(true) }, reported
}

// TestFailedCompactionEndsTheEngine lets a compaction fail to read its tables. Pebble tries again for ever; the owner is told
// at once, and until it closes the store not much is tried. Who has begun to flush goes on; the disk gets nothing, and nothing is durable.
func TestFailedCompactionEndsTheEngine(t *testing.T) {
	t.Parallel()
	var on atomic.Bool
	var created atomic.Int64
	reported := make(chan error, 2)
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch {
		case !on.Load() || !strings.HasSuffix(op.Path, ".sst"):
		case op.Kind == errorfs.OpFileReadAt:
			return errorfs.ErrInjected
		case op.Kind == errorfs.OpCreate:
			created.Add(1)
		}
		return nil
	}))
	e, err := Open(Options{FS: fs, Dir: "store", CacheBytes: 1, OnFatal: func(err error) { reported <- err }})
	check(t, err)
	on.Store(true)
	for i := 0; e.Failure() == nil && i < 100; i++ {
		commit(t, e, "a=1", "b=2", "c=3")
		_ = e.Flush() // fails once the compaction has
	}
	select {
	case err = <-reported:
		if !errors.Is(err, errorfs.ErrInjected) {
			t.Errorf("the owner was told %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no compaction has failed")
	}
	before := created.Load()
	// As if both had begun before the failure.
	check(t, e.db.Set([]byte("d"), nil, pebble.NoSync))
	done, err := e.db.AsyncFlush()
	check(t, err)
	select {
	case <-done: // in memory, for whoever waits for room there
	case <-time.After(10 * time.Second):
		t.Error("what is committed waits for ever after the failure")
	}
	if _, _, err := e.Durable().Get([]byte("d")); err == nil {
		t.Error("something is told to be durable after the failure")
	}
	if again := created.Load() - before; again > 0 {
		t.Errorf("%d tables were begun after the failure", again)
	}
	closed := make(chan error, 1)
	go func() { closed <- e.Close() }()
	select {
	case <-closed: //nolint:errcheck // it may repeat the disk's error
	case <-time.After(10 * time.Second):
		t.Error("the store does not close")
	}
}
