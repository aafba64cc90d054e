package multiraft

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// recoverAs rewrites the directory of a node that has crashed. Its state machines see no meta group but the
// recovery's own.
func (n *labNode) recoverAs(survivors ...ident.ReplicaID) []RecoveredGroup {
	t := n.lab.t
	t.Helper()
	n.openStores()
	defer func() {
		if err := n.log.Close(); err != nil {
			t.Error(err)
		}
		if err := n.closeStore(); err != nil {
			t.Error(err)
		}
	}()
	machines := func(g shard.GroupID) StateMachine { return &tally{group: g} }
	r, err := OpenRecovery(n.store, LogOf(n.log), n.lab.groups, machines)
	if err != nil {
		t.Fatal(err)
	}
	found := r.Groups(n.replica)
	if err := r.Rewrite(survivors, func(*storage.Batch) error { return nil }); err != nil {
		t.Fatal(err)
	}
	return found
}

// lose takes nodes away for good and records it.
func (l *lab) lose(replicas ...ident.ReplicaID) {
	for _, id := range replicas {
		l.nodes[id].crash()
		l.nodes[id].manager = nil
		delete(l.nodes, id)
		for i := range l.members {
			if l.members[i].Replica == id {
				l.members[i].Removed = true
			}
		}
	}
}

func TestOneSurvivorOfThreeIsRecovered(t *testing.T) {
	l := newLab(t, 7, 2)
	l.startThree()
	group := shard.UserShard(1)
	var want uint64
	for amount := uint64(1); amount <= 20; amount++ {
		l.until(400, "a leader", func() bool { return l.leader(group) != nil })
		got, err := l.propose(group, l.id(), amount)
		if err != nil {
			t.Fatal(err)
		}
		want = got
	}
	survivor := l.nodes[3]
	l.until(100, "the survivor has everything", func() bool { return survivor.sum(group) == want })
	survivor.crash()
	survivor.manager = nil
	l.lose(1, 2)
	for _, g := range survivor.recoverAs(3) {
		if len(g.Voters) != 3 || g.Learner || g.Last < g.Applied {
			t.Errorf("found %+v", g)
		}
	}
	survivor.restart()
	l.until(200, "the survivor leads alone", l.settled)
	if got, err := l.propose(group, l.id(), 1000); err != nil || got != want+1000 {
		t.Errorf("after the recovery: %d, %v; want %d", got, err, want+1000)
	}
	l.add(4)
	l.add(5)
	l.until(3000, "two new nodes vote", l.settled)
	l.until(400, "they have the state", func() bool {
		return l.nodes[4].sum(group) == want+1000 && l.nodes[5].sum(group) == want+1000
	})
	survivor.crash()
	survivor.restart()
	l.until(400, "a restart keeps the members", l.settled)
}

func TestTwoSurvivorsOfFiveAgreeAgain(t *testing.T) {
	l := newLab(t, 8, 2)
	l.startThree()
	l.add(4)
	l.add(5)
	l.until(3000, "five voters", l.settled)
	group := shard.UserShard(0)
	propose := func(amount uint64) uint64 {
		t.Helper()
		l.until(400, "a leader", func() bool { return l.leader(group) != nil })
		sum, err := l.propose(group, l.id(), amount)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	propose(1)
	// Replica 4 goes early and misses what follows, a change of the members included.
	l.nodes[4].crash()
	l.nodes[4].manager = nil
	early := l.nodes[4]
	delete(l.nodes, 4)
	propose(2)
	l.lose(1)
	l.until(3000, "replica 1 is out", func() bool {
		n := l.leader(group)
		return n != nil && len(n.manager.groups[group].describe(n.manager).Voters) == 4
	})
	want := propose(3)
	late := l.nodes[5]
	l.until(400, "replica 5 has everything", func() bool { return late.sum(group) == want })
	late.crash()
	late.manager = nil
	l.lose(2, 3)
	l.nodes[4] = early
	early.recoverAs(4, 5)
	late.recoverAs(4, 5)
	early.restart()
	late.restart()
	l.until(1000, "two voters", l.settled)
	l.until(400, "both have everything", func() bool { return early.sum(group) == want && late.sum(group) == want })
	if got := propose(4); got != want+4 {
		t.Errorf("after the recovery: %d, want %d", got, want+4)
	}
	// A repeat on a healthy directory changes nothing.
	late.crash()
	late.manager = nil
	late.recoverAs(4, 5)
	late.restart()
	l.until(1000, "two voters", l.settled)
}

// TestSurvivorsElectTogether: of three and four survivors, the last has applied what the others never got. Without it nobody leads; with it
// everybody has it all, and in the end everybody votes.
func TestSurvivorsElectTogether(t *testing.T) {
	for survivors := 3; survivors <= MaxSurvivors; survivors++ {
		l := newLab(t, 9, 1)
		l.startThree()
		all := 2*survivors + 1
		for id := 4; id <= all; id++ {
			l.add(ident.ReplicaID(id))
		}
		l.until(6000, "all vote", l.settled)
		group := shard.UserShard(0)
		propose := func(amount uint64) (sum uint64) {
			t.Helper()
			l.until(600, "a leader", func() bool { return l.leader(group) != nil })
			sum, err := l.propose(group, l.id(), amount)
			if err != nil {
				t.Fatal(err)
			}
			return sum
		}
		var ids []ident.ReplicaID
		for id := all - survivors + 1; id <= all; id++ {
			ids = append(ids, ident.ReplicaID(id))
		}
		early := ids[:survivors-1]
		left := map[ident.ReplicaID]*labNode{}
		leave := func(id ident.ReplicaID) {
			left[id] = l.nodes[id]
			left[id].crash()
			left[id].manager = nil
			delete(l.nodes, id)
		}
		propose(1)
		for _, id := range early {
			leave(id)
		}
		var want uint64
		for range 5 {
			want = propose(1000)
		}
		last := ids[survivors-1]
		l.until(400, "the last survivor has everything", func() bool { return l.nodes[last].sum(group) == want })
		leave(last)
		for id := 1; id <= all-survivors; id++ {
			l.lose(ident.ReplicaID(id))
		}
		for _, id := range ids {
			l.nodes[id] = left[id]
			for range 2 { // a repetition changes nothing
				l.nodes[id].recoverAs(ids...)
			}
		}
		delete(l.nodes, last)
		for _, id := range early {
			l.nodes[id].restart()
		}
		for range 400 {
			l.tick()
			if l.leader(group) != nil {
				t.Fatalf("%d of %d survivors have elected a leader, without the one that has most", survivors-1, survivors)
			}
		}
		l.nodes[last] = left[last]
		l.nodes[last].restart()
		l.until(6000, "all survivors vote", l.settled)
		want++
		if got := propose(1); got != want {
			t.Errorf("%d survivors: after the recovery: %d, want %d", survivors, got, want)
		}
		l.until(400, "all have everything", func() bool {
			for _, id := range ids {
				if l.nodes[id].sum(group) != want {
					return false
				}
			}
			return true
		})
	}
}

func TestRecoveryNeedsStateAndSurvivors(t *testing.T) {
	l := newLab(t, 9, 1)
	l.add(1)
	l.until(100, "the first node leads", l.settled)
	n := l.nodes[1]
	n.crash()
	n.manager = nil
	n.openStores()
	machines := func(g shard.GroupID) StateMachine { return &tally{group: g} }
	if _, err := OpenRecovery(n.store, LogOf(n.log), shard.Map{UserShards: 2, SharedShards: 1}.Groups(), machines); err == nil {
		t.Error("a group without state was recovered")
	}
	r, err := OpenRecovery(n.store, LogOf(n.log), l.groups, machines)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Rewrite(nil, func(*storage.Batch) error { return nil }); err == nil {
		t.Error("a cluster without voters was made")
	}
	if err := n.log.Close(); err != nil {
		t.Error(err)
	}
	if err := n.closeStore(); err != nil {
		t.Error(err)
	}
}
