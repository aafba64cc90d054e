package pairlog_test

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/pairlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog/raftlogtest"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// usedBytes is what the files of a directory take.
func usedBytes(fs disk.FS, dir string) (used int64) {
	names, err := fs.List(dir)
	if err != nil {
		return 0
	}
	for _, name := range names {
		if info, err := fs.Stat(fs.PathJoin(dir, name)); err == nil { // it may be gone by now
			used += info.Size()
		}
	}
	return used
}

// one is the update that appends one entry of 4 KiB, which cannot be compressed.
func one(group shard.GroupID, index uint64) []raftlog.Update { return sized(group, index, 4<<10) }

// sized is one with an entry of so many bytes.
func sized(group shard.GroupID, index uint64, bytes int) []raftlog.Update {
	data := make([]byte, bytes)
	rng := rand.New(rand.NewPCG(uint64(group), index))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return []raftlog.Update{{Group: group, Entries: []*raftpb.Entry{raftlogtest.Entry(index, 1, data)}}}
}

// TestFullDiskIsFreedByCutting: on a disk without room the log takes nothing more, but what is cut of it then is written and frees the disk, without
// anybody's help; unless so little is left that this may not be written either. Once there is room the log goes on, and has what was not cut.
func TestFullDiskIsFreedByCutting(t *testing.T) {
	t.Parallel()
	const groups, entries, kept, reserve = 3, 400, 8, 512 << 10
	mem := vfs.NewCrashableMem()
	var room atomic.Int64
	room.Store(1 << 30)
	cfg := pairlog.Config{
		FS: mem, Dir: "log", CacheBytes: -1, MemTableBytes: reserve / 2, ReserveBytes: reserve,
		FreeBytes: func() (int64, error) { return room.Load(), nil },
	}
	l, err := pairlog.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for index := uint64(1); index <= entries; index++ {
		for g := shard.GroupID(1); g <= groups; g++ {
			if err = l.Append(one(g, index), true); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := func() (sum uint64) { // of all groups, after a crash
		again, failed := pairlog.Open(pairlog.Config{FS: mem.CrashClone(vfs.CrashCloneCfg{}), Dir: "log", CacheBytes: -1})
		if failed != nil {
			t.Fatal(failed)
		}
		for g := shard.GroupID(1); g <= groups; g++ {
			sum += again.Group(g).FirstIndex()
		}
		if failed = again.Close(); failed != nil {
			t.Fatal(failed)
		}
		return sum
	}
	before := usedBytes(mem, "log")
	for _, step := range []struct {
		room int64
		want uint64
	}{{reserve/2 - 1, groups}, {reserve - 1, groups * (entries - kept + 1)}} {
		room.Store(step.room)
		for g := shard.GroupID(1); g <= groups; g++ {
			if err = l.Truncate(g, entries-kept); err != nil {
				t.Fatal(err)
			}
		}
		if err = l.Append(one(1, entries+1), true); !errors.Is(err, raftlog.ErrNoSpare) {
			t.Fatalf("with %d bytes free an append ends with %v", step.room, err)
		}
		if got := first(); got != step.want {
			t.Fatalf("with %d bytes free the groups begin at %d, all together, want %d", step.room, got, step.want)
		}
	}
	look, tooLong := time.NewTicker(time.Millisecond), time.After(time.Minute)
	defer look.Stop()
	for usedBytes(mem, "log") > before/4 {
		select {
		case <-look.C:
		case <-tooLong:
			t.Fatalf("%d of %d bytes are used after the log was cut", usedBytes(mem, "log"), before)
		}
	}
	room.Store(reserve)
	if err = errors.Join(l.Append(one(1, entries+1), true), l.Close()); err != nil {
		t.Fatal(err)
	}
	if l, err = pairlog.Open(cfg); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Group(1).Entries(entries-kept+1, entries+2, 1<<30); err != nil || len(got) != kept+1 {
		t.Errorf("%d entries are left, %v; want %d", len(got), err, kept+1)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
