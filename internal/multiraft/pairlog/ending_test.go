package pairlog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/pairlog"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// diskErrors says which changes of the disk fail, and what is appended meanwhile.
type diskErrors struct {
	kind  faultfs.Kind
	once  bool // and not from then on
	reuse bool // there are files of the log that are used again before, and one entry is larger than a memtable
	any   bool // of any file: of tables and their list, too
}

// TestDiskErrorsOfTheStoreEndTheLog lets the disk fail what the store below does to its files and to their directory, each change of a kind in turn,
// once or from then on: while entries are appended, also such as are larger than a memtable, and while a file is ended,
// begun, used again and found in its directory. Each time the log ends with that error and not with the process, closes, can be opened, and has what it
// acknowledged: in its own directory, and after a power failure that takes all that was not synced, or nothing.
func TestDiskErrorsOfTheStoreEndTheLog(t *testing.T) {
	t.Parallel()
	for _, kind := range []faultfs.Kind{faultfs.Create, faultfs.Write, faultfs.Sync, faultfs.SyncDir, faultfs.Remove} {
		for form := range 8 {
			c := diskErrors{kind: kind, once: form&1 != 0, reuse: form&2 != 0, any: form&4 != 0}
			if c.any && kind == faultfs.SyncDir {
				continue // a directory has no name that says for which file it is synced
			}
			t.Run(fmt.Sprintf("%v, once %v, reuse %v, any file %v", kind, c.once, c.reuse, c.any), func(t *testing.T) {
				t.Parallel()
				for nth := range int64(60) {
					if !diskErrorAt(t, c, nth+1) && nth < 2 && kind != faultfs.Remove {
						t.Errorf("there are %d of these changes only; the test shows too little", nth)
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
	var armed, failed atomic.Bool
	var changes atomic.Int64
	fs := faultfs.Wrap(mem, func(op faultfs.Op) error {
		if !armed.Load() || op.Kind != c.kind || !c.any && c.kind != faultfs.SyncDir && !strings.HasSuffix(op.Path, ".log") {
			return nil
		}
		if n := changes.Add(1); n < nth || n > nth && c.once {
			return nil
		}
		failed.Store(true)
		if c.kind == faultfs.Write {
			return &faultfs.TornError{Bytes: int(nth % 12), Err: injected}
		}
		return injected
	})
	told := make(chan error, 1)
	l, err := pairlog.Open(pairlog.Config{FS: fs, Dir: "log", CacheBytes: -1, MemTableBytes: 64 << 10, OnFatal: func(err error) { told <- err }})
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := uint64(0)
	appends := func(entries, bytes int) {
		for range entries {
			if err == nil {
				if err = l.Append(sized(1, acknowledged+1, bytes), true); err == nil {
					acknowledged++
				}
			}
		}
	}
	// Three files and more in either case.
	if c.reuse {
		appends(60, 4<<10)
		armed.Store(true)
		appends(12, 4<<10)
		appends(1, 150<<10)
		appends(12, 4<<10)
	} else {
		armed.Store(true)
		appends(50, 4<<10)
	}
	if err != nil && (!errors.Is(err, injected) || !errors.Is(l.Err(), injected) || !errors.Is(<-told, injected)) {
		t.Errorf("%v %d: the log ends with %v, and says %v", c, nth, err, l.Err())
	}
	if got := l.Group(1).LastIndex(); got != acknowledged {
		t.Errorf("%v %d: the log has entry %d, and acknowledged %d", c, nth, got, acknowledged)
	}
	after := map[string]vfs.FS{
		"a power failure": mem.CrashClone(vfs.CrashCloneCfg{}),
		"a kill":          mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 2))}),
		"its end":         mem,
	}
	met := failed.Load()
	armed.Store(false)
	if closed := l.Close(); err != nil && closed == nil {
		t.Errorf("%v %d: the log was closed as if nothing had happened", c, nth)
	}
	for what, kept := range after {
		hasAfter(t, fmt.Sprintf("%v %d: after %s", c, nth, what), kept, acknowledged)
	}
	return met
}

// hasAfter opens the log in a file system, which must have the acknowledged entries.
func hasAfter(t *testing.T, what string, kept vfs.FS, acknowledged uint64) {
	t.Helper()
	l, err := pairlog.Open(pairlog.Config{FS: kept, Dir: "log", CacheBytes: -1})
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if got := l.Group(1).LastIndex(); got < acknowledged {
		t.Errorf("%s: entry %d is the last, and %d was acknowledged", what, got, acknowledged)
	}
	if err := l.Close(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// unreserving is a disk that sets no room aside.
type unreserving struct {
	disk.FS
	err   error
	asked atomic.Int64
}

func (u *unreserving) Create(name string, category disk.WriteCategory) (disk.File, error) {
	file, err := u.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	return &unreservingFile{file, u}, nil
}

type unreservingFile struct {
	disk.File
	u *unreserving
}

func (f *unreservingFile) Preallocate(_, _ int64) error {
	f.u.asked.Add(1)
	return f.u.err
}

// TestRoomThatIsNotSetAsideEndsNothing: where the file system cannot set room aside, or was interrupted, the log goes on without.
func TestRoomThatIsNotSetAsideEndsNothing(t *testing.T) {
	t.Parallel()
	for _, refused := range []error{syscall.EOPNOTSUPP, syscall.EINTR} {
		fs := &unreserving{FS: disk.Local(), err: refused}
		cfg := pairlog.Config{FS: fs, Dir: filepath.Join(t.TempDir(), "log"), MemTableBytes: 64 << 10, OnFatal: func(err error) { t.Error(err) }}
		l, err := pairlog.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		const entries = 40 // some files
		for i := range uint64(entries) {
			if err = l.Append(one(1, i+1), true); err != nil {
				t.Fatalf("%v: entry %d: %v", refused, i+1, err)
			}
		}
		if err = l.Close(); err != nil {
			t.Fatal(err)
		}
		if fs.asked.Load() == 0 {
			t.Errorf("%v: nobody asked for room; the test shows nothing", refused)
		}
		if l, err = pairlog.Open(cfg); err != nil {
			t.Fatal(err)
		}
		if got := l.Group(1).LastIndex(); got != entries {
			t.Errorf("%v: the last entry is %d, want %d", refused, got, entries)
		}
		if err = l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
