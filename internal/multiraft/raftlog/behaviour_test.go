package raftlog_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog/raftlogtest"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// Dropping every entry keeps the position of the last one, for each group apart, so that a group can go on.
func TestPurgedGroupKeepsItsPosition(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	l := open(t, smallConfig(mem))
	appendEntries(t, l, 1, 1, 9, 3, 50)
	appendEntries(t, l, 2, 1, 5, 4, 50)
	if err := l.Truncate(1, 9); err != nil {
		t.Fatal(err)
	}
	appendEntries(t, l, 3, 1, 1, 1, 50) // carries the marker
	l = reopenAfterCrash(t, mem)
	for group, want := range map[shard.GroupID]raftlog.Marker{1: {Index: 9, Term: 3}, 2: {}} {
		if got := l.Group(group).Marker(); got != want {
			t.Errorf("group %v: marker %+v, want %+v", group, got, want)
		}
	}
	if g := l.Group(1); g.LastIndex() != 9 || g.Bytes() != 0 || g.HardState().Commit != 9 {
		t.Errorf("last index %d, %d bytes, hard state %+v", g.LastIndex(), g.Bytes(), g.HardState())
	}
	appendEntries(t, l, 1, 10, 10, 3, 50)
	closeLog(t, l)
}

func reopenAfterCrash(t *testing.T, mem *vfs.MemFS) *raftlog.Log {
	t.Helper()
	return open(t, smallConfig(mem.CrashClone(vfs.CrashCloneCfg{})))
}

// A suffix that a new leader replaced does not return after a restart.
func TestReplacedSuffixStaysReplaced(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	l := open(t, smallConfig(mem))
	appendEntries(t, l, 1, 1, 20, 1, 50)
	appendEntries(t, l, 1, 5, 6, 2, 50)
	l = reopenAfterCrash(t, mem)
	g := l.Group(1)
	if term, err := g.Term(6); g.LastIndex() != 6 || err != nil || term != 2 {
		t.Errorf("last index %d, term of 6 = %d, %v; want 6, 2", g.LastIndex(), term, err)
	}
	closeLog(t, l)
}

// A commit index alone costs no write; the next record, or Flush, makes it durable.
func TestCommitIndexIsCarried(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	l := open(t, smallConfig(mem))
	hard := raftlog.HardState{Term: 2, Vote: 1}
	u := raftlog.Update{Group: 1, Hard: &hard, Entries: entries(1, 9, 2, 10)}
	if err := l.Append([]raftlog.Update{u}, true); err != nil {
		t.Fatal(err)
	}
	raise := func(commit uint64) {
		before := l.Stats().Syncs
		raised := raftlog.HardState{Term: 2, Vote: 1, Commit: commit}
		if err := l.Append([]raftlog.Update{{Group: 1, Hard: &raised}}, false); err != nil {
			t.Fatal(err)
		}
		if l.Stats().Syncs != before || l.Group(1).HardState() != raised {
			t.Errorf("commit %d: %d syncs, hard state %+v", commit, l.Stats().Syncs-before, l.Group(1).HardState())
		}
	}
	check := func(what string, want uint64) {
		again := reopenAfterCrash(t, mem)
		if got := again.Group(1).HardState().Commit; got != want {
			t.Errorf("%s: commit %d after a crash, want %d", what, got, want)
		}
		closeLog(t, again)
	}
	raise(4)
	check("kept in memory", 0)
	appendEntries(t, l, 2, 1, 1, 1, 10)
	check("after the next record", 4)
	raise(7)
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	check("after a flush", 7)
	raise(9)
	closeLog(t, l)
	check("after close", 9)
}

// What a call without a sync has left in memory is durable after one with a sync, whatever that brings along, and costs no
// second sync once it is.
func TestSyncTakesAlongWhatIsInMemory(t *testing.T) {
	t.Parallel()
	same := func(commits ...uint64) (updates []raftlog.Update) {
		for i, commit := range commits {
			updates = append(updates, raftlog.Update{
				Group: shard.GroupID(i + 1), Hard: &raftlog.HardState{Term: 2, Vote: 1, Commit: commit},
			})
		}
		return updates
	}
	for name, groups := range map[string]int{"one group": 1, "more groups than a record carries": 600} {
		for what, again := range map[string]bool{"nothing": false, "the same": true} {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				mem := vfs.NewCrashableMem()
				l := open(t, smallConfig(mem))
				updates := same(make([]uint64, groups)...)
				for i := range updates {
					updates[i].Entries = entries(1, 1, 2, 10)
				}
				raised := same(slices.Repeat([]uint64{1}, groups)...)
				for _, u := range updates {
					if err := l.Append([]raftlog.Update{u}, true); err != nil {
						t.Fatal(err)
					}
				}
				if err := l.Append(raised, false); err != nil {
					t.Fatal(err)
				}
				if !again {
					raised = nil
				}
				if err := l.Append(raised, true); err != nil {
					t.Fatal(err)
				}
				before := l.Stats().Syncs
				if err := l.Append(raised, true); err != nil {
					t.Fatal(err)
				}
				if got := l.Stats().Syncs - before; got != 0 {
					t.Errorf("%d syncs for what is durable", got)
				}
				after := reopenAfterCrash(t, mem)
				for g := range groups {
					if got := after.Group(shard.GroupID(g + 1)).HardState().Commit; got != 1 {
						t.Fatalf("group %d: commit %d after a crash, want 1", g+1, got)
					}
				}
				closeLog(t, after)
				closeLog(t, l)
			})
		}
	}
}

// A term with its vote is saved even when the caller does not ask for a sync.
func TestVoteIsNeverOnlyInMemory(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	l := open(t, smallConfig(mem))
	if err := l.Append([]raftlog.Update{{Group: 1, Hard: &raftlog.HardState{Term: 3, Vote: 2}}}, false); err != nil {
		t.Fatal(err)
	}
	l = reopenAfterCrash(t, mem)
	if got := l.Group(1).HardState(); got.Term != 3 || got.Vote != 2 {
		t.Errorf("hard state %+v after a crash", got)
	}
	closeLog(t, l)
}

// Groups that stopped long ago do not keep the segments of busy ones: neither one with a few entries, nor one
// that fills segments of its own.
func TestIdleGroupDoesNotBlockRecycling(t *testing.T) {
	t.Parallel()
	for _, background := range []bool{false, true} {
		for _, idle := range []uint64{3, 120} {
			t.Run(fmt.Sprintf("background=%t/entries=%d", background, idle), func(t *testing.T) {
				t.Parallel()
				cfg := smallConfig(vfs.NewMem())
				cfg.Background = background
				l := open(t, cfg)
				appendEntries(t, l, 1, 1, idle, 1, 200)
				for index := uint64(1); index <= 3000; index++ {
					appendEntries(t, l, 2, index, index, 1, 300)
					if index%10 == 0 {
						if err := l.Truncate(2, index-5); err != nil {
							t.Fatal(err)
						}
					}
				}
				s := l.Stats()
				if bound := 12 + 4*int(s.LiveBytes)/(8<<10); s.Segments > bound || s.FreedSegments < 50 {
					t.Errorf("%d segments, at most %d wanted: %+v", s.Segments, bound, s)
				}
				for range 2 {
					got, err := l.Group(1).Entries(1, idle+1, math.MaxUint64)
					if err != nil || uint64(len(got)) != idle {
						t.Errorf("%d entries of the idle group, %v; want %d", len(got), err, idle)
					}
					closeLog(t, l)
					l = open(t, cfg)
				}
				closeLog(t, l)
			})
		}
	}
}

// A call that no record can hold is written in parts, and a crash between them leaves valid groups: no entry without
// the term it needs, no commit index behind the log.
func TestCrashDuringLargeAppend(t *testing.T) {
	t.Parallel()
	for _, percent := range []int{0, 50} {
		mem := vfs.NewCrashableMem()
		watching, crashes, partial := false, 0, 0
		rng := rand.New(rand.NewPCG(1, 1))
		l := open(t, smallConfig(faultfs.Wrap(mem, func(op faultfs.Op) error {
			if !watching {
				return nil
			}
			crashes++
			again := open(t, smallConfig(mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})))
			if last := again.Group(1).LastIndex(); last > 10 && last < 80 {
				partial++
			}
			for group, old := range map[shard.GroupID]uint64{1: 10, 2: 0} {
				checkPart(t, op, again.Group(group), old)
			}
			closeLog(t, again)
			return nil
		})))
		base := raftlog.Update{Group: 1, Hard: &raftlog.HardState{Term: 1, Vote: 1, Commit: 4}, Entries: entries(1, 10, 1, 100)}
		if err := l.Append([]raftlog.Update{base}, true); err != nil {
			t.Fatal(err)
		}
		watching = true
		large := []raftlog.Update{
			{Group: 1, Hard: &raftlog.HardState{Term: 2, Vote: 3, Commit: 75}, Entries: entries(6, 80, 2, 700)},
			{
				Group: 2, Hard: &raftlog.HardState{Term: 2, Vote: 3, Commit: 1010},
				Reset: &raftlog.Marker{Index: 1000, Term: 2}, Entries: entries(1001, 1030, 2, 700),
			},
		}
		if err := l.Append(large, true); err != nil {
			t.Fatal(err)
		}
		watching = false
		want := raftlogtest.NewModel()
		want.Append([]raftlog.Update{base}, true)
		want.Append(large, true)
		if err := want.Exact(raftlogtest.Groups(l)); err != nil {
			t.Error(err)
		}
		l = reopenAfterCrash(t, mem)
		if err := want.Exact(raftlogtest.Groups(l)); err != nil {
			t.Errorf("after a crash: %v", err)
		}
		closeLog(t, l)
		if crashes < 10 || partial == 0 {
			t.Errorf("%d crashes, %d of them between the parts", crashes, partial)
		}
	}
}

func checkPart(t *testing.T, op faultfs.Op, g *raftlog.Group, old uint64) {
	t.Helper()
	hard, last := g.HardState(), g.LastIndex()
	if hard.Commit > last || hard.Commit < g.Marker().Index {
		t.Errorf("crash before %v: commit %d with entries %d to %d", op, hard.Commit, g.FirstIndex(), last)
	}
	if last == g.Marker().Index {
		return
	}
	all, err := g.Entries(g.FirstIndex(), last+1, math.MaxUint64)
	if err != nil {
		t.Errorf("crash before %v: %v", op, err)
		return
	}
	newest := all[len(all)-1]
	if newest.GetTerm() > hard.Term || newest.GetTerm() == 2 && hard.Vote != 3 {
		t.Errorf("crash before %v: entry of term %d with hard state %+v", op, newest.GetTerm(), hard)
	}
	if newest.GetTerm() == 1 && last != old {
		t.Errorf("crash before %v: last index %d, want %d", op, last, old)
	}
}

// The cache keeps the newest entries of every group within one budget, and a busy group does not push out the few
// entries of a quiet one.
func TestCacheIsShared(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(vfs.NewMem())
	cfg.CacheBytes = 20 << 10
	l := open(t, cfg)
	appendEntries(t, l, 1, 1, 3, 1, 100)
	for index := uint64(1); index <= 400; index++ {
		appendEntries(t, l, 2, index, index, 1, 100)
		if s := l.Stats(); s.CacheBytes > cfg.CacheBytes {
			t.Fatalf("%d bytes cached, the budget is %d", s.CacheBytes, cfg.CacheBytes)
		}
	}
	for _, c := range []struct {
		group        shard.GroupID
		lo, hi       uint64
		hits, misses uint64
	}{{1, 1, 4, 3, 0}, {2, 398, 401, 3, 0}, {2, 1, 4, 0, 3}} {
		before := l.Stats()
		got, err := l.Group(c.group).Entries(c.lo, c.hi, math.MaxUint64)
		if err != nil || len(got) != 3 {
			t.Fatalf("%d entries, %v", len(got), err)
		}
		after := l.Stats()
		if hits, misses := after.CacheHits-before.CacheHits, after.CacheMisses-before.CacheMisses; hits != c.hits || misses != c.misses {
			t.Errorf("group %v from %d: %d hits, %d misses; want %d and %d", c.group, c.lo, hits, misses, c.hits, c.misses)
		}
	}
	closeLog(t, l)
}

// What comes back from disk is what went in, in every field.
func TestEntriesRoundTrip(t *testing.T) {
	t.Parallel()
	cfg := smallConfig(vfs.NewMem())
	cfg.CacheBytes = -1
	l := open(t, cfg)
	in := []*raftpb.Entry{
		raftlogtest.Entry(1, 1, nil),
		raftlogtest.Entry(2, 1, []byte{0}),
		raftlogtest.Entry(3, 2, []byte("configuration")),
		raftlogtest.Entry(4, math.MaxUint64, make([]byte, 3000)),
	}
	kind := raftpb.EntryConfChangeV2
	in[2].Type = &kind
	if err := l.Append([]raftlog.Update{{Group: math.MaxUint64, Entries: in}}, true); err != nil {
		t.Fatal(err)
	}
	out, err := l.Group(math.MaxUint64).Entries(1, 5, math.MaxUint64)
	if err != nil || len(out) != len(in) {
		t.Fatalf("%d entries, %v", len(out), err)
	}
	for i := range in {
		if in[i].String() != out[i].String() {
			t.Errorf("entry %d: %v, want %v", i+1, out[i], in[i])
		}
		if (in[i].Data == nil) != (out[i].Data == nil) {
			t.Errorf("entry %d: nil data is not kept apart", i+1)
		}
	}
	closeLog(t, l)
}

// The background goroutine keeps a spare segment ready and ends with Close.
func TestSparesAreMadeAhead(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	made := make(chan struct{}, 100)
	cfg := smallConfig(faultfs.Wrap(mem, func(op faultfs.Op) error {
		if op.Kind == faultfs.Rename {
			made <- struct{}{}
		}
		return nil
	}))
	cfg.Background, cfg.SpareSegments = true, 2
	l := open(t, cfg)
	for range 4 { // the first segment takes two renames, each spare one
		<-made
	}
	closeLog(t, l)
	if len(made) > 0 {
		t.Errorf("%d more files than wanted", len(made))
	}
}
