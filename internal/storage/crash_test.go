package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// crash returns the file system after a power cut that loses everything unsynced.
func crash(fs *vfs.MemFS) *vfs.MemFS { return fs.CrashClone(vfs.CrashCloneCfg{}) }

// tornCrash returns the file system after a power cut that loses a random part of what is unsynced.
func tornCrash(fs *vfs.MemFS, random *rand.Rand) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: random})
}

func TestUnsyncedCommitsVanishTogether(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	e := openClosed(t, fs)
	commit(t, e, "a=1", "b=1")
	check(t, e.Flush())
	commit(t, e, "a=2", "b=2", "c=2")
	expect(t, e, "a", "z", "a=2", "b=2", "c=2")
	expect(t, e.Durable(), "a", "z", "a=1", "b=1")

	after := openClosed(t, crash(fs))
	expect(t, after, "a", "z", "a=1", "b=1")
	expect(t, after.Durable(), "a", "z", "a=1", "b=1")
}

// TestDurableReaderTellsTheTruth crashes, at random moments of a random history with large and small
// batches, and compares what comes back with what the durable reader had promised just before. Every batch writes
// its number under two far keys: they must agree always.
func TestDurableReaderTellsTheTruth(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			fs := vfs.NewCrashableMem()
			e := openClosed(t, fs)
			committed := 0
			for committed < 60 {
				b := e.NewBatch()
				committed++
				number := fmt.Appendf(nil, "%06d", committed)
				check(t, b.Set([]byte("a"), number))
				for i := range random.IntN(4) * random.IntN(40) {
					check(t, b.Set(fmt.Appendf(nil, "m%d", i), make([]byte, 1<<random.IntN(12))))
				}
				check(t, b.Set([]byte("z"), number))
				check(t, e.Commit(b))
				check(t, b.Close())
				if random.IntN(6) == 0 {
					_, err := e.AsyncFlush()
					check(t, err)
				}
				if random.IntN(8) == 0 {
					promised, _, err := e.Durable().Get([]byte("a"))
					check(t, err)
					verifyCrash(t, crash(fs), promised, committed)
					verifyCrash(t, tornCrash(fs, random), promised, committed)
				}
			}
			check(t, e.Flush())
			promised, _, err := e.Durable().Get([]byte("a"))
			check(t, err)
			if string(promised) != fmt.Sprintf("%06d", committed) {
				t.Errorf("durable after a flush: %s, want %06d", promised, committed)
			}
			verifyCrash(t, crash(fs), promised, committed)
		})
	}
}

func verifyCrash(t *testing.T, fs *vfs.MemFS, promised []byte, committed int) {
	t.Helper()
	e := open(t, fs)
	low, _, err := e.Get([]byte("a"))
	check(t, err)
	high, _, err := e.Get([]byte("z"))
	check(t, err)
	check(t, e.Close())
	if string(low) != string(high) {
		t.Errorf("a batch was torn: %s and %s", low, high)
	}
	if string(low) < string(promised) {
		t.Errorf("came back at %s, but %s was promised", low, promised)
	}
	if string(low) > fmt.Sprintf("%06d", committed) {
		t.Errorf("came back at %s, only %06d were committed", low, committed)
	}
}

// replaceFixture is an engine with old content in and around the span b to d, partly durable, partly not, and
// table files with new content.
func replaceFixture(t *testing.T, fs disk.FS) (e *Engine, paths []string) {
	t.Helper()
	e = open(t, fs)
	check(t, fs.MkdirAll("incoming", 0o755))
	commit(t, e, "a=old", "b1=old", "b2=old", "c9=old", "d=old")
	check(t, e.Flush())
	commit(t, e, "b2=newer", "b3=newer", "d=newer")
	for name, writes := range map[string][]string{"one": {"b1", "b5"}, "two": {"c1", "c2"}} {
		path := "incoming/" + name
		w, err := e.NewTableWriter(path)
		check(t, err)
		for _, key := range writes {
			check(t, w.Set([]byte(key), []byte("replaced")))
		}
		if w.Size() == 0 || w.Count() != 2 {
			t.Errorf("table file: %d bytes, %d entries", w.Size(), w.Count())
		}
		check(t, w.Close())
		paths = append(paths, path)
	}
	return e, paths
}

func TestReplaceIsDurableWhenItReturns(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	e, paths := replaceFixture(t, fs)
	check(t, e.IngestReplace([]byte("b"), []byte("d"), paths))
	want := []string{"b1=replaced", "b5=replaced", "c1=replaced", "c2=replaced"}
	expect(t, e, "b", "d", want...)
	expect(t, e.Durable(), "b", "d", want...)
	commit(t, e, "b1=after", "c2")
	after := openClosed(t, crash(fs))
	expect(t, after, "b", "d", want...)
	expect(t, after, "a", "b", "a=old")
	check(t, e.Flush())
	check(t, e.Close())
	again := openClosed(t, crash(fs))
	expect(t, again, "b", "d", "b1=after", "b5=replaced", "c1=replaced")
}

func TestReplaceByNothingEmptiesTheSpan(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	e, _ := replaceFixture(t, fs)
	check(t, e.IngestReplace([]byte("b"), []byte("d"), nil))
	expect(t, e, "a", "z", "a=old", "d=newer")
	check(t, e.Close())
	after := openClosed(t, crash(fs))
	expect(t, after, "b", "d")
}

func TestReplaceRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	e, paths := replaceFixture(t, fs)
	before := dump(t, e, "a", "z")
	if err := e.IngestReplace([]byte("d"), []byte("b"), nil); err == nil {
		t.Error("replaced an empty span")
	}
	if err := e.IngestReplace([]byte("c"), []byte("d"), paths); err == nil {
		t.Error("ingested keys outside the span")
	}
	if err := e.IngestReplace([]byte("b"), []byte("d"), []string{"incoming/missing"}); err == nil {
		t.Error("ingested a missing file")
	}
	if err := e.IngestReplace([]byte("b"), []byte("c"), paths); err == nil {
		t.Error("ingested keys behind the span")
	}
	check(t, disk.WriteFileAtomic(fs, "incoming/garbage", []byte("this is no table file, whatever its name says")))
	if err := e.IngestReplace([]byte("b"), []byte("d"), []string{"incoming/garbage"}); !errors.Is(err, ErrCorruption) {
		t.Errorf("ingested garbage: %v", err)
	}
	damaged, err := e.NewTableWriter("incoming/damaged")
	check(t, err)
	check(t, damaged.Set([]byte("b1"), []byte("replaced")))
	check(t, damaged.Close())
	flip(t, fs, "incoming/damaged")
	if err := e.IngestReplace([]byte("b"), []byte("d"), []string{"incoming/damaged"}); !errors.Is(err, ErrCorruption) {
		t.Errorf("ingested a table whose first block is damaged: %v", err)
	}
	if diff := cmp.Diff(before, dump(t, e, "a", "z")); diff != "" {
		t.Errorf("a refused replacement changed the store (-before +after):\n%s", diff)
	}
	check(t, e.IngestReplace([]byte("b"), []byte("d"), paths))
	check(t, e.Close())
}

func TestTableWriterRefusesDisorder(t *testing.T) {
	t.Parallel()
	e := openClosed(t, vfs.NewMem())
	w, err := e.NewTableWriter("x")
	check(t, err)
	check(t, w.Set([]byte("b"), nil))
	for _, key := range []string{"b", "a"} {
		if err := w.Set([]byte(key), nil); err == nil {
			t.Errorf("accepted %s after b", key)
		}
	}
	check(t, w.Close())
}

// TestReplaceIsAllOrNothing crashes before everything that a replacement does to the disk.
func TestReplaceIsAllOrNothing(t *testing.T) {
	t.Parallel()
	allowed := map[string]bool{
		fmt.Sprint([]string{"b1=old", "b2=old", "c9=old"}):                               false,
		fmt.Sprint([]string{"b1=old", "b2=newer", "b3=newer", "c9=old"}):                 false,
		fmt.Sprint([]string{"b1=replaced", "b5=replaced", "c1=replaced", "c2=replaced"}): false,
	}
	base := vfs.NewCrashableMem()
	var mu sync.Mutex // guards clones and watching
	var clones []*vfs.MemFS
	watching := false
	watched := errorfs.Wrap(base, errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if watching && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			clones = append(clones, crash(base))
		}
		return nil
	}))
	e, paths := replaceFixture(t, watched)
	mu.Lock()
	watching = true
	mu.Unlock()
	check(t, e.IngestReplace([]byte("b"), []byte("d"), paths))
	mu.Lock()
	watching = false
	mu.Unlock()
	clones = append(clones, crash(base))
	check(t, e.Close())
	for i, clone := range clones {
		after := open(t, clone)
		content := fmt.Sprint(dump(t, after, "b", "d"))
		if _, ok := allowed[content]; !ok {
			t.Errorf("crash %d of %d leaves %s", i, len(clones), content)
		}
		allowed[content] = true
		expect(t, after, "a", "b", "a=old")
		check(t, after.Close())
	}
	for content, seen := range allowed {
		if !seen {
			t.Errorf("no crash of %d left %s: the test does not cover the change", len(clones), content)
		}
	}
}

// failing opens an engine whose disk refuses some operation once the toggle is on.
func failing(t *testing.T, broken func(errorfs.Op) bool) (e *Engine, fail func(), fatal <-chan error) {
	t.Helper()
	var on atomic.Bool
	reported := make(chan error, 2)
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if on.Load() && broken(op) {
			return errorfs.ErrInjected
		}
		return nil
	}))
	e, err := Open(Options{FS: fs, Dir: "store", OnFatal: func(err error) { reported <- err }})
	check(t, err)
	return e, func() { on.Store(true) }, reported
}

func TestDiskErrorEndsTheEngine(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(errorfs.Op) bool{
		"table write": func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst")
		},
		"table create": func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst")
		},
		"any sync": func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
		},
		"manifest write": func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileWrite && strings.Contains(op.Path, "MANIFEST")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, fail, fatal := failing(t, broken)
			commit(t, e, "a=1")
			fail()
			if err := e.Flush(); !errors.Is(err, errorfs.ErrInjected) && e.Failure() == nil {
				t.Errorf("flush: %v", err)
			}
			if err := <-fatal; err == nil {
				t.Error("the owner was told nothing")
			}
			b := e.NewBatch()
			check(t, b.Set([]byte("b"), nil))
			if err := e.Commit(b); err == nil {
				t.Error("commit after the failure succeeded")
			}
			check(t, b.Close())
			if _, _, err := e.Durable().Get([]byte("a")); err == nil {
				t.Error("durable read after the failure succeeded")
			}
			if err := e.IngestReplace([]byte("a"), []byte("b"), nil); err == nil {
				t.Error("replacement after the failure succeeded")
			}
			if err := e.Flush(); err == nil {
				t.Error("second flush after the failure succeeded")
			}
			if len(fatal) != 0 {
				t.Error("the owner was told twice")
			}
			_ = e.Close() // may repeat the disk's error
		})
	}
}

func TestFlippedBitIsCorruption(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	e := open(t, fs)
	commit(t, e, "a=1", "b=2")
	check(t, e.Flush())
	check(t, e.Close())
	names, err := fs.List("store")
	check(t, err)
	flipped := 0
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") {
			flip(t, fs, "store/"+name)
			flipped++
		}
	}
	if flipped != 1 {
		t.Fatalf("flipped %d table files, want 1", flipped)
	}
	fatal := make(chan error, 1)
	e, err = Open(Options{FS: fs, Dir: "store", OnFatal: func(err error) { fatal <- err }})
	check(t, err)
	if _, _, err := e.Get([]byte("a")); !errors.Is(err, ErrCorruption) {
		t.Errorf("get: %v", err)
	}
	if err := <-fatal; !errors.Is(err, ErrCorruption) {
		t.Errorf("fatal: %v", err)
	}
	_ = e.Close() // may repeat the corruption
}

// flip changes one bit near the start of a file.
func flip(t *testing.T, fs disk.FS, path string) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, disk.Category)
	check(t, err)
	content := make([]byte, 1)
	_, err = f.ReadAt(content, 3)
	check(t, err)
	content[0] ^= 0x10
	_, err = f.WriteAt(content, 3)
	check(t, err)
	check(t, f.Close())
}
