package multiraft

import (
	"fmt"
	"slices"
	"testing"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// TestStepsToObservers: who has no vote becomes a learner and stays one, one voter at a time, never the last; what else is due is
// done first.
func TestStepsToObservers(t *testing.T) {
	t.Parallel()
	member := func(id ident.ReplicaID, observes ...shard.GroupID) Member {
		return Member{Replica: id, Node: ident.NodeID(id), Observes: observes}
	}
	gone := func(m Member) Member {
		m.Removed = true
		return m
	}
	standIn := func(m Member, of ident.ReplicaID) Member {
		m.Replaces = of
		return m
	}
	const here, elsewhere = shard.GroupID(100), shard.GroupID(101)
	add, learn, remove := raftpb.ConfChangeAddNode, raftpb.ConfChangeAddLearnerNode, raftpb.ConfChangeRemoveNode
	for name, c := range map[string]struct {
		voters, learners []uint64
		dead             uint64
		members          []Member
		want             []string
	}{
		"a vote that is taken":            {[]uint64{1, 2, 3}, nil, 0, []Member{member(1), member(2), member(3, here)}, []string{fmt.Sprint(learn, 3)}},
		"half of those who stay are dead": {[]uint64{1, 2, 3}, nil, 2, []Member{member(1), member(2), member(3, here)}, nil},
		"who loses its vote is dead":      {[]uint64{1, 2, 3}, nil, 3, []Member{member(1), member(2), member(3, here)}, []string{fmt.Sprint(learn, 3)}},
		"in another group":                {[]uint64{1, 2, 3}, nil, 0, []Member{member(1), member(2), member(3, elsewhere)}, nil},
		"an observer is not promoted":     {[]uint64{1, 2}, []uint64{3}, 0, []Member{member(1), member(2), member(3, here)}, nil},
		"a vote that is given":            {[]uint64{1, 2}, []uint64{3}, 0, []Member{member(1), member(2), member(3, elsewhere)}, []string{fmt.Sprint(add, 3)}},
		"one after the other":             {[]uint64{1, 2, 3}, nil, 0, []Member{member(1), member(2, here), member(3, here)}, []string{fmt.Sprint(learn, 2)}},
		"nobody else votes yet":           {[]uint64{1}, nil, 0, []Member{member(1, here)}, nil},
		"the new voter comes first":       {[]uint64{1}, []uint64{2}, 0, []Member{member(1, here), member(2)}, []string{fmt.Sprint(add, 2)}},
		"a new member comes first":        {[]uint64{1, 2}, nil, 0, []Member{member(1), member(2, here), member(3)}, []string{fmt.Sprint(learn, 3)}},
		"an observer that left":           {[]uint64{1, 2}, []uint64{3}, 0, []Member{member(1), member(2), gone(member(3, here))}, []string{fmt.Sprint(remove, 3)}},
		"an observer's stand-in comes":    {[]uint64{1, 2}, []uint64{3}, 0, []Member{member(1), member(2), gone(member(3, here)), standIn(member(4, here), 3)}, []string{fmt.Sprint(learn, 4)}},
		"an observer's stand-in is there": {[]uint64{1, 2}, []uint64{3, 4}, 0, []Member{member(1), member(2), gone(member(3, here)), standIn(member(4, here), 3)}, []string{fmt.Sprint(remove, 3)}},
	} {
		live := func(id uint64) bool { return id != c.dead }
		conf := &raftpb.ConfState{Voters: c.voters, Learners: c.learners}
		var got []string
		for _, change := range membershipChanges(here, conf, c.members, live, func(uint64) bool { return true }) {
			got = append(got, fmt.Sprint(change.GetType(), change.GetNodeId()))
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: the next step is %v, want %v", name, got, c.want)
		}
	}
}

// TestLostVoteIsNotNeededAfterACrash: of two voters one gives up its vote, or leaves, and is gone for good; the other one loses power in the
// moment in which it is told that this is done. It needs no vote of the other.
func TestLostVoteIsNotNeededAfterACrash(t *testing.T) {
	for name, change := range map[string]func(*lab, *labNode, shard.GroupID){
		"observes": func(l *lab, n *labNode, g shard.GroupID) { l.observe(n, g) },
		"leaves": func(l *lab, n *labNode, _ shard.GroupID) {
			l.members = slices.Clone(l.members)
			l.members[n.replica-1].Removed = true
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 71, 1)
			stays, goes := l.add(1), l.add(2)
			l.until(3000, "two voters everywhere", l.settled)
			g := shard.UserShard(0)
			change(l, goes, g)
			l.until(2000, "one voter is left", func() bool {
				s := stays.manager.groups[g].describe(stays.manager)
				return stays.manager.groups[g].leading.Load() && slices.Equal(s.Voters, []ident.ReplicaID{1})
			})
			goes.crash()
			goes.manager = nil
			stays.crash()
			stays.restart()
			l.until(400, "the voter that stayed leads alone", func() bool { return stays.manager.groups[g].leading.Load() })
		})
	}
}

// TestLostVoteBehindABacklog is TestLostVoteIsNotNeededAfterACrash with more before the change than is handed out to be applied at once: the
// commit of the change reaches the log in a pass before the one that applies it.
func TestLostVoteBehindABacklog(t *testing.T) {
	l := newLab(t, 71, 1)
	stays, goes := l.add(1), l.add(2)
	l.until(3000, "two voters everywhere", l.settled)
	g := shard.UserShard(0)
	group := func() *group { return stays.manager.groups[g] }
	l.until(3000, "1 leads", func() bool {
		if l.leader(g) == goes {
			_ = goes.manager.TransferLeadership(g, 1) // refused while one is under way
		}
		return group().leading.Load()
	})
	l.network.SetFault(func(p *transport.Packet) transport.Verdict {
		return transport.Verdict{Drop: p.To == 2 && p.Lane == transport.LaneBulk}
	})
	const size = 50 << 10
	for range maxCommittedPerReady/size + 30 {
		if _, err := stays.submit(g, l.id(), append(amount(1), make([]byte, size)...)); err != nil {
			t.Fatal(err)
		}
	}
	l.observe(goes, g)
	for range reconcileEvery + 1 {
		l.tick()
	}
	status := group().describe(stays.manager)
	if behind := (group().log.LastIndex() - status.Committed) * size; behind <= maxCommittedPerReady || len(status.Voters) != 2 {
		t.Fatalf("%d bytes wait for their commit, voters %v: the test shows nothing", behind, status.Voters)
	}
	l.network.SetFault(nil)
	l.until(2000, "one voter is left", func() bool {
		return group().leading.Load() && slices.Equal(group().describe(stays.manager).Voters, []ident.ReplicaID{1})
	})
	goes.crash()
	goes.manager = nil
	stays.crash()
	stays.restart()
	l.until(400, "the voter that stayed leads alone", func() bool { return group().leading.Load() })
}

// TestSleepForgetsNoChangeOfMembers: the record of who votes changes while the leader can do nothing about it, because a transfer of the
// leadership is under way. That ends in nothing, and the group sleeps before it has looked again. It makes the change all the same.
func TestSleepForgetsNoChangeOfMembers(t *testing.T) {
	l := sleepingLab(t, 72)
	g := l.groups[1]
	leader := l.leader(g)
	to := l.otherThan(leader)
	group := leader.manager.groups[g]
	group.node.TransferLeader(uint64(to.replica)) // nobody hears of it
	l.observe(to, g)
	for range 3 * reconcileEvery {
		l.tick()
	}
	for range 2 * leader.manager.cfg.ElectionTicks {
		group.node.Tick() // until it is given up
	}
	if status := group.node.Status(); status.LeadTransferee != 0 || !group.quiet.asleep {
		t.Fatalf("the transfer goes on to %d, or the group is awake", status.LeadTransferee)
	}
	l.until(600, "the vote is taken, and all groups sleep", func() bool {
		n := l.leader(g)
		return n != nil && slices.Equal(n.manager.groups[g].describe(n.manager).Learners, []ident.ReplicaID{to.replica}) && l.allAsleep()
	})
}
