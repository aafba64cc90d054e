package sim

import (
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// drain tells every node, as operators do through any of them, whether a node wants leaderships. It outlives restarts.
func (w *world) drain(n *simNode, draining bool) {
	w.trace.event("node %d is drained: %v", n.id, draining)
	n.draining = draining
	w.spreadOrders()
}

// spreadOrders lets the nodes that run know of all drained ones, as drained nodes tell the others again and again.
func (w *world) spreadOrders() {
	for _, n := range w.nodes {
		if n.manager == nil {
			continue
		}
		for _, other := range w.nodes {
			if other.self.Replica != 0 {
				n.manager.Avoid(other.self.Replica, other.draining)
			}
		}
	}
}

// strikeDrain drains a node, or ends that; one at a time, so that others can lead.
func (p *plan) strikeDrain() {
	if !p.chance(p.drain) {
		return
	}
	for _, n := range p.w.nodes {
		if n.draining {
			p.w.drain(n, false)
			return
		}
	}
	if n := p.pick(running); n != nil {
		p.w.saw(nodeDrained)
		p.w.drain(n, true)
	}
}

// leadsNothing reports that drained nodes lead no group.
func (w *world) leadsNothing() bool {
	for _, n := range w.nodes {
		if !n.draining || n.manager == nil {
			continue
		}
		for _, g := range w.groups {
			if n.manager.Glance(g).Leading && w.otherVoters(n, g) > 0 {
				return false
			}
		}
	}
	return true
}

// judgeDrain wants drained nodes to be without leaderships once the world is kind, and ends the draining.
func (w *world) judgeDrain() {
	if !w.opt.noBalance && len(w.nodes) > 1 {
		w.spreadOrders()
		w.until(healBound, "drained nodes lead nothing", w.leadsNothing)
	}
	for _, n := range w.nodes {
		if n.draining {
			w.drain(n, false)
		}
	}
}

// TestDrainedNodeLeadsNothing drains the leader of all groups under traffic, restarts it, and lets another node die: no
// leadership comes back to the drained one while others can lead, and clients go on.
func TestDrainedNodeLeadsNothing(t *testing.T) {
	scenario(t, 3, func(o *options) { o.noBalance = false }, func(l *lab) {
		n := l.nodes[0]
		l.drain(n, true)
		l.until(30*time.Second, "the drained node leads nothing", l.leadsNothing)
		l.count(n, 10)
		n.stop("story")
		l.release(n)
		l.run(2 * time.Second)
		l.spreadOrders()
		l.until(30*time.Second, "the drained node leads nothing after its restart", l.leadsNothing)
		l.count(n, 10)
		dead := l.leader(shard.UserShard(0))
		l.kill(dead)
		l.run(3 * time.Second)
		l.until(30*time.Second, "the other node leads", func() bool { return l.leadsNothing() && l.leader(shard.UserShard(0)) != dead })
		l.release(dead)
		l.count(n, 10)
	})
}
