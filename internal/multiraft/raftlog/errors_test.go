package raftlog_test

import (
	"errors"
	"math"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog/raftlogtest"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

func entries(first, last, term uint64, dataBytes int) []*raftpb.Entry {
	var all []*raftpb.Entry
	for index := first; index <= last; index++ {
		all = append(all, raftlogtest.Entry(index, term, make([]byte, dataBytes)))
	}
	return all
}

func appendEntries(t *testing.T, l *raftlog.Log, group shard.GroupID, first, last, term uint64, dataBytes int) {
	t.Helper()
	u := raftlog.Update{Group: group, Entries: entries(first, last, term, dataBytes)}
	if err := l.Append([]raftlog.Update{u}, true); err != nil {
		t.Fatalf("append %d to %d: %v", first, last, err)
	}
}

// A failed write or sync ends the log: nothing is acknowledged afterwards, and no sync is tried again.
func TestWriteErrorIsFinal(t *testing.T) {
	t.Parallel()
	for _, kind := range []faultfs.Kind{faultfs.Write, faultfs.Sync} {
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
			t.Run(kind.String()+"/"+cause.Error(), func(t *testing.T) {
				t.Parallel()
				var failing atomic.Bool
				var tried atomic.Int64
				l := open(t, smallConfig(faultfs.Wrap(vfs.NewMem(), func(op faultfs.Op) error {
					if failing.Load() && op.Kind == kind && !strings.Contains(op.Path, ".tmp") {
						tried.Add(1)
						return cause
					}
					return nil
				})))
				appendEntries(t, l, 1, 1, 3, 1, 10)
				failing.Store(true)
				u := []raftlog.Update{{Group: 1, Entries: entries(4, 4, 1, 10)}}
				first := l.Append(u, true)
				if !errors.Is(first, cause) {
					t.Fatalf("append: %v, want %v", first, cause)
				}
				failing.Store(false)
				for range 3 {
					if err := l.Append(u, true); !errors.Is(err, cause) {
						t.Errorf("append after the failure: %v, want %v", err, cause)
					}
				}
				commit := []raftlog.Update{{Group: 1, Hard: &raftlog.HardState{Commit: 2}}}
				if err := l.Append(commit, false); !errors.Is(err, cause) {
					t.Errorf("commit after the failure: %v, want %v", err, cause)
				}
				if err := l.Truncate(1, 1); !errors.Is(err, cause) {
					t.Errorf("truncate after the failure: %v, want %v", err, cause)
				}
				if last := l.Group(1).LastIndex(); last != 3 {
					t.Errorf("last index %d: the entry that failed is visible", last)
				}
				if err := l.Close(); !errors.Is(err, cause) {
					t.Errorf("close: %v, want %v", err, cause)
				}
				if n := tried.Load(); n != 1 {
					t.Errorf("the %v was tried %d times", kind, n)
				}
			})
		}
	}
}

// A full disk shows when the next segment is prepared, before anything is written: the call is refused and the log
// goes on as soon as there is room.
func TestFullDiskIsNotFinal(t *testing.T) {
	t.Parallel()
	for _, kind := range []faultfs.Kind{faultfs.Create, faultfs.Write, faultfs.Sync} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			full := false
			mem := vfs.NewMem()
			l := open(t, smallConfig(faultfs.Wrap(mem, func(op faultfs.Op) error {
				if full && op.Kind == kind && strings.Contains(op.Path, ".tmp") {
					return syscall.ENOSPC
				}
				return nil
			})))
			full = true
			w := raftlogtest.NewWorkload(3, 3, 900)
			var err error
			var refused raftlogtest.Op
			for err == nil {
				refused = w.Next()
				if err = refused.Run(l); err == nil {
					refused.Apply(w.Model)
				}
			}
			if !errors.Is(err, raftlog.ErrNoSpare) || !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("append: %v, want ErrNoSpare", err)
			}
			if err := w.Model.Exact(raftlogtest.Groups(l)); err != nil {
				t.Errorf("after the refusal: %v", err)
			}
			full = false
			for range 100 {
				op := w.Next()
				if err := op.Run(l); err != nil {
					t.Fatalf("%v once there is room: %v", op, err)
				}
				op.Apply(w.Model)
			}
			closeLog(t, l)
			l = open(t, smallConfig(mem))
			if err := w.Model.Exact(raftlogtest.Groups(l)); err != nil {
				t.Error(err)
			}
			closeLog(t, l)
		})
	}
}

func TestUpdatesThatAreRefused(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(vfs.NewMem())
	cfg.MaxEntryBytes = 1000
	l := open(t, cfg)
	base := raftlog.Update{
		Group: 1, Hard: &raftlog.HardState{Term: 5, Vote: 2, Commit: 3}, Entries: entries(1, 6, 5, 10),
	}
	if err := l.Append([]raftlog.Update{base}, true); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		update raftlog.Update
		want   error
	}{
		"gap":                    {raftlog.Update{Entries: entries(8, 8, 5, 1)}, raftlog.ErrInvalidUpdate},
		"not contiguous":         {raftlog.Update{Entries: append(entries(7, 7, 5, 1), entries(9, 9, 5, 1)...)}, raftlog.ErrInvalidUpdate},
		"terms fall":             {raftlog.Update{Entries: append(entries(7, 7, 6, 1), entries(8, 8, 5, 1)...)}, raftlog.ErrInvalidUpdate},
		"nil entry":              {raftlog.Update{Entries: []*raftpb.Entry{nil}}, raftlog.ErrInvalidUpdate},
		"term goes back":         {raftlog.Update{Hard: &raftlog.HardState{Term: 4}}, raftlog.ErrInvalidUpdate},
		"second vote in a term":  {raftlog.Update{Hard: &raftlog.HardState{Term: 5, Vote: 3}}, raftlog.ErrInvalidUpdate},
		"vote is taken back":     {raftlog.Update{Hard: &raftlog.HardState{Term: 5}}, raftlog.ErrInvalidUpdate},
		"commit behind the log":  {raftlog.Update{Hard: &raftlog.HardState{Term: 5, Vote: 2, Commit: 7}}, raftlog.ErrInvalidUpdate},
		"committed is replaced":  {raftlog.Update{Entries: entries(3, 9, 6, 1)}, raftlog.ErrInvalidUpdate},
		"reset below the commit": {raftlog.Update{Reset: &raftlog.Marker{Index: 2, Term: 5}}, raftlog.ErrInvalidUpdate},
		"large entry":            {raftlog.Update{Entries: entries(7, 7, 5, 1001)}, raftlog.ErrEntryTooLarge},
	} {
		records := l.Stats().Records
		c.update.Group = 1
		good := raftlog.Update{Group: 2, Entries: entries(1, 1, 5, 10)}
		if err := l.Append([]raftlog.Update{good, c.update}, true); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if l.Group(1).LastIndex() != 6 || l.Group(2).LastIndex() != 0 || l.Stats().Records != records {
			t.Errorf("%s: last indexes %d and %d, want 6 and 0 and nothing written", name,
				l.Group(1).LastIndex(), l.Group(2).LastIndex())
		}
	}
	if err := l.Truncate(1, 7); !errors.Is(err, raftlog.ErrInvalidUpdate) {
		t.Errorf("truncation behind the log: %v", err)
	}
	appendEntries(t, l, 1, 7, 7, 5, 10)
	closeLog(t, l)
	if err := l.Append(nil, true); !errors.Is(err, raftlog.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if err := l.Close(); !errors.Is(err, raftlog.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(vfs.NewMem())
	cfg.CacheBytes = -1
	l := open(t, cfg)
	appendEntries(t, l, 1, 1, 10, 1, 100)
	if err := l.Truncate(1, 4); err != nil {
		t.Fatal(err)
	}
	g := l.Group(1)
	if g.FirstIndex() != 5 || g.LastIndex() != 10 {
		t.Fatalf("entries %d to %d, want 5 to 10", g.FirstIndex(), g.LastIndex())
	}
	if _, err := g.Term(3); !errors.Is(err, raft.ErrCompacted) {
		t.Errorf("term below the marker: %v", err)
	}
	if term, err := g.Term(4); err != nil || term != 1 {
		t.Errorf("term of the marker: %d, %v", term, err)
	}
	if _, err := g.Term(11); !errors.Is(err, raft.ErrUnavailable) {
		t.Errorf("term behind the log: %v", err)
	}
	if _, err := g.Entries(4, 6, math.MaxUint64); !errors.Is(err, raft.ErrCompacted) {
		t.Errorf("entries from the marker: %v", err)
	}
	if _, err := g.Entries(9, 12, math.MaxUint64); !errors.Is(err, raft.ErrUnavailable) {
		t.Errorf("entries behind the log: %v", err)
	}
	for limit, want := range map[uint64]int{0: 1, 100: 1, 250: 2, 10_000: 6} {
		if got, err := g.Entries(5, 11, limit); err != nil || len(got) != want {
			t.Errorf("entries within %d bytes: %d, %v; want %d", limit, len(got), err, want)
		}
	}
	closeLog(t, l)
	if _, err := g.Entries(5, 11, 100); !errors.Is(err, raftlog.ErrClosed) {
		t.Errorf("entries after close: %v", err)
	}
}

func TestOpenIsRefused(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	cfg := smallConfig(fs)
	cfg.StoreID = ident.StoreID{1}
	l := open(t, cfg)
	if _, err := raftlog.Open(cfg); err == nil {
		t.Error("a second log was opened in the same directory")
	}
	closeLog(t, l)
	other := cfg
	other.StoreID = ident.StoreID{2}
	if _, err := raftlog.Open(other); !errors.Is(err, raftlog.ErrWrongStore) {
		t.Errorf("open with another store id: %v", err)
	}
	closeLog(t, open(t, cfg))
	for name, c := range map[string]raftlog.Config{
		"FS":            {Dir: "x"},
		"Dir":           {FS: fs},
		"SegmentBytes":  {FS: fs, Dir: "x", SegmentBytes: 5000},
		"SpareSegments": {FS: fs, Dir: "x", SpareSegments: -1},
		"QuietSegments": {FS: fs, Dir: "x", QuietSegments: 1},
		"MaxEntryBytes": {FS: fs, Dir: "x", SegmentBytes: 1 << 20, MaxEntryBytes: 2 << 20},
	} {
		if _, err := raftlog.Open(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want an error that names it", name, err)
		}
	}
}

// Callers that come while a sync is under way share the next one.
func TestConcurrentCallersShareASync(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var holding atomic.Bool
		hold := make(chan struct{})
		l := open(t, smallConfig(faultfs.Wrap(vfs.NewMem(), func(op faultfs.Op) error {
			if op.Kind == faultfs.Sync && holding.Load() {
				<-hold
			}
			return nil
		})))
		before := l.Stats().Syncs
		holding.Store(true)
		var callers sync.WaitGroup
		callers.Go(func() { appendEntries(t, l, 1, 1, 1, 1, 10) })
		synctest.Wait()
		for group := shard.GroupID(2); group < 10; group++ {
			callers.Go(func() { appendEntries(t, l, group, 1, 1, 1, 10) })
		}
		callers.Go(func() { // one that is wrong does not disturb the others
			u := []raftlog.Update{{Group: 20, Entries: entries(2, 2, 1, 1)}}
			if err := l.Append(u, true); !errors.Is(err, raftlog.ErrInvalidUpdate) {
				t.Errorf("append with a gap: %v", err)
			}
		})
		synctest.Wait()
		holding.Store(false)
		close(hold)
		callers.Wait()
		if n := l.Stats().Syncs - before; n != 2 {
			t.Errorf("%d syncs for 9 callers, want 2", n)
		}
		for group := shard.GroupID(1); group < 10; group++ {
			if last := l.Group(group).LastIndex(); last != 1 {
				t.Errorf("group %v: last index %d", group, last)
			}
		}
		closeLog(t, l)
	})
}

// What does not verify while the log is in use by several goroutines shows under the race detector.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	cfg := smallConfig(mem)
	cfg.Background = true
	l := open(t, cfg)
	var writers sync.WaitGroup
	for group := shard.GroupID(1); group <= 6; group++ {
		writers.Go(func() {
			for index := uint64(1); index <= 400; index++ {
				u := raftlog.Update{Group: group, Entries: entries(index, index, 1, int(index%300))}
				if err := l.Append([]raftlog.Update{u}, true); err != nil {
					t.Error(err)
					return
				}
				commit := []raftlog.Update{{Group: group, Hard: &raftlog.HardState{Commit: index}}}
				if err := l.Append(commit, false); err != nil {
					t.Error(err)
					return
				}
				if index%50 == 0 && group > 1 {
					if err := l.Truncate(group, index-20); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
		writers.Go(func() { readAlong(t, l.Group(group)) })
	}
	writers.Wait()
	closeLog(t, l)
	l = open(t, cfg)
	for group := shard.GroupID(1); group <= 6; group++ {
		g := l.Group(group)
		if g.LastIndex() != 400 || g.HardState().Commit != 400 {
			t.Errorf("group %v: last %d, hard state %+v", group, g.LastIndex(), g.HardState())
		}
	}
	closeLog(t, l)
}

// readAlong reads a group that is written to until its last entry is there.
func readAlong(t *testing.T, g *raftlog.Group) {
	t.Helper()
	for last := uint64(0); last < 400; last = g.LastIndex() {
		first := g.FirstIndex()
		got, err := g.Entries(first, g.LastIndex()+1, 2000)
		switch {
		case errors.Is(err, raft.ErrCompacted):
		case err != nil:
			t.Error(err)
			return
		case len(got) > 0 && len(got[0].GetData()) != int(got[0].GetIndex()%300):
			t.Errorf("entry %d has %d bytes", got[0].GetIndex(), len(got[0].GetData()))
			return
		}
	}
}

// A directory that a crash left without its first segment is a new log.
func TestUnfinishedFilesAreRemoved(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	closeLog(t, open(t, smallConfig(fs)))
	partial := path.Join("log", "spare-00000000000000ff.log.tmp")
	f, err := fs.Create(partial, disk.Category)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	closeLog(t, open(t, smallConfig(fs)))
	if _, err := fs.Stat(partial); err == nil {
		t.Error("an unfinished file is still there")
	}
}
