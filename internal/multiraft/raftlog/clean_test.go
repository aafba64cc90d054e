package raftlog

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	raftpb "go.etcd.io/raft/v3/raftpb"
)

// A truncation that no record has carried yet is made durable before the segment of the dropped entries goes.
func TestFreeingCarriesTruncation(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	cfg := Config{FS: mem, Dir: "log", SegmentBytes: minSegmentBytes}
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	index := uint64(0)
	for len(l.segments) < 3 {
		index++
		u := Update{Group: 1, Entries: []*raftpb.Entry{testEntry(index, 2, string(make([]byte, 1000)))}}
		if err = l.Append([]Update{u}, true); err != nil {
			t.Fatal(err)
		}
	}
	if err = l.Truncate(1, index-1); err != nil {
		t.Fatal(err)
	}
	records := l.Stats().Records
	l.clean()
	if s := l.Stats(); s.FreedSegments != 2 || s.Records != records+2 {
		t.Fatalf("freed %d segments with %d records, want 2 and 2", s.FreedSegments, s.Records-records)
	}
	cfg.FS = mem.CrashClone(vfs.CrashCloneCfg{})
	again, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.Group(1).Marker(), (Marker{Index: index - 1, Term: 2}); got != want {
		t.Errorf("marker %+v after a crash, want %+v", got, want)
	}
	for _, open := range []*Log{l, again} {
		if err := open.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Runs behave like a map from index to entry, whatever the order in which entries come.
func TestRunsEqualMap(t *testing.T) {
	t.Parallel()
	meta := func(value uint64) entryMeta { return entryMeta{term: value} }
	span := func(value, count uint64) (metas []entryMeta) {
		for range count {
			metas = append(metas, meta(value))
		}
		return metas
	}
	var rs runs
	twin := map[uint64]entryMeta{}
	state := uint64(12345)
	draw := func(n uint64) uint64 {
		state = state*6364136223846793005 + 1442695040888963407
		return (state >> 33) % n
	}
	for step := range uint64(5_000) {
		first, count := 1+draw(60), 1+draw(8)
		switch draw(6) {
		case 0:
			rs = rs.cutFrom(first)
			for index := range twin {
				if index >= first {
					delete(twin, index)
				}
			}
		case 1:
			rs = rs.cutUpto(first / 4)
			for index := range twin {
				if index <= first/4 {
					delete(twin, index)
				}
			}
		case 2:
			rs = rs.cutFrom(first).add(first, span(step, count))
			for index := range twin {
				if index >= first {
					delete(twin, index)
				}
			}
			for i := range count {
				twin[first+i] = meta(step)
			}
		default:
			rs = rs.overlay(first, span(step, count))
			for i := range count {
				twin[first+i] = meta(step)
			}
		}
		got := map[uint64]entryMeta{}
		for i, r := range rs {
			if len(r.metas) == 0 || i > 0 && rs[i-1].end() > r.first {
				t.Fatalf("step %d: runs overlap or are empty: %v", step, rs)
			}
			for j, m := range r.metas {
				got[r.first+uint64(j)] = m
			}
		}
		if diff := cmp.Diff(fmt.Sprint(twin), fmt.Sprint(got)); diff != "" {
			t.Fatalf("step %d (-want +got):\n%s", step, diff)
		}
	}
}
