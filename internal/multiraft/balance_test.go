package multiraft

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// gather makes one node the leader of all groups.
func (l *lab) gather(to *labNode) {
	l.t.Helper()
	l.until(400, "one node leads everything", func() bool {
		for _, g := range l.groups {
			if n := l.leader(g); n != nil && n != to {
				at := n.manager.groups[g]
				at.worker.enqueue(item{group: at, do: func(g *group) { g.node.TransferLeader(uint64(to.replica)) }})
			}
		}
		l.pump()
		return to.manager.LeaderCount() == len(l.groups)
	})
}

// TestBalanceWaitsForALaggingVoter keeps entries from a voter that is to lead its share: alive as it is, no leadership is offered to it, and
// so no group stops to take proposals for its sake. It gets its share once it has everything.
func TestBalanceWaitsForALaggingVoter(t *testing.T) {
	l := newLab(t, 51, 8)
	l.startThree()
	slow := l.nodes[3]
	avoid := func(on bool) {
		for _, n := range l.nodes {
			n.manager.Avoid(slow.replica, on)
		}
	}
	avoid(true)
	l.until(1000, "the voter leads nothing", func() bool { return slow.manager.LeaderCount() == 0 && l.settled() })
	l.network.SetFault(func(p *transport.Packet) transport.Verdict {
		return transport.Verdict{Drop: p.To == slow.replica && p.Lane == transport.LaneBulk}
	})
	for _, g := range l.groups {
		if _, err := l.propose(g, l.id(), 1); err != nil {
			t.Fatal(err)
		}
	}
	avoid(false)
	for range 3 * balanceRest {
		l.tick()
		for _, n := range l.nodes {
			for _, g := range n.manager.order {
				if to := g.node.BasicStatus().LeadTransferee; to == uint64(slow.replica) {
					t.Fatalf("%v is handed to a voter that lacks an entry\n%s", g.id, l.describe())
				}
			}
		}
	}
	if n := slow.manager.LeaderCount(); n > 0 || !l.nodes[1].manager.Live(slow.replica) {
		t.Errorf("the voter leads %d groups, and counts as live: %v", n, l.nodes[1].manager.Live(slow.replica))
	}
	for _, g := range l.groups {
		if _, err := l.propose(g, l.id(), 1); err != nil {
			t.Errorf("%v: %v", g, err)
		}
	}
	l.network.SetFault(nil)
	l.until(1000, "the voter leads its share", func() bool { return slow.manager.LeaderCount() >= 3 })
}

// TestMetaStaysWhileOthersMove gathers all leaderships at one node: the balancer spreads them over all again, but for that of the meta group,
// which keeps its leader and its term, though by its place in the list it would belong to another.
func TestMetaStaysWhileOthersMove(t *testing.T) {
	l := newLab(t, 52, 8)
	l.startThree()
	node := l.nodes[2]
	if by := node.manager.workers[0].preferredLeader(node.manager.groups[shard.Meta]); by == uint64(node.replica) {
		t.Fatalf("the meta group would be spread to replica %d, where the test puts it", by)
	}
	l.gather(node)
	term := node.manager.Glance(shard.Meta).Term
	l.until(1000, "each node leads its share", func() bool {
		if l.leader(shard.Meta) != node {
			t.Fatalf("the meta group has moved\n%s", l.describe())
		}
		for _, n := range l.nodes {
			if c := n.manager.LeaderCount(); c < 3 || c > 4 {
				return false
			}
		}
		return true
	})
	for range 3 * balanceRest {
		l.tick()
	}
	if l.leader(shard.Meta) != node || node.manager.Glance(shard.Meta).Term != term {
		t.Errorf("the meta group is led by another, or again, in term %d after %d", node.manager.Glance(shard.Meta).Term, term)
	}
}
