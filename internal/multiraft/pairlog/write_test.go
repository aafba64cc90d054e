package pairlog

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

func entry(index, term uint64, bytes int) *raftpb.Entry {
	return &raftpb.Entry{Index: new(index), Term: new(term), Type: raftpb.EntryNormal.Enum(), Data: make([]byte, bytes)}
}

func mustOpen(t *testing.T, cfg Config) *Log {
	t.Helper()
	cfg.Dir = "log"
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustAppend(t *testing.T, l *Log, group shard.GroupID, entries ...*raftpb.Entry) {
	t.Helper()
	hard := &raftlog.HardState{Term: entries[len(entries)-1].GetTerm(), Vote: 1}
	if err := l.Append([]raftlog.Update{{Group: group, Hard: hard, Entries: entries}}, true); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestWhatBindsNobodyIsNotWritten: commit indexes and truncations change no file until the next batch, which carries them.
func TestWhatBindsNobodyIsNotWritten(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	var mu sync.Mutex // guards writes
	writes := 0
	l := mustOpen(t, Config{FS: faultfs.Wrap(mem, func(op faultfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if op.Kind != faultfs.Remove { // the store removes files at its own time
			writes++
		}
		return nil
	})})
	count := func() int { mu.Lock(); defer mu.Unlock(); return writes }
	mustAppend(t, l, 1, entry(1, 1, 10), entry(2, 1, 10), entry(3, 1, 10))
	before, syncs := count(), l.Stats().Syncs
	err := errors.Join(l.Append([]raftlog.Update{{Group: 1, Hard: &raftlog.HardState{Term: 1, Vote: 1, Commit: 3}}}, false), l.Truncate(1, 2))
	if err != nil || count() != before || l.Stats().Syncs != syncs {
		t.Errorf("%v, %d changes of the disk, %d syncs, want none", err, count()-before, l.Stats().Syncs-syncs)
	}
	if hard, first := l.Group(1).HardState(), l.Group(1).FirstIndex(); hard.Commit != 3 || first != 3 {
		t.Errorf("%+v, first index %d", hard, first)
	}
	seen := func(from *vfs.MemFS) string {
		other := mustOpen(t, Config{FS: from})
		defer mustClose(t, other)
		g := other.Group(1)
		return fmt.Sprintf("commit %d, entries %d to %d", g.HardState().Commit, g.FirstIndex(), g.LastIndex())
	}
	if got, want := seen(mem.CrashClone(vfs.CrashCloneCfg{})), "commit 0, entries 1 to 3"; got != want {
		t.Errorf("after a power cut: %s, want %s", got, want)
	}
	mustAppend(t, l, 2, entry(1, 1, 10))
	if got, want := seen(mem.CrashClone(vfs.CrashCloneCfg{})), "commit 3, entries 3 to 3"; got != want {
		t.Errorf("after the next batch and a power cut: %s, want %s", got, want)
	}
	// A vote is no commit index, even for a caller who thinks so.
	if err := l.Append([]raftlog.Update{{Group: 1, Hard: &raftlog.HardState{Term: 2, Vote: 3, Commit: 3}}}, false); err != nil {
		t.Fatal(err)
	}
	other := mustOpen(t, Config{FS: mem.CrashClone(vfs.CrashCloneCfg{})})
	if hard := other.Group(1).HardState(); hard.Vote != 3 || hard.Term != 2 {
		t.Errorf("after a power cut the vote is %+v", hard)
	}
	mustClose(t, other)
	mustClose(t, l)
}

// TestWhatIsReadAfterAKillIsDurable kills the process between the write of a batch and its sync. The system still has the batch, so the
// next process reads it and speaks by it: then the power fails.
func TestWhatIsReadAfterAKillIsDurable(t *testing.T) {
	t.Parallel()
	killed := errors.New("the process was killed")
	mem := vfs.NewCrashableMem()
	var down atomic.Bool // the store removes files at its own time
	l := mustOpen(t, Config{FS: faultfs.Wrap(mem, func(op faultfs.Op) error {
		if down.Load() && op.Kind == faultfs.Sync {
			return killed
		}
		return nil
	})})
	mustAppend(t, l, 1, entry(1, 1, 10))
	down.Store(true)
	u := raftlog.Update{Group: 1, Hard: &raftlog.HardState{Term: 2, Vote: 3}, Entries: []*raftpb.Entry{entry(2, 2, 100)}}
	if err := l.Append([]raftlog.Update{u}, true); !errors.Is(err, killed) {
		t.Fatalf("append: %v", err)
	}
	_ = l.Close() // it says what has killed it

	next := mustOpen(t, Config{FS: mem})
	if hard, last := next.Group(1).HardState(), next.Group(1).LastIndex(); last != 2 || hard.Vote != 3 {
		t.Fatalf("the next process reads %+v and entries up to %d: the batch is not there, and the test shows nothing", hard, last)
	}
	after := mustOpen(t, Config{FS: mem.CrashClone(vfs.CrashCloneCfg{})})
	if hard, last := after.Group(1).HardState(), after.Group(1).LastIndex(); last != 2 || hard.Vote != 3 {
		t.Errorf("a process read the batch; after the power has failed there are %+v and entries up to %d", hard, last)
	}
	mustClose(t, next)
	mustClose(t, after)
}

// TestCallersShareASync holds a sync until others wait: they get one together, and one of them that is refused leaves no trace.
func TestCallersShareASync(t *testing.T) {
	t.Parallel()
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var hold atomic.Bool // the store removes files at its own time
	l := mustOpen(t, Config{FS: faultfs.Wrap(vfs.NewMem(), func(op faultfs.Op) error {
		if hold.Load() && op.Kind == faultfs.Sync {
			once.Do(func() { close(held); <-release })
		}
		return nil
	})})
	hold.Store(true)
	const callers = 8
	before := l.Stats().Syncs
	var all sync.WaitGroup
	all.Go(func() { mustAppend(t, l, 100, entry(1, 1, 10)) })
	<-held
	errs := make([]error, callers+2)
	for i := range callers {
		all.Go(func() {
			errs[i] = l.Append([]raftlog.Update{{Group: shard.GroupID(i + 1), Entries: []*raftpb.Entry{entry(1, 1, 10)}}}, true)
		})
	}
	all.Go(func() {
		errs[callers] = l.Append([]raftlog.Update{{Group: 200, Entries: []*raftpb.Entry{entry(7, 1, 10)}}}, true)
	})
	waiting := func(n int) {
		for {
			l.queueMu.Lock()
			queued := len(l.queue)
			l.queueMu.Unlock()
			if queued == n {
				return
			}
		}
	}
	waiting(callers + 1)
	// One for a group that another one is for waits for it.
	all.Go(func() {
		errs[callers+1] = l.Append([]raftlog.Update{{Group: 1, Entries: []*raftpb.Entry{entry(2, 1, 10)}}}, true)
	})
	waiting(callers + 2)
	close(release)
	all.Wait()
	if !errors.Is(errs[callers], raftlog.ErrInvalidUpdate) {
		t.Errorf("a gap: %v", errs[callers])
	}
	errs[callers] = nil
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if syncs := l.Stats().Syncs - before; syncs != 3 {
		t.Errorf("%d syncs for one call, %d that waited meanwhile, and one behind those; want 3", syncs, callers+1)
	}
	for i := range callers {
		want := uint64(1)
		if i == 0 {
			want = 2
		}
		if last := l.Group(shard.GroupID(i + 1)).LastIndex(); last != want {
			t.Errorf("group %d ends at %d, want %d", i+1, last, want)
		}
	}
	mustClose(t, l)
}

// TestNoRoomIsNotFinal: while hardly anything is free, nothing is begun; the same call succeeds once there is room.
func TestNoRoomIsNotFinal(t *testing.T) {
	t.Parallel()
	free := int64(1 << 30)
	mem := vfs.NewMem()
	l := mustOpen(t, Config{FS: mem, MemTableBytes: 1 << 20, FreeBytes: func() (int64, error) { return free, nil }})
	mustAppend(t, l, 1, entry(1, 1, 10))
	free = 2<<20 - 1
	u := []raftlog.Update{{Group: 1, Entries: []*raftpb.Entry{entry(2, 1, 10)}}}
	for range 2 {
		if err := l.Append(u, true); !errors.Is(err, raftlog.ErrNoSpare) {
			t.Fatalf("append without room: %v, want ErrNoSpare", err)
		}
	}
	if last := l.Group(1).LastIndex(); last != 1 || l.Err() != nil {
		t.Errorf("last index %d, %v", last, l.Err())
	}
	if err := l.Truncate(1, 1); err != nil {
		t.Errorf("truncation without room: %v", err)
	}
	free = 2 << 20
	if err := l.Append(u, true); err != nil {
		t.Error(err)
	}
	mustClose(t, l)
	l = mustOpen(t, Config{FS: mem})
	if first, last := l.Group(1).FirstIndex(), l.Group(1).LastIndex(); first != 2 || last != 2 {
		t.Errorf("entries %d to %d, want 2 to 2", first, last)
	}
	mustClose(t, l)
}

// TestNoFileIsWrittenTwice fills many files: none takes the place of another.
func TestNoFileIsWrittenTwice(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards what follows
	created, reused := map[string]bool{}, []string{}
	l := mustOpen(t, Config{MemTableBytes: 64 << 10, FS: faultfs.Wrap(vfs.NewMem(), func(op faultfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		name := path.Base(op.Path)
		switch {
		case op.Path == "log":
		case op.Kind == faultfs.Create && created[name], op.Kind == faultfs.Rename && strings.HasSuffix(name, storage.WritesSuffix):
			reused = append(reused, op.String())
		case op.Kind == faultfs.Create:
			created[name] = true
		}
		return nil
	})})
	for i := range uint64(200) {
		mustAppend(t, l, 1, entry(i+1, 1, 4<<10))
		if i%20 == 19 {
			if err := l.Truncate(1, i-5); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustClose(t, l)
	files := 0
	for name := range created {
		if strings.HasSuffix(name, storage.WritesSuffix) {
			files++
		}
	}
	if len(reused) > 0 || files < 5 {
		t.Errorf("%d files of the write-ahead log, written again: %v", files, reused)
	}
}

// TestLostWritesAreDamage takes the files away with what was written last, which nobody below the log would miss.
func TestLostWritesAreDamage(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	for i := range uint64(2) { // the second opening makes a table
		l := mustOpen(t, Config{FS: mem})
		mustAppend(t, l, 1, entry(i+1, 1, 10))
		mustClose(t, l)
	}
	names, err := mem.List("log")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, storage.WritesSuffix) {
			err = errors.Join(err, mem.Remove(path.Join("log", name)))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open(Config{FS: disk.FS(mem), Dir: "log"})
	if err == nil {
		mustClose(t, l)
	}
	if found := (*raftlog.DamageError)(nil); !errors.As(err, &found) {
		t.Errorf("opened with %v, want damage", err)
	}
}
