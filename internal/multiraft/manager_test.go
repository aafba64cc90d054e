package multiraft

import (
	"errors"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

func TestOneVoterAcknowledgesOnlyWhatIsOnDisk(t *testing.T) {
	l := newLab(t, 1, 2)
	n := l.add(1)
	l.until(100, "all groups have a leader", l.settled)
	var want uint64
	for amount := uint64(1); amount <= 5; amount++ {
		want += amount
		got, err := l.propose(shard.UserShard(1), l.id(), amount)
		if err != nil || got != want {
			t.Fatalf("propose %d = %d, %v; want %d", amount, got, err, want)
		}
	}
	n.crash()
	n.restart()
	l.until(100, "all groups have a leader", l.settled)
	if got := n.sum(shard.UserShard(1)); got != want {
		t.Fatalf("after a crash the sum is %d, want %d", got, want)
	}
}

func TestGrowToThreeAndSurviveEachCrash(t *testing.T) {
	l := newLab(t, 2, 4)
	l.add(1)
	l.until(100, "the first node leads", l.settled)
	want := map[shard.GroupID]uint64{}
	write := func(amount uint64) {
		t.Helper()
		for _, g := range l.groups {
			l.until(400, "a leader", func() bool { return l.leader(g) != nil })
			id := l.id()
			for attempt := 0; ; attempt++ {
				_, err := l.propose(g, id, amount)
				if err == nil {
					break
				}
				// The tally does not drop duplicates, so only what was surely not proposed is repeated.
				var notLeader *NotLeaderError
				if !errors.As(err, &notLeader) || attempt > 50 {
					t.Fatalf("propose to %s: %v\n%s", g, err, l.describe())
				}
				l.tick()
			}
			want[g] += amount
		}
	}
	write(1)
	l.add(2)
	l.add(3)
	l.until(2000, "three voters everywhere", l.settled)
	write(10)
	for id := ident.ReplicaID(1); id <= 3; id++ {
		n := l.nodes[id]
		n.crash()
		l.nodes[id].manager = nil
		l.until(400, "new leaders", func() bool {
			for _, g := range l.groups {
				if l.leader(g) == nil {
					return false
				}
			}
			return true
		})
		write(100)
		n.restart()
		l.until(400, "the node caught up", func() bool {
			for _, g := range l.groups {
				if n.sum(g) != want[g] {
					return false
				}
			}
			return true
		})
	}
	for id, n := range l.nodes {
		for _, g := range l.groups {
			if got := n.sum(g); got != want[g] {
				t.Errorf("replica %d has %d in %s, want %d", id, got, g, want[g])
			}
		}
	}
}

func TestLeadersSpreadOverTheNodes(t *testing.T) {
	l := newLab(t, 3, 8)
	for id := ident.ReplicaID(1); id <= 3; id++ {
		l.add(id)
	}
	l.until(3000, "three voters everywhere", l.settled)
	l.until(3000, "each node leads its share", func() bool {
		for _, n := range l.nodes {
			if c := n.manager.LeaderCount(); c < 3 || c > 4 {
				return false
			}
		}
		return true
	})
}

func TestWipedReplicaIsReplacedThroughASnapshot(t *testing.T) {
	l := newLab(t, 4, 2)
	for id := ident.ReplicaID(1); id <= 3; id++ {
		l.add(id)
	}
	l.until(3000, "three voters everywhere", l.settled)
	g := shard.UserShard(0)
	if _, err := l.propose(g, l.id(), 7); err != nil {
		t.Fatal(err)
	}
	lost := l.nodes[3]
	lost.halt()
	delete(l.nodes, 3)
	l.members[2].Removed = true
	l.add(4)
	l.members[3].Replaces = 3 // nothing has run since add
	l.until(3000, "the new replica votes in the lost one's place", l.settled)
	l.until(400, "the new replica has the rows", func() bool { return l.nodes[4].sum(g) == 7 })
	for _, group := range l.groups {
		leader := l.leader(group)
		for _, voter := range leader.manager.groups[group].describe(leader.manager).Voters {
			if voter == 3 {
				t.Errorf("%s still counts the lost replica", group)
			}
		}
	}
}

func TestFollowerBehindTheLogGetsASnapshot(t *testing.T) {
	l := newLab(t, 5, 1)
	l.retain = 10
	for id := ident.ReplicaID(1); id <= 3; id++ {
		l.add(id)
	}
	l.until(3000, "three voters everywhere", l.settled)
	g := shard.UserShard(0)
	away := l.nodes[3]
	away.crash()
	away.manager = nil
	l.until(400, "a leader", func() bool { return l.leader(g) != nil })
	var want uint64
	for i := range uint64(100) {
		if _, err := l.propose(g, l.id(), i); err != nil {
			t.Fatalf("propose: %v", err)
		}
		want += i
	}
	l.until(400, "the logs are cut past the node that is away", func() bool {
		for id := ident.ReplicaID(1); id <= 2; id++ {
			n := l.nodes[id]
			if err := errors.Join(n.store.Flush(), n.manager.Maintain()); err != nil {
				t.Fatal(err)
			}
			if n.manager.groups[g].log.FirstIndex() <= 60 {
				return false
			}
		}
		return true
	})
	away.restart()
	l.until(3000, "the node caught up", func() bool { return away.sum(g) == want })
	if away.manager.groups[g].snapsTaken.Load() == 0 {
		t.Error("the node caught up without a snapshot; the log was not cut")
	}
}
