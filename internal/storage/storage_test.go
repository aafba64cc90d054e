package storage

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

func open(t *testing.T, fs disk.FS) *Engine {
	t.Helper()
	e, err := Open(Options{FS: fs, Dir: "store", CacheBytes: 1 << 20, MemTableBytes: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// openClosed opens an engine that is closed when the test ends.
func openClosed(t *testing.T, fs disk.FS) *Engine {
	t.Helper()
	e := open(t, fs)
	t.Cleanup(func() { check(t, e.Close()) })
	return e
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// commit writes "key=value" pairs and deletes bare keys.
func commit(t *testing.T, e *Engine, writes ...string) {
	t.Helper()
	b := e.NewBatch()
	for _, w := range writes {
		key, value, set := strings.Cut(w, "=")
		if set {
			check(t, b.Set([]byte(key), []byte(value)))
		} else {
			check(t, b.Delete([]byte(key)))
		}
	}
	check(t, e.Commit(b))
	check(t, b.Close())
}

// TestFilesBesideTheStoreDoNotWaitForRoom fills the disk under a store that waits for room: whoever writes a table file
// beside it is told at once.
func TestFilesBesideTheStoreDoNotWaitForRoom(t *testing.T) {
	var full atomic.Bool
	waiting := disk.WaitForRoom(faultfs.Wrap(vfs.NewMem(), func(op faultfs.Op) error {
		if full.Load() && (op.Kind == faultfs.Create || op.Kind == faultfs.Write) {
			return syscall.ENOSPC
		}
		return nil
	}), clock.Real{})
	e := openClosed(t, waiting)
	full.Store(true)
	if _, err := e.NewTableWriter("staged.sst"); !disk.IsFull(err) {
		t.Errorf("a table file: %v", err)
	}
	if _, err := e.FS().Create("record", disk.Category); !disk.IsFull(err) {
		t.Errorf("another file: %v", err)
	}
	if n := waiting.Blocked(); n != 0 {
		t.Errorf("%d changes wait for room", n)
	}
	full.Store(false)
}

// dump lists what a reader shows of a span as "key=value".
func dump(t *testing.T, r Reader, lo, hi string) []string {
	t.Helper()
	it, err := r.Scan([]byte(lo), []byte(hi))
	check(t, err)
	list := []string{}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		check(t, err)
		list = append(list, fmt.Sprintf("%s=%s", it.Key(), value))
	}
	check(t, it.Close())
	return list
}

func expect(t *testing.T, r Reader, lo, hi string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), dump(t, r, lo, hi)); diff != "" {
		t.Errorf("span %s to %s (-want +got):\n%s", lo, hi, diff)
	}
}

func TestOpenRefusesMissingOptions(t *testing.T) {
	t.Parallel()
	if _, err := Open(Options{Dir: "x"}); err == nil {
		t.Error("opened without a file system")
	}
	if _, err := Open(Options{FS: vfs.NewMem()}); err == nil {
		t.Error("opened without a directory")
	}
}

func TestGetOwnsItsValue(t *testing.T) {
	t.Parallel()
	e := openClosed(t, vfs.NewMem())
	commit(t, e, "a=1")
	s := e.NewSnapshot()
	b := e.NewBatch()
	for name, r := range map[string]Reader{"engine": e, "snapshot": s, "batch": b} {
		value, ok, err := r.Get([]byte("a"))
		check(t, err)
		if !ok || string(value) != "1" {
			t.Errorf("%s: got %q, %v", name, value, ok)
		}
		value[0] = 'x'
		if _, ok, err := r.Get([]byte("b")); ok || err != nil {
			t.Errorf("%s: missing key gives %v, %v", name, ok, err)
		}
		expect(t, r, "a", "b", "a=1")
	}
	check(t, b.Close())
	check(t, s.Close())
}

func TestIteratorWalksBothWaysWithinBounds(t *testing.T) {
	t.Parallel()
	e := openClosed(t, vfs.NewMem())
	commit(t, e, "a=1", "b=2", "c=3", "d=4", "e=5")
	it, err := e.Scan([]byte("b"), []byte("e"))
	check(t, err)
	at := func(step string, ok bool, want string) {
		t.Helper()
		got := "end"
		if ok {
			got = string(it.Key())
		}
		if got != want {
			t.Errorf("%s: at %s, want %s", step, got, want)
		}
	}
	at("first", it.First(), "b")
	at("next", it.Next(), "c")
	at("last", it.Last(), "d")
	at("prev", it.Prev(), "c")
	at("seek ge", it.SeekGE([]byte("bb")), "c")
	at("seek lt", it.SeekLT([]byte("c")), "b")
	at("prev past the bound", it.Prev(), "end")
	at("seek past the bound", it.SeekGE([]byte("e")), "end")
	check(t, it.Err())
	check(t, it.Close())
}

func TestBatchReadsItsOwnWrites(t *testing.T) {
	t.Parallel()
	e := openClosed(t, vfs.NewMem())
	commit(t, e, "a=1", "b=2", "c=3")
	b := e.NewBatch()
	check(t, b.DeleteRange([]byte("a"), []byte("c")))
	check(t, b.Set([]byte("b"), []byte("new")))
	check(t, b.Delete([]byte("c")))
	expect(t, b, "a", "z", "b=new")
	expect(t, e, "a", "z", "a=1", "b=2", "c=3")
	if b.Count() != 4 || b.Len() == 0 { // a range of two keys is their two deletions
		t.Errorf("count %d, length %d", b.Count(), b.Len())
	}
	check(t, e.Commit(b))
	expect(t, e, "a", "z", "b=new")
	b.Reset()
	expect(t, b, "a", "z", "b=new")
	check(t, b.Set([]byte("d"), []byte("4")))
	check(t, e.Commit(b))
	check(t, b.Close())
	expect(t, e, "a", "z", "b=new", "d=4")
}

func TestSnapshotStandsStill(t *testing.T) {
	t.Parallel()
	e := openClosed(t, vfs.NewMem())
	commit(t, e, "a=1", "b=2", "x=9")
	check(t, e.Flush())
	commit(t, e, "b=3")
	s := e.NewSnapshot()
	commit(t, e, "a=7", "b", "c=8")
	check(t, e.Flush())
	check(t, e.IngestReplace([]byte("a"), []byte("c"), nil))
	expect(t, e, "a", "z", "c=8", "x=9")
	expect(t, s, "a", "z", "a=1", "b=3", "x=9")
	if value, ok, err := s.Get([]byte("b")); err != nil || !ok || string(value) != "3" {
		t.Errorf("get: %q, %v, %v", value, ok, err)
	}
	check(t, s.Close())
	check(t, s.Close()) // a second close is harmless
	if _, _, err := s.Get([]byte("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("get after close: %v", err)
	}
	if _, err := s.Scan(nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("scan after close: %v", err)
	}
}

func TestSnapshotIsSharedBetweenGoroutines(t *testing.T) {
	t.Parallel()
	e := openClosed(t, vfs.NewMem())
	commit(t, e, "a=1", "b=2")
	s := e.NewSnapshot()
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 200 {
				if value, ok, err := s.Get([]byte("b")); err != nil || !ok || string(value) != "2" {
					t.Errorf("get: %q, %v, %v", value, ok, err)
					return
				}
				it, err := s.Scan([]byte("a"), []byte("c"))
				if err != nil {
					t.Error(err)
					return
				}
				n := 0
				for ok := it.First(); ok; ok = it.Next() {
					n++
				}
				if err := it.Close(); err != nil || n != 2 {
					t.Errorf("scan: %d entries, %v", n, err)
					return
				}
			}
		})
	}
	for i := range 200 {
		commit(t, e, fmt.Sprintf("b=%d", i))
	}
	wait.Wait()
	check(t, s.Close())
}

func TestMetricsCountIterators(t *testing.T) {
	t.Parallel()
	e := openClosed(t, vfs.NewMem())
	commit(t, e, "a=1")
	check(t, e.Flush())
	m := e.Metrics()
	if m.Flushes != 1 || m.DiskBytes == 0 || m.OpenIterators != 0 {
		t.Errorf("metrics after a flush: %+v", m)
	}
}

// Memtables are accounted for in the pool of the cache. They must not leave it without room for blocks.
func TestCacheHoldsBlocksBesideMemtables(t *testing.T) {
	t.Parallel()
	e, err := Open(Options{FS: disk.Local(), Dir: t.TempDir(), CacheBytes: 4 << 20, MemTableBytes: 2 << 20})
	check(t, err)
	defer func() { check(t, e.Close()) }()
	value := strings.Repeat("v", 100)
	for round := range 4 { // memtables start small and grow to their size
		for i := range 10_000 {
			commit(t, e, fmt.Sprintf("key %d %06d=%s", round, i, value))
		}
		check(t, e.Flush())
	}
	dump(t, e, "key 3", "key 4")
	read := e.db.Metrics().BlockCache
	dump(t, e, "key 3", "key 4")
	again := e.db.Metrics().BlockCache
	if misses := again.Misses - read.Misses; misses > 0 {
		t.Errorf("reading 1 MiB again goes to the file %d times although 4 MiB are for blocks", misses)
	}
	if again.Hits == read.Hits {
		t.Error("reading again looks nothing up in the cache")
	}
}
