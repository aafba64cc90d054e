package multiraft

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// TestLeadershipsLeaveAHangingDisk: a node that is told that its disk hangs hands over all that it leads, meta and what an operator put
// there included, soon and not some at a time, is handed nothing meanwhile, and leads again a while after the disk does. Where all hang, the
// leaderships stay spread. Without balancing it is the same, except that nothing comes back.
func TestLeadershipsLeaveAHangingDisk(t *testing.T) {
	l := newLab(t, 36, 30)
	l.startThree()
	all := []*labNode{l.nodes[1], l.nodes[2], l.nodes[3]}
	l.until(1000, "leaders spread over all nodes", func() bool { return l.leads(all...) })
	sick := l.leader(shard.Meta)
	g := shard.UserShard(0)
	l.until(1000, "the node leads a group that an operator put there", func() bool {
		l.leader(g).manager.order[0].worker.enqueue(item{group: l.leader(g).manager.groups[g], do: func(g *group) { g.node.TransferLeader(uint64(sick.replica)) }})
		l.pump()
		sick.manager.Hold(g, HoldFor)
		return l.leader(g) == sick
	})
	sick.hangs = true
	l.until(saysFirst+2*balanceEvery, "the node leads nothing", func() bool { return sick.manager.LeaderCount() == 0 })
	if !sick.manager.Ailing() || sick.manager.DiskTight() {
		t.Error("the node leads nothing for another reason")
	}
	l.until(10, "meta has a leader", func() bool { return l.leader(shard.Meta) != nil && l.leader(g) != nil })
	for range 3 * balanceRest {
		l.tick()
		if n := sick.manager.LeaderCount(); n > 0 {
			t.Fatalf("the node is handed %d leaderships", n)
		}
	}
	sick.hangs = false
	for range wellAfter - 1 {
		l.tick()
		if n := sick.manager.LeaderCount(); n > 0 {
			t.Fatalf("the node is handed %d leaderships at once", n)
		}
	}
	l.until(1000, "the node leads again", func() bool { return sick.manager.LeaderCount() > 0 })

	for _, n := range all {
		n.hangs = true
	}
	for range 3 * balanceRest {
		l.tick()
	}
	if !l.leads(all...) {
		t.Errorf("where all disks hang not every node leads: %s", l.describe())
	}
	for _, n := range all {
		n.hangs, n.manager.cfg.NoBalance = false, true
	}
	for range 2 * balanceRest {
		l.tick()
	}
	sick = l.leader(g)
	sick.hangs = true
	l.until(saysFirst+2*balanceEvery, "the node leads nothing", func() bool { return sick.manager.LeaderCount() == 0 })
	sick.hangs = false
	for range 3 * balanceRest {
		l.tick()
	}
	if n := sick.manager.LeaderCount(); n > 0 {
		t.Errorf("without balancing %d leaderships came back", n)
	}
}

// TestNobodyHandsOverWhereAllAil: nobody who ails hands anything over where all do. What one node applies for long all do, each some ticks after the other. Whoever ails first hands nothing to those
// that are about to, whoever is well first is handed nothing by those that are not yet, and neither does one that ails for a moment hand anything over.
func TestNobodyHandsOverWhereAllAil(t *testing.T) {
	l := newLab(t, 36, 30)
	l.startThree()
	all := []*labNode{l.nodes[1], l.nodes[2], l.nodes[3]}
	l.until(1000, "leaders spread over all nodes", func() bool { return l.leads(all...) })
	for range 2 * balanceRest {
		l.tick()
	}
	was := map[shard.GroupID]*labNode{}
	for _, g := range l.groups {
		was[g] = l.leader(g)
	}
	for _, test := range []struct{ nodes, ticks int }{{1, saysFirst - 1}, {3, 1}, {3, saysFirst}, {3, 6 * saysFirst}} {
		for phase := range balanceEvery {
			for tick := range phase + test.ticks + wellAfter + 2*balanceEvery {
				for i, n := range all[:test.nodes] {
					since := tick - phase - 2*i
					n.hangs = since >= 0 && since < test.ticks
				}
				l.tick()
				if tick == phase && !all[0].manager.Ailing() {
					t.Fatal("nothing ails; the test shows nothing")
				}
				for _, g := range l.groups {
					before := was[g]
					was[g] = l.leader(g)
					if was[g] != before && before.manager.policy.reluctance(before.replica) == tightDisk {
						t.Fatalf("%d nodes ail for %d ticks: in tick %d, phase %d, another one leads %v", test.nodes, test.ticks, tick, phase, g)
					}
				}
			}
		}
	}
}

// TestPreferredVoterThatLagsKeepsNoGroupOnAHangingDisk: the voter that the balancer prefers waits for a snapshot; a node whose disk hangs
// hands its groups to one that has everything.
func TestPreferredVoterThatLagsKeepsNoGroupOnAHangingDisk(t *testing.T) {
	l, g, away, _ := behind(t, 26)
	away.narrow = true
	away.restart()
	l.until(400, "the node that is away is heard of", func() bool { return l.leader(g).manager.peers.live(away.replica) })
	sick := l.leader(g)
	sick.hangs = true
	l.until(saysFirst+3*balanceEvery, "the node leads nothing", func() bool { return sick.manager.LeaderCount() == 0 })
	group := sick.manager.groups[g]
	if preferred := group.worker.preferredLeader(group); preferred != uint64(away.replica) {
		t.Errorf("replica %d is preferred, and not the one that lags; the test shows nothing", preferred)
	}
	if leader := l.leader(g); leader == nil || leader == away {
		t.Error("who lags leads")
	}
}

// TestHungStoreGivesAllGroupsOtherLeaders hangs the tables of the store of a node that leads everything, until what it applies waits for them: every
// group gets another leader, the sleeping ones included, though heartbeats go on; what was proposed before is applied there under the same
// request; and when the store comes back, the node has it, too.
func TestHungStoreGivesAllGroupsOtherLeaders(t *testing.T) { synctest.Test(t, hungStore) }

func hungStore(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var hold atomic.Bool
	release := make(chan struct{})
	letGo := func() {
		if hold.Swap(false) {
			close(release)
		}
	}
	defer letGo()
	options := &crewOptions{memTable: 256 << 10}
	options.onTable[0] = func() {
		if hold.Load() {
			<-release
		}
	}
	c := startCrew(t, options)
	for _, g := range c.groups {
		c.leader(ctx, t, g)
	}
	hung, g := c.managers[0], c.groups[1]
	c.gather(ctx, t, hung)
	c.wait(ctx, t, "all groups sleep", func() bool { return c.allAsleep(ctx) })
	hold.Store(true)
	acknowledged, last := uint64(0), ident.RequestID{}
	for n := uint64(1); hung.groups[g].leading.Load(); n++ {
		if n > 1000 {
			t.Fatal("the store never hangs")
		}
		binary.BigEndian.PutUint64(last[:], n)
		s, err := hung.Submit(g, last, bulk())
		if err != nil {
			break // it leads no more
		}
		c.wait(ctx, t, "a result, or another leader", func() bool {
			result, _, done, err := s.Poll()
			if done && err == nil {
				acknowledged = binary.BigEndian.Uint64(result)
			}
			return done || !hung.groups[g].leading.Load()
		})
	}
	if acknowledged == 0 || !hung.Ailing() || hung.workers[0].stands() {
		t.Fatalf("%d acknowledged, ailing %v: the store has not hung, or something else", acknowledged, hung.Ailing())
	}
	c.wait(ctx, t, "another leader of every group", func() bool { return c.ledWithout(hung) })
	if sum := binary.BigEndian.Uint64(c.propose(ctx, t, c.leaderBut(ctx, t, g, hung), g, ident.RequestID{0xff}, amount(1))); sum <= acknowledged {
		t.Errorf("the sum is %d, and %d was acknowledged before", sum, acknowledged)
	}
	want := c.leaderBut(ctx, t, g, hung).Applied(g)
	if hung.Applied(g) >= want {
		t.Error("the store does not hang; the test shows nothing")
	}
	letGo()
	c.wait(ctx, t, "everything is applied on the node that hung", func() bool { return hung.Applied(g) >= want })
	c.wait(ctx, t, "the node may lead", func() bool { return !hung.Ailing() })
	if err := hung.Failure(); err != nil {
		t.Error(err)
	}
}
