package pairlog

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// hurtBy commits a batch behind the log's back and lets go of the directory as it then is.
func hurtBy(l *Log, b *storage.Batch, err error) error {
	if err == nil {
		err = l.store.CommitSync(b)
	}
	return errors.Join(err, b.Close(), l.store.Close())
}

func testDamage(t *testing.T, hurt func(l *Log) error) {
	t.Helper()
	cfg := Config{FS: vfs.NewMem(), Dir: "log", CacheBytes: -1}
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	u := raftlog.Update{Group: 1, Hard: &raftlog.HardState{Term: 1, Commit: 3}}
	for index := range uint64(3) {
		u.Entries = append(u.Entries, &raftpb.Entry{Index: new(index + 1), Term: new(uint64(1)), Type: raftpb.EntryNormal.Enum()})
	}
	if err = l.Append([]raftlog.Update{u}, true); err != nil {
		t.Fatal(err)
	}
	if err = hurt(l); err != nil {
		t.Fatal(err)
	}
	if l, err = Open(cfg); err == nil {
		t.Fatal(errors.Join(errors.New("the log was opened"), l.Close()))
	}
	if found := (*raftlog.DamageError)(nil); !errors.As(err, &found) {
		t.Errorf("opened with %v, want damage", err)
	}
}
