package multiraft

import (
	"encoding/binary"
	"errors"
	"testing"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// watchPacks counts the packed entries that are sent to others, by group.
func (l *lab) watchPacks() map[shard.GroupID]int {
	seen := map[shard.GroupID]int{}
	l.watch = func(messages []transport.Message) {
		for i := range messages {
			for _, e := range messages[i].Raft.GetEntries() {
				if e.GetType() == raftpb.EntryNormal && len(e.GetData()) > 0 && e.GetData()[0] == packedVersion {
					seen[messages[i].Group]++
				}
			}
		}
	}
	return seen
}

// TestProposalsShareEntries proposes several commands in a pass: where the cluster packs they take one index, every caller
// gets its own result, all replicas apply all of them in the order of the proposals, and the meta group stays as it was.
func TestProposalsShareEntries(t *testing.T) {
	for _, packs := range []bool{false, true} {
		l := newLab(t, 1, 2)
		l.packs = packs
		l.startThree()
		seen := l.watchPacks()
		for _, g := range []shard.GroupID{shard.Meta, l.groups[1]} {
			leader := l.leader(g)
			before, sum := leader.manager.Glance(g).LastIndex, l.nodes[1].sum(g)
			var submitted []*Submitted
			for i := range uint64(5) {
				s, err := leader.manager.Submit(g, l.id(), binary.BigEndian.AppendUint64(nil, 1<<i))
				if err != nil {
					t.Fatal(err)
				}
				submitted = append(submitted, s)
			}
			l.pump()
			entries := uint64(5)
			if packs && g != shard.Meta {
				entries = 1
			}
			if took := leader.manager.Glance(g).LastIndex - before; took != entries {
				t.Errorf("packs %v: five commands of %s take %d entries, want %d", packs, g, took, entries)
			}
			for i, s := range submitted {
				sum += 1 << i
				result, index, done, err := s.Poll()
				if !done || err != nil || binary.BigEndian.Uint64(result) != sum || index != before+min(entries, uint64(i+1)) {
					t.Errorf("packs %v: command %d of %s: result %x at %d, done %v, %v; want %x", packs, i, g, result, index, done, err, sum)
				}
			}
			l.until(100, "every replica has applied everything", func() bool {
				for _, n := range l.nodes {
					if n.sum(g) != sum {
						return false
					}
				}
				return true
			})
		}
		if packed := seen[l.groups[1]] > 0; packed != packs || seen[shard.Meta] > 0 {
			t.Errorf("packs %v: packed entries that were sent: %v", packs, seen)
		}
	}
}

// TestPackedEntriesSurvive: what was packed is applied by a replica that was away, through the log and through a
// snapshot, and by everybody after a restart.
func TestPackedEntriesSurvive(t *testing.T) {
	for _, retain := range []uint64{1000, 5} {
		l := newLab(t, 2, 2)
		l.packs, l.retain = true, retain
		l.startThree()
		seen := l.watchPacks()
		g := l.groups[1]
		away := l.nodes[3]
		away.crash()
		away.manager = nil
		l.until(400, "a leader", func() bool { return l.leader(g) != nil })
		leader := l.leader(g)
		want := leader.sum(g)
		for range 30 {
			for range 7 {
				if _, err := leader.submit(g, l.id(), binary.BigEndian.AppendUint64(nil, 3)); err != nil {
					t.Fatal(err)
				}
				want += 3
			}
			l.pump()
		}
		cut := leader.manager.Glance(g).LastIndex - 20
		l.until(400, "the logs are cut past the replica that is away", func() bool {
			for id := ident.ReplicaID(1); id <= 2 && retain == 5; id++ {
				n := l.nodes[id]
				if err := errors.Join(n.store.Flush(), n.manager.Maintain()); err != nil {
					t.Fatal(err)
				}
				if n.manager.Glance(g).FirstIndex < cut {
					return false
				}
			}
			return true
		})
		away.restart()
		level := func() bool {
			for _, n := range l.nodes {
				if n.sum(g) != want {
					return false
				}
			}
			return true
		}
		l.until(400, "the replica that was away has everything", level)
		if received := away.manager.Glance(g).SnapshotsInstalled > 0; seen[g] == 0 || received != (retain == 5) {
			t.Errorf("retention %d: %d packed entries were sent, snapshot received %v", retain, seen[g], received)
		}
		for id := ident.ReplicaID(1); id <= 3; id++ {
			l.nodes[id].crash()
		}
		for id := ident.ReplicaID(1); id <= 3; id++ {
			l.nodes[id].restart()
		}
		l.until(400, "everybody has everything after a restart", level)
	}
}

// TestLostPackIsUnknown: when a leader loses its place, every proposal of an entry ends with an unknown outcome.
func TestLostPackIsUnknown(t *testing.T) {
	l := newLab(t, 3, 2)
	l.packs = true
	l.startThree()
	g := l.groups[1]
	leader := l.leader(g)
	l.isolate(leader)
	var submitted []*Submitted
	for i := range 4 {
		s, err := leader.manager.Submit(g, ident.RequestID{byte(i + 1)}, binary.BigEndian.AppendUint64(nil, 1))
		if err != nil {
			t.Fatal(err)
		}
		submitted = append(submitted, s)
	}
	l.until(400, "every proposal has ended", func() bool {
		for _, s := range submitted {
			_, _, done, err := s.Poll()
			if done && err != ErrOutcomeUnknown { //nolint:errorlint // it is handed out as it is
				t.Fatalf("ended with %v", err)
			}
			if !done {
				return false
			}
		}
		return true
	})
}
