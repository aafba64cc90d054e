package raftlog_test

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// TestWhatIsReadAfterAKillIsDurable kills the process between the write of a record and its sync. The system still has the record, so that
// the next process reads it and speaks by it: then the power fails, before anything else was written.
func TestWhatIsReadAfterAKillIsDurable(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 3000, 4090} { // within a page, and over two
		mem := vfs.NewCrashableMem()
		killed := false
		l := open(t, smallConfig(faultfs.Wrap(mem, func(op faultfs.Op) error {
			if killed && op.Kind == faultfs.Sync {
				return errKilled
			}
			return nil
		})))
		appendEntries(t, l, 1, 1, 3, 1, 10)
		killed = true
		u := raftlog.Update{Group: 1, Hard: &raftlog.HardState{Term: 2, Vote: 3, Commit: 4}, Entries: entries(4, 4, 2, size)}
		if err := l.Append([]raftlog.Update{u}, true); !errors.Is(err, errKilled) {
			t.Fatalf("append: %v", err)
		}
		_ = l.Close() // it says what has killed it

		next := open(t, smallConfig(mem))
		hard, last := next.Group(1).HardState(), next.Group(1).LastIndex()
		if last != 4 || hard.Vote != 3 {
			t.Fatalf("the next process reads %+v and entries up to %d: the record is not there, and the test shows nothing", hard, last)
		}
		after := open(t, smallConfig(mem.CrashClone(vfs.CrashCloneCfg{})))
		if again := after.Group(1).HardState(); again != hard || after.Group(1).LastIndex() != last {
			t.Errorf("%d bytes: a process read %+v and entries up to %d; after the power has failed there are %+v and %d",
				size, hard, last, again, after.Group(1).LastIndex())
		}
		closeLog(t, next)
		closeLog(t, after)
	}
}

var errKilled = errors.New("the process was killed")

// TestLostLogIsDamage opens a directory that must have a log, and has none: it is damage, and nothing is made there.
func TestLostLogIsDamage(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	l := open(t, smallConfig(fs))
	appendEntries(t, l, 1, 1, 3, 1, 10)
	closeLog(t, l)
	cfg := smallConfig(fs)
	cfg.Existing = true
	l = open(t, cfg)
	if last := l.Group(1).LastIndex(); last != 3 {
		t.Errorf("last index %d of a log that is there, want 3", last)
	}
	closeLog(t, l)
	if err := fs.RemoveAll(cfg.Dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		l, err := raftlog.Open(cfg)
		if _, is := errors.AsType[*raftlog.DamageError](err); !is {
			t.Fatalf("a lost log is opened as %v, %v", l, err)
		}
	}
	cfg.Existing = false
	closeLog(t, open(t, cfg))
}
