package pairlog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/pairlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog/raftlogtest"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

func open(t *testing.T, fs disk.FS, cache int64) *pairlog.Log {
	t.Helper()
	l, err := pairlog.Open(pairlog.Config{FS: fs, Dir: "log", CacheBytes: cache, MemTableBytes: 64 << 10})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return l
}

// TestLogEqualsModel: any sequence of operations leaves the log equal to the obvious one, also after a restart.
func TestLogEqualsModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			fs, cache := vfs.NewMem(), int64(4<<10)
			if seed%3 == 0 {
				cache = -1
			}
			l := open(t, fs, cache)
			w, rng := raftlogtest.NewWorkload(seed, 5, 700), rand.New(rand.NewPCG(seed, 1))
			for step := range 800 {
				op := w.Next()
				if err := op.Run(l); err != nil {
					t.Fatalf("step %d, %v: %v", step, op, err)
				}
				op.Apply(w.Model)
				if err := w.Model.Exact(raftlogtest.Groups(l)); step%10 == 0 && err != nil {
					t.Fatalf("step %d, after %v: %v", step, op, err)
				}
				if rng.IntN(100) == 0 {
					if err := l.Close(); err != nil {
						t.Fatal(err)
					}
					l = open(t, fs, cache)
					if err := w.Model.Exact(raftlogtest.Groups(l)); err != nil {
						t.Fatalf("step %d, opened after %v: %v", step, op, err)
					}
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestCrashAtEveryChangeOfTheDisk: whatever of the unsynced bytes survives, every acknowledged operation is there after a
// restart, and the one under way is there whole or not at all.
func TestCrashAtEveryChangeOfTheDisk(t *testing.T) {
	t.Parallel()
	for _, percent := range []int{0, 50, 100} {
		t.Run(fmt.Sprintf("%d%% of the unsynced survives", percent), func(t *testing.T) {
			t.Parallel()
			mem, rng := vfs.NewCrashableMem(), rand.New(rand.NewPCG(7, 2))
			w := raftlogtest.NewWorkload(uint64(percent), 5, 500)
			var mu sync.Mutex // guards what follows, for flushes change the disk beside the operations
			acknowledged, underway, checked := w.Model, w.Model, 0
			var failed error
			begun := false // before, there is nothing to lose, and no node that would not begin anew
			l := open(t, faultfs.Wrap(mem, func(faultfs.Op) error {
				mu.Lock()
				defer mu.Unlock()
				if begun && failed == nil {
					failed = recovered(mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}), acknowledged, underway)
					checked++
				}
				return nil
			}), 4<<10)
			mu.Lock()
			begun = true
			mu.Unlock()
			for step := range 200 {
				op := w.Next()
				next := w.Model.Clone()
				op.Apply(next)
				mu.Lock()
				underway = next
				mu.Unlock()
				if err := op.Run(l); err != nil {
					t.Fatalf("step %d, %v: %v", step, op, err)
				}
				w.Model = next
				mu.Lock()
				acknowledged = next
				err := failed
				mu.Unlock()
				if err != nil {
					t.Fatalf("step %d, %v: %v", step, op, err)
				}
			}
			if err := errors.Join(l.Close(), failed); err != nil {
				t.Fatal(err)
			}
			if checked < 100 {
				t.Errorf("only %d crashes", checked)
			}
		})
	}
}

func recovered(left *vfs.MemFS, acknowledged, underway *raftlogtest.Model) error {
	l, err := pairlog.Open(pairlog.Config{FS: left, Dir: "log"})
	if err != nil {
		return err
	}
	if err = acknowledged.Recovered(raftlogtest.Groups(l)); err != nil {
		if other := underway.Recovered(raftlogtest.Groups(l)); other != nil {
			return errors.Join(fmt.Errorf("neither without the operation under way: %w; nor with it: %w", err, other), l.Close())
		}
	}
	return l.Close()
}

// TestPromisesAreKept: what would break a promise to other replicas is refused, and changes nothing.
func TestPromisesAreKept(t *testing.T) {
	t.Parallel()
	l := open(t, vfs.NewMem(), 0)
	start := raftlog.Update{
		Group: 5, Hard: &raftlog.HardState{Term: 3, Vote: 1, Commit: 2},
		Entries: []*raftpb.Entry{raftlogtest.Entry(1, 2, nil), raftlogtest.Entry(2, 3, []byte("x")), raftlogtest.Entry(3, 3, nil)},
	}
	if err := l.Append([]raftlog.Update{start}, true); err != nil {
		t.Fatal(err)
	}
	for name, u := range map[string]raftlog.Update{
		"a lower term":      {Hard: &raftlog.HardState{Term: 2, Vote: 1}},
		"another vote":      {Hard: &raftlog.HardState{Term: 3, Vote: 2}},
		"a gap":             {Entries: []*raftpb.Entry{raftlogtest.Entry(5, 3, nil)}},
		"a committed entry": {Entries: []*raftpb.Entry{raftlogtest.Entry(2, 4, nil)}},
		"a commit too far":  {Hard: &raftlog.HardState{Term: 3, Vote: 1, Commit: 9}},
	} {
		u.Group = 5
		if err := l.Append([]raftlog.Update{u}, true); !errors.Is(err, raftlog.ErrInvalidUpdate) {
			t.Errorf("%s: %v, want ErrInvalidUpdate", name, err)
		}
	}
	if err := l.Truncate(5, 9); !errors.Is(err, raftlog.ErrInvalidUpdate) {
		t.Errorf("truncation behind the end: %v, want ErrInvalidUpdate", err)
	}
	want := raftlogtest.NewModel()
	want.Append([]raftlog.Update{start}, true)
	if err := errors.Join(want.Exact(raftlogtest.Groups(l)), l.Close()); err != nil {
		t.Error(err)
	}
	if err := l.Append(nil, true); !errors.Is(err, raftlog.ErrClosed) {
		t.Errorf("append after close: %v, want ErrClosed", err)
	}
}

// TestDiskErrorEndsTheLog: after a write or a sync has failed nothing is acknowledged any more.
func TestDiskErrorEndsTheLog(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool // the store removes files at its own time
	told := make(chan error, 1)
	fs := faultfs.Wrap(vfs.NewMem(), func(op faultfs.Op) error {
		if broken.Load() && op.Kind == faultfs.Sync {
			return errors.New("injected")
		}
		return nil
	})
	l, err := pairlog.Open(pairlog.Config{FS: fs, Dir: "log", OnFatal: func(err error) { told <- err }})
	if err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	for range 2 {
		u := raftlog.Update{Group: 1, Entries: []*raftpb.Entry{raftlogtest.Entry(1, 1, nil)}}
		if err := l.Append([]raftlog.Update{u}, true); err == nil {
			t.Fatal("an append was acknowledged")
		}
	}
	if <-told == nil || l.Err() == nil || l.Group(1).LastIndex() != 0 {
		t.Errorf("the log says %v and has entry %d", l.Err(), l.Group(1).LastIndex())
	}
	if l.Close() == nil {
		t.Error("the log was closed as if nothing had happened")
	}
}

// TestLostLogIsDamage: a directory that had a log and has none has lost votes.
func TestLostLogIsDamage(t *testing.T) {
	t.Parallel()
	_, err := pairlog.Open(pairlog.Config{FS: vfs.NewMem(), Dir: "log", Existing: true})
	if found := (*raftlog.DamageError)(nil); !errors.As(err, &found) {
		t.Errorf("opened with %v, want damage", err)
	}
}
