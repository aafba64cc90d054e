package multiraft

import (
	"encoding/binary"
	"slices"
	"testing"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// asleep counts the sleeping replicas of a node.
func (n *labNode) asleep() int {
	count := 0
	for _, g := range n.manager.order {
		if g.quiet.asleep {
			count++
		}
	}
	return count
}

func (l *lab) allAsleep() bool {
	for _, n := range l.nodes {
		if n.manager != nil && n.asleep() != len(l.groups) {
			return false
		}
	}
	return true
}

// sleepingLab is a cluster of three in which every group has fallen asleep.
func sleepingLab(t *testing.T, seed uint64) *lab {
	t.Helper()
	l := newLab(t, seed, 4)
	for id := ident.ReplicaID(1); id <= 3; id++ {
		l.add(id)
	}
	l.untilStill()
	return l
}

// untilStill waits until nothing happens any more.
func (l *lab) untilStill() {
	l.t.Helper()
	still := 0
	l.until(3000, "all members vote everywhere, all groups sleep, and the balancer rests", func() bool {
		still++
		if !l.settled() || !l.allAsleep() {
			still = 0
		}
		return still > balanceRest+balanceEvery
	})
}

// TestIdleGroupsFallAsleep also counts what is still sent: one beat for each pair of nodes and heartbeat interval.
func TestIdleGroupsFallAsleep(t *testing.T) {
	l := sleepingLab(t, 1)
	terms := map[shard.GroupID]uint64{}
	for _, g := range l.groups {
		terms[g] = l.nodes[1].manager.Glance(g).Term
	}
	messages := 0
	l.network.SetFault(func(p *transport.Packet) transport.Verdict {
		messages += p.Messages
		return transport.Verdict{}
	})
	const beats = 40
	for range beats * defaultHeartbeatTicks {
		l.tick()
	}
	if want := beats * 3 * 2; messages != want {
		t.Errorf("%d messages in %d heartbeat intervals, want %d", messages, beats, want)
	}
	if !l.allAsleep() {
		t.Error("a group woke although nothing happened")
	}
	for _, g := range l.groups {
		if term := l.nodes[1].manager.Glance(g).Term; term != terms[g] {
			t.Errorf("term of %v went from %d to %d", g, terms[g], term)
		}
	}
}

func TestLateHeartbeatAnswerWakesNobody(t *testing.T) {
	l := sleepingLab(t, 2)
	g := l.groups[1]
	leader := l.leader(g)
	term := leader.manager.Glance(g).Term
	for id := ident.ReplicaID(1); id <= 3; id++ {
		if id != leader.replica {
			leader.manager.HandleMessages(id, []transport.Message{{Group: g, Raft: &raftpb.Message{
				Type: raftpb.MsgHeartbeatResp.Enum(), From: new(uint64(id)), To: new(uint64(leader.replica)), Term: new(term),
			}}})
		}
	}
	l.pump()
	if !l.allAsleep() {
		t.Error("an answer to an old heartbeat woke a group")
	}
}

func TestProposalAndReadWakeGroup(t *testing.T) {
	l := sleepingLab(t, 3)
	g := l.groups[2]
	leader := l.leader(g)
	submitted, err := leader.manager.Submit(g, ident.RequestID{1}, []byte("wake up"))
	if err != nil {
		t.Fatal(err)
	}
	l.pump()
	if _, _, done, failure := submitted.Poll(); !done || failure != nil {
		t.Fatalf("a proposal to a sleeping group: done %v, error %v", done, failure)
	}
	l.until(200, "the group sleeps again", l.allAsleep)
	follower := l.nodes[leader.replica%3+1]
	read, err := follower.manager.BeginRead(g)
	if err != nil {
		t.Fatal(err)
	}
	l.pump()
	if _, done, err := read.Poll(); !done || err != nil {
		t.Fatalf("a read at a sleeping follower: done %v, error %v", done, err)
	}
	l.until(200, "the group sleeps again", l.allAsleep)
	for _, n := range l.nodes {
		if seen := n.manager.Glance(g); seen.Applied != leader.manager.Glance(g).Applied {
			t.Errorf("replica %d sleeps at %d, behind the leader", n.replica, seen.Applied)
		}
	}
}

// TestSilentNodeWakesItsGroups crashes a node: groups that it led elect, as soon as if they had been awake.
func TestSilentNodeWakesItsGroups(t *testing.T) {
	for seed := range uint64(5) {
		l := sleepingLab(t, 10+seed)
		victim := l.leader(l.groups[1])
		victim.crash()
		delete(l.nodes, victim.replica)
		// A beat may be up to one heartbeat interval old, then the longest election timeout, and one more for a split vote.
		patience := 2*(2*defaultElectionTicks) + defaultHeartbeatTicks
		l.until(patience, "every group has a leader among the rest", func() bool {
			for _, g := range l.groups {
				led := false
				for _, n := range l.nodes {
					led = led || n.manager.Glance(g).Leading
				}
				if !led {
					return false
				}
			}
			return true
		})
	}
}

// TestRestartedNodeWakesItsGroups restarts a leader so fast that its node is never silent.
func TestRestartedNodeWakesItsGroups(t *testing.T) {
	l := sleepingLab(t, 20)
	victim := l.leader(l.groups[1])
	victim.crash()
	victim.restart()
	l.until(2*(2*defaultElectionTicks)+defaultHeartbeatTicks, "every group has a leader", func() bool {
		for _, g := range l.groups {
			led := false
			for _, n := range l.nodes {
				led = led || n.manager.Glance(g).Leading
			}
			if !led {
				return false
			}
		}
		return true
	})
	l.until(400, "all groups sleep again", l.allAsleep)
}

// TestSleepingLeaderThatIsCutOff neither answers a read nor leads for long.
func TestSleepingLeaderThatIsCutOff(t *testing.T) {
	l := sleepingLab(t, 30)
	g := l.groups[1]
	leader := l.leader(g)
	for id := ident.ReplicaID(1); id <= 3; id++ {
		if id != leader.replica {
			l.network.Partition(address(leader.replica), address(id))
		}
	}
	read, err := leader.manager.BeginRead(g)
	if err != nil {
		t.Fatal(err)
	}
	l.until(3*defaultElectionTicks+defaultHeartbeatTicks, "the leader lets go", func() bool {
		if _, done, err := read.Poll(); done {
			t.Fatalf("a leader without a quorum answered a read (error %v)", err)
		}
		return !leader.manager.Glance(g).Leading
	})
}

// TestWokenLeaderStays lets groups sleep for much longer than an election timeout and wakes them at different phases.
func TestWokenLeaderStays(t *testing.T) {
	l := sleepingLab(t, 40)
	g := l.groups[1]
	leader := l.leader(g)
	term := leader.manager.Glance(g).Term
	for round := range 12 {
		for range 100 + round {
			l.tick()
		}
		if _, err := leader.manager.Submit(g, ident.RequestID{2, byte(round)}, []byte("again")); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for range 3 * defaultElectionTicks {
			l.tick()
			if seen := leader.manager.Glance(g); !seen.Leading || seen.Term != term {
				t.Fatalf("round %d: the leader of term %d lost its place (term %d, leading %v)", round, term, seen.Term, seen.Leading)
			}
		}
	}
}

// TestDeadFollowerPreventsSleep: a group that could not tell a new leader from a lost one keeps beating.
func TestDeadFollowerPreventsSleep(t *testing.T) {
	l := sleepingLab(t, 50)
	g := l.groups[1]
	leader := l.leader(g)
	dead := l.nodes[leader.replica%3+1]
	dead.crash()
	delete(l.nodes, dead.replica)
	for range 200 {
		l.tick()
	}
	if leader.manager.groups[g].quiet.asleep {
		t.Error("a group with a dead follower sleeps")
	}
}

// observe takes a node's votes in groups. A record that was handed out stays as it is.
func (l *lab) observe(n *labNode, groups ...shard.GroupID) {
	l.members = slices.Clone(l.members)
	for i := range l.members {
		if l.members[i].Replica == n.replica {
			l.members[i].Observes = groups
		}
	}
}

// TestGroupWithAnObserverSleeps: a group falls asleep with its observer, and wakes for a proposal and for a read at the observer, which
// then has everything. With a silent observer it stays awake, answers all the same, and sleeps again once the observer is back.
func TestGroupWithAnObserverSleeps(t *testing.T) {
	l := sleepingLab(t, 70)
	g := l.groups[2]
	observer := l.otherThan(l.leader(g))
	l.observe(observer, g)
	observes := func() bool {
		n := l.leader(g)
		return n != nil && n.manager.groups[g].describe(n.manager).Learners != nil && observer.manager.groups[g].describe(observer.manager).State == "observer"
	}
	l.until(1000, "the vote is taken and all groups sleep", func() bool { return observes() && l.allAsleep() })
	leader := l.leader(g)
	add := func(serial byte) {
		t.Helper()
		submitted, err := leader.manager.Submit(g, ident.RequestID{serial}, binary.BigEndian.AppendUint64(nil, 1))
		if err != nil {
			t.Fatal(err)
		}
		l.pump()
		if _, _, done, failure := submitted.Poll(); !done || failure != nil {
			t.Fatalf("a proposal to a sleeping group: done %v, error %v", done, failure)
		}
	}
	add(1)
	if leader.manager.groups[g].quiet.asleep {
		t.Error("the group slept through a proposal")
	}
	l.until(400, "the group sleeps again", l.allAsleep)
	if got := observer.sum(g); got != 1 {
		t.Errorf("the observer sleeps with a sum of %d, want 1", got)
	}
	read, err := observer.manager.BeginRead(g)
	if err != nil {
		t.Fatal(err)
	}
	l.pump()
	if _, done, err := read.Poll(); !done || err != nil {
		t.Fatalf("a read at a sleeping observer: done %v, error %v", done, err)
	}
	l.until(400, "the group sleeps again", l.allAsleep)

	observer.crash()
	manager := observer.manager
	observer.manager = nil
	l.until(400, "the silence of its observer wakes the group", func() bool { return !leader.manager.groups[g].quiet.asleep })
	for range 200 {
		if l.tick(); leader.manager.groups[g].quiet.asleep {
			t.Fatal("a group whose observer is silent sleeps")
		}
	}
	if !leader.manager.groups[g].leading.Load() {
		t.Fatal("without its observer the group changed its leader")
	}
	add(2)
	observer.manager = manager
	observer.restart()
	l.until(1000, "the observer is back and all sleep", l.allAsleep)
	if got := observer.sum(g); got != 2 {
		t.Errorf("the observer sleeps with a sum of %d, want 2", got)
	}
}
