package multiraft

import (
	"fmt"
	"slices"
	"testing"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// TestStepsOfRemovals: a voter that lives is let go only while most of those that stay live; a dead one always.
func TestStepsOfRemovals(t *testing.T) {
	t.Parallel()
	member := func(id ident.ReplicaID, removed bool) Member {
		return Member{Replica: id, Node: ident.NodeID(id), Removed: removed}
	}
	const stays, goes = false, true
	add, remove := raftpb.ConfChangeAddNode, raftpb.ConfChangeRemoveNode
	standIn := func(id, of ident.ReplicaID) Member {
		m := member(id, stays)
		m.Replaces = of
		return m
	}
	for name, c := range map[string]struct {
		voters, learners, dead []uint64
		members                []Member
		want                   []string
	}{
		"two of four, all live": {
			[]uint64{1, 2, 3, 4},
			nil, nil,
			[]Member{member(1, stays), member(2, goes), member(3, goes), member(4, stays)},
			[]string{fmt.Sprint(remove, 2), fmt.Sprint(remove, 3)},
		},
		"two of four, one who stays is dead": {
			[]uint64{1, 2, 3, 4},
			nil,
			[]uint64{4},
			[]Member{member(1, stays), member(2, goes), member(3, goes), member(4, stays)},
			[]string{fmt.Sprint(remove, 3)},
		},
		"then the other one": {
			[]uint64{1, 2, 4}, nil, []uint64{4}, []Member{member(1, stays), member(2, goes), member(3, goes), member(4, stays)}, nil,
		},
		"the dead one goes, too": {
			[]uint64{1, 2, 4},
			nil,
			[]uint64{4},
			[]Member{member(1, stays), member(2, goes), member(4, goes)},
			[]string{fmt.Sprint(remove, 2), fmt.Sprint(remove, 4)},
		},
		"a dead one of two": {
			[]uint64{1, 2}, nil, []uint64{2}, []Member{member(1, stays), member(2, goes)}, []string{fmt.Sprint(remove, 2)},
		},
		"who stays is dead": {[]uint64{1, 2}, nil, []uint64{1}, []Member{member(1, stays), member(2, goes)}, nil},
		"a stand-in that has caught up counts": {
			[]uint64{1, 2, 3},
			[]uint64{4},
			[]uint64{3},
			[]Member{member(1, stays), member(2, goes), member(3, stays), standIn(4, 2)},
			[]string{fmt.Sprint(add, 4), fmt.Sprint(remove, 2)},
		},
		"a learner goes whoever is dead": {
			[]uint64{1, 2}, []uint64{3}, []uint64{2}, []Member{member(1, stays), member(2, stays), member(3, goes)}, []string{fmt.Sprint(remove, 3)},
		},
	} {
		live := func(id uint64) bool { return !slices.Contains(c.dead, id) }
		var got []string
		for _, change := range membershipChanges(100, &raftpb.ConfState{Voters: c.voters, Learners: c.learners}, c.members, live, live) {
			got = append(got, fmt.Sprint(change.GetType(), change.GetNodeId()))
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: the next step is %v, want %v", name, got, c.want)
		}
	}
}

// remove records replicas as removed, all at once.
func (l *lab) remove(replicas ...ident.ReplicaID) {
	l.members = slices.Clone(l.members)
	for i := range l.members {
		if slices.Contains(replicas, l.members[i].Replica) {
			l.members[i].Removed = true
		}
	}
}

// TestTwoLeaveAtOnce: each of two nodes could be spared, but not both, because a fourth is dead. One goes, and the other once the dead one is out.
func TestTwoLeaveAtOnce(t *testing.T) {
	l := newLab(t, 91, 2)
	l.startThree()
	l.add(4)
	l.until(3000, "four voters", l.settled)
	l.nodes[4].crash()
	l.nodes[4].manager = nil
	l.until(400, "node 4 counts as dead", func() bool {
		return !slices.ContainsFunc(l.groups, func(g shard.GroupID) bool {
			n := l.leader(g)
			return n == nil || n.replica == 4 || n.manager.Live(4)
		})
	})
	l.remove(2, 3)
	for range 600 {
		l.tick()
	}
	for _, g := range l.groups {
		l.until(600, "a leader", func() bool { return l.led(g) })
		if _, err := l.propose(g, l.id(), 1); err != nil {
			t.Fatalf("%s: %v\n%s", g, err, l.describe())
		}
		n := l.leader(g)
		if voters := n.manager.groups[g].describe(n.manager).Voters; len(voters) != 3 {
			t.Errorf("%s: %v vote, want one of the two that leave gone", g, voters)
		}
	}
	l.remove(4)
	l.until(3000, "node 1 alone", l.settled)
}

// TestTwoThatLeaveHandNothingToEachOther: a leader that leaves gives its groups to one that stays, and not to another that leaves.
func TestTwoThatLeaveHandNothingToEachOther(t *testing.T) {
	for seed := uint64(1); seed < 5; seed++ {
		l := newLab(t, seed, 6)
		l.startThree()
		l.add(4)
		l.add(5)
		l.until(3000, "five voters", l.settled)
		for range 200 { // leaderships are spread meanwhile
			l.tick()
		}
		terms := map[shard.GroupID]uint64{}
		for _, g := range l.groups {
			l.until(100, "a leader", func() bool { return l.led(g) })
			terms[g] = l.leader(g).manager.Glance(g).Term
		}
		l.remove(2, 3)
		l.until(1000, "three voters", l.settled)
		for _, g := range l.groups {
			// One change of leaders takes the group to one that stays; another may balance.
			if n := l.leader(g); n.manager.Glance(g).Term > terms[g]+2 {
				t.Errorf("seed %d, %s: from term %d to %d", seed, g, terms[g], n.manager.Glance(g).Term)
			}
		}
	}
}
