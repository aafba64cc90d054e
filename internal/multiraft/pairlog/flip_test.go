package pairlog_test

import (
	"errors"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/pairlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog/raftlogtest"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// TestFlippedBitAnywhere flips bits in the files of a log that was closed: each is found, or nobody needs it. Inspect finds what Open
// finds, and more only where Open does not read.
func TestFlippedBitAnywhere(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	w := raftlogtest.NewWorkload(3, 5, 700)
	for range 3 { // tables come of what was written in earlier lives
		l := open(t, mem, -1)
		for range 60 {
			op := w.Next()
			if err := op.Run(l); err != nil {
				t.Fatal(err)
			}
			op.Apply(w.Model)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	names, err := mem.List("log")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	found, flips := 0, 0
	for _, name := range names {
		if strings.HasPrefix(name, "OPTIONS-") {
			continue // what the program wants is set anew at each start
		}
		for range 8 {
			left := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
			if !flip(t, left, path.Join("log", name), rng) {
				break
			}
			flips++
			inspected, err := pairlog.Inspect(left, "log", ident.StoreID{})
			if err != nil {
				t.Fatalf("%s: inspect: %v", name, err)
			}
			l, err := pairlog.Open(pairlog.Config{FS: left, Dir: "log", CacheBytes: -1, Existing: true})
			if err != nil {
				found++
				if damage := (*raftlog.DamageError)(nil); !errors.As(err, &damage) && !errors.Is(err, storage.ErrCorruption) {
					t.Errorf("%s: opened with %v, want damage", name, err)
				}
				if len(inspected.Damage) == 0 {
					t.Errorf("%s: it is not opened (%v), but inspected without damage", name, err)
				}
				continue
			}
			if err := w.Model.Exact(raftlogtest.Groups(l)); err != nil && len(inspected.Damage) == 0 {
				t.Errorf("%s: it is opened, with something else in it: %v", name, err)
			}
			_ = l.Close() // what was not read yet may be wrong
		}
	}
	if found*3 < flips {
		t.Errorf("%d flips of %d were found", found, flips)
	}
}

// flip changes a bit of a file, unless it is empty.
func flip(t *testing.T, fs *vfs.MemFS, name string, rng *rand.Rand) bool {
	t.Helper()
	f, err := fs.OpenReadWrite(name, disk.Category)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	one, at := make([]byte, 1), rng.Int64N(info.Size())
	_, err = f.ReadAt(one, at)
	one[0] ^= 1 << rng.IntN(8)
	if err == nil {
		_, err = f.WriteAt(one, at)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return true
}
