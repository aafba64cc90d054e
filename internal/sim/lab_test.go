package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// lab is a simulation that is led by hand: a whole cluster with the workload's tables, and no faults but the ones
// that the test makes.
type lab struct {
	*world
	c *clients
}

// scenario runs a story on a fresh cluster and judges the cluster at its end.
func scenario(t *testing.T, nodes int, change func(*options), story func(*lab)) {
	t.Helper()
	if w, err := tell(t, nodes, change, nil, story); err != nil {
		t.Fatal(w.report(err))
	}
}

// tell is scenario with a planted bug; it returns what was broken.
func tell(t *testing.T, nodes int, change func(*options), m *mutant, story func(*lab)) (*world, error) {
	t.Helper()
	seed := envNumber(t, "SEED", 1)
	announceSeed(seed)
	opt := defaultOptions()
	opt.nodes, opt.noBalance = nodes, true
	if change != nil {
		change(&opt)
	}
	w := newWorld(t, seed, opt, calmPlan(), m)
	if *verbose {
		w.trace.print = func(line string) { t.Log(line) }
	}
	l := &lab{world: w, c: &clients{w: w}}
	return w, w.attempt(func() {
		w.found()
		for _, n := range w.nodes[1:] {
			w.boot(n)
		}
		l.tables()
		l.whole()
		story(l)
		l.heal(l.c)
		l.judge()
	})
}

func (l *lab) tables() {
	setUp := l.spawn("set up", l.c.setUp)
	l.until(healBound, "the tables exist", func() bool { return setUp.ended })
}

// whole waits until all nodes are healthy and equal.
func (l *lab) whole() {
	l.until(healBound, "all nodes are healthy voters and equal", l.world.whole)
}

// do runs requests at a node until they have ended.
func (l *lab) do(n *simNode, run func(*session)) {
	a := l.spawn("story", func(a *actor) { a.serve(n, run) })
	l.until(healBound, "the request has ended", func() bool { return a.ended })
}

// counter is a row that stories count in; user 0 to 3, or the shared table for 4.
func (l *lab) counter(user int) cell {
	if user == len(l.c.users) {
		return cell{table: l.c.shared, group: l.c.group, key: "story"}
	}
	return l.c.privateCell(l.c.users[user], "story")
}

// count adds to counters of all users at a node and wants every increment to be acknowledged.
func (l *lab) count(n *simNode, times int) {
	for i := range times {
		target := l.counter(i % (len(l.c.users) + 1))
		before := 0
		if known := l.store.counters[target]; known != nil {
			before = known.acknowledged
		}
		l.do(n, func(s *session) { l.c.increment(s, target) })
		if l.store.counters[target] == nil || l.store.counters[target].acknowledged == before {
			l.fail("an increment at node %d was not acknowledged", n.id)
		}
	}
}

// leader returns the node that leads a group in its newest term.
func (l *lab) leader(g shard.GroupID) *simNode {
	var found *simNode
	l.until(20*time.Second, fmt.Sprintf("%s has a leader", g), func() bool {
		found = nil
		term := uint64(0)
		for _, n := range l.nodes {
			if running(n) {
				if seen := n.manager.Glance(g); seen.Leading && seen.Term > term {
					found, term = n, seen.Term
				}
			}
		}
		return found != nil
	})
	return found
}

// lead makes a node the leader of every group.
func (l *lab) lead(n *simNode) {
	for _, g := range l.groups {
		l.until(20*time.Second, fmt.Sprintf("node %d leads %s", n.id, g), func() bool {
			from := l.leader(g)
			if from == n {
				return true
			}
			if err := from.manager.TransferLeadership(g, n.self.Replica); err != nil {
				l.fail("transfer %s: %v", g, err)
			}
			return false
		})
	}
}

// others returns all nodes but one.
func (l *lab) others(n *simNode) []*simNode {
	var rest []*simNode
	for _, other := range l.nodes {
		if other != n {
			rest = append(rest, other)
		}
	}
	return rest
}

// hold pauses a node, or keeps a stopped one down, until it is released.
func (l *lab) hold(n *simNode) {
	if n.up {
		n.paused = true
	}
	l.plan.wakeAt[n] = 1 << 40
}

// release lets a held node go on, or start again.
func (l *lab) release(n *simNode) { l.plan.wakeAt[n] = l.step }

// isolate cuts a node off.
func (l *lab) isolate(n *simNode) {
	for _, other := range l.others(n) {
		l.cut(n, other)
		l.cut(other, n)
	}
}

// kill crashes a node and keeps it down.
func (l *lab) kill(n *simNode) {
	n.crash("story")
	l.hold(n)
}

// settle flushes and maintains, so that logs are cut as far as they may be.
func (l *lab) settle(nodes ...*simNode) {
	for _, n := range nodes {
		if err := n.store.Flush(); err != nil {
			l.fail("flush node %d: %v", n.id, err)
		}
		n.maintain()
	}
	l.run(2 * time.Second)
}

// installed counts the snapshots a node has installed in this life.
func (l *lab) installed(n *simNode) uint64 {
	total := uint64(0)
	for _, g := range l.groups {
		total += n.manager.Glance(g).SnapshotsInstalled
	}
	return total
}

// mute drops what arrives at a node on one lane, from one other node or, for nil, from all.
func (l *lab) mute(lane transport.Lane, from, to *simNode) {
	l.network.SetFault(func(p *transport.Packet) transport.Verdict {
		if p.Lane == lane && p.To == to.self.Replica && (from == nil || p.From == from.self.Replica) {
			return transport.Verdict{Drop: true}
		}
		return l.plan.packet(p)
	})
}

// unmute ends mute.
func (l *lab) unmute() { l.network.SetFault(l.plan.packet) }
