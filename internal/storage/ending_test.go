package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// diskErrors says which changes of the disk fail.
type diskErrors struct {
	kind faultfs.Kind
	once bool // and not from then on
	list bool // of the list of tables alone, which is begun anew again and again
}

func (c diskErrors) String() string {
	return fmt.Sprintf("%v, once %v, of the list of tables %v", c.kind, c.once, c.list)
}

// TestDiskErrorsEndTheStore lets the disk fail what the library does to its files and to their directory, each change of a kind in turn, once or from then on, while
// somebody commits more than fits into memtables, flushes, replaces spans and asks what is durable. Each time the store ends
// with that error and not with the process, nobody waits for ever, and it can be opened again: as it is, and after a power failure that takes all that was
// not synced, a part of it, or nothing. Then it has what some number of commits have left, and all that it had told to be durable.
func TestDiskErrorsEndTheStore(t *testing.T) {
	t.Parallel()
	for _, kind := range []faultfs.Kind{faultfs.Create, faultfs.Write, faultfs.Sync, faultfs.SyncDir, faultfs.Remove} {
		for form := range 4 {
			c := diskErrors{kind: kind, once: form&1 != 0, list: form&2 != 0}
			if c.list && kind == faultfs.SyncDir {
				continue // a directory has no name that says for which file it is synced
			}
			t.Run(c.String(), func(t *testing.T) {
				t.Parallel()
				for nth := int64(1); nth < 50; nth++ {
					if !diskErrorAt(t, c, nth) {
						if nth < 3 && kind != faultfs.Remove {
							t.Errorf("there are %d of these changes only; the test shows too little", nth-1)
						}
						break
					}
				}
			})
		}
	}
}

// diskErrorAt reports whether there were as many changes of the kind, of which the last failed.
func diskErrorAt(t *testing.T, c diskErrors, nth int64) bool {
	t.Helper()
	injected := errors.New("injected")
	mem := vfs.NewCrashableMem()
	var armed, met atomic.Bool
	var changes atomic.Int64
	fs := faultfs.Wrap(mem, func(op faultfs.Op) error {
		if !armed.Load() || op.Kind != c.kind || c.list && !ofTheList(op.Path) || !strings.HasPrefix(op.Path, "store") {
			return nil
		}
		if n := changes.Add(1); n < nth || n > nth && c.once {
			return nil
		}
		met.Store(true)
		if c.kind == faultfs.Write {
			return &faultfs.TornError{Bytes: int(nth % 12), Err: injected}
		}
		return injected
	})
	told := make(chan error, 1)
	o := Options{FS: fs, Dir: "store", CacheBytes: 1 << 20, MemTableBytes: 64 << 10, listBytes: 1, OnFatal: func(err error) { told <- err }}
	if !c.list {
		o.listBytes = 0
	}
	e, err := Open(o)
	check(t, err)
	armed.Store(true)
	d := &durableLoad{e: e}
	d.run(t)
	what := fmt.Sprintf("%v %d", c, nth)
	hit := met.Load()
	armed.Store(false)
	after := map[string]vfs.FS{
		"a power failure": mem.CrashClone(vfs.CrashCloneCfg{}),
		"a kill":          mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 2))}),
	}
	_ = e.Close() // it says again what ended the store; what the library does by itself has met it then
	// What is not removed lies there, and a staged file that cannot be linked is copied.
	if err := e.Failure(); err == nil && hit && c.kind != faultfs.Remove && (c.list || !c.once || c.kind != faultfs.Create) {
		t.Errorf("%s: the store goes on", what)
	} else if err != nil && (!errors.Is(err, injected) || !errors.Is(<-told, injected)) {
		t.Errorf("%s: the store ends with %v", what, err)
	}
	// Taken once nothing runs any more: in the middle of a change of lists the half could have the name of the next one, and not the list, which
	// no disk does that has synced the list.
	after["half of one"] = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(1, uint64(nth)))})
	after["its end"] = mem
	for which, kept := range after {
		d.hasAfter(t, what+": after "+which, kept)
	}
	return hit
}

// durableLoad commits, flushes and replaces, and notes what it is told to be durable.
type durableLoad struct {
	e        *Engine
	flushed  int // commits, by Flush
	seen     int // commits, by the durable reader
	replaced int // by IngestReplace
}

const (
	loadCommits = 40
	loadKeys    = 7
)

func (d *durableLoad) run(t *testing.T) {
	t.Helper()
	var asking sync.WaitGroup
	steps := make(chan struct{}, 1)
	asking.Go(func() {
		for range steps {
			for range 20 {
				if n, err := number(d.e.Durable(), "applied"); err == nil {
					d.seen = max(d.seen, n)
				}
			}
		}
	})
	for i := 1; i <= loadCommits && d.step(t, i) == nil; i++ {
		select {
		case steps <- struct{}{}:
		default:
		}
	}
	close(steps)
	asking.Wait()
}

// step is one commit, which every now and then is flushed, or has a span replaced.
func (d *durableLoad) step(t *testing.T, i int) error {
	t.Helper()
	b := d.e.NewBatch()
	defer b.Close() //nolint:errcheck // nothing is on disk
	check(t, b.Set([]byte("applied"), []byte(strconv.Itoa(i))))
	check(t, b.Set(fmt.Appendf(nil, "key %d", i%loadKeys), fmt.Appendf(nil, "%d %s", i, strings.Repeat(string(rune('a'+i%26)), 20<<10))))
	if err := d.e.Commit(b); err != nil {
		return err
	}
	if i%5 == 0 {
		if err := d.e.Flush(); err != nil {
			return err
		}
		d.flushed = i
	}
	if i%9 == 0 {
		path := fmt.Sprintf("staged %d", i)
		w, err := d.e.NewTableWriter(path)
		if err != nil {
			return err
		}
		check(t, w.Set([]byte("replaced"), []byte(strconv.Itoa(i))))
		if err = w.Close(); err != nil {
			return err
		}
		if err = d.e.IngestReplace([]byte("replaced"), []byte("replacee"), []string{path}); err != nil {
			return err
		}
		d.replaced = i
	}
	return nil
}

// number reads a number, zero where there is none.
func number(r Reader, key string) (int, error) {
	value, ok, err := r.Get([]byte(key))
	if err != nil || !ok {
		return 0, err
	}
	return strconv.Atoi(string(value))
}

// hasAfter opens the store in a file system.
func (d *durableLoad) hasAfter(t *testing.T, what string, kept vfs.FS) {
	t.Helper()
	e, err := Open(Options{FS: kept, Dir: "store", CacheBytes: 1 << 20})
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	defer func() { check(t, e.Close()) }()
	applied, err := number(e, "applied")
	check(t, err)
	replaced, err := number(e, "replaced")
	check(t, err)
	if applied < max(d.flushed, d.seen) || replaced < d.replaced {
		t.Errorf("%s: commit %d is the last, of which %d was flushed and %d seen to be durable; span %d, of which %d was there",
			what, applied, d.flushed, d.seen, replaced, d.replaced)
	}
	for key := range loadKeys {
		want := applied - (applied-key+loadKeys)%loadKeys
		value, _, err := e.Get(fmt.Appendf(nil, "key %d", key))
		check(t, err)
		if got, _, _ := strings.Cut(string(value), " "); want > 0 && got != strconv.Itoa(want) || want <= 0 && got != "" {
			t.Errorf("%s: after commit %d key %d is of commit %q, want %d", what, applied, key, got, want)
		}
	}
}
