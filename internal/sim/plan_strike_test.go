package sim

import (
	"errors"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/multiraft"
)

func (p *plan) strikeProcesses() {
	w := p.w
	if p.chance(p.crash) {
		if n := p.pick(upright); n != nil {
			w.stats.crashes++
			w.saw(powerCut)
			n.crash("power")
		}
	}
	if p.chance(p.restart) {
		if n := p.pick(upright); n != nil {
			w.saw(processRestarted)
			n.stop("restart")
		}
	}
	if p.chance(p.pauses) {
		if n := p.pick(running); n != nil {
			w.stats.pauses++
			w.saw(processPaused)
			w.trace.event("node %d is paused", n.id)
			n.paused = true
			p.wakeAt[n] = p.after(200*time.Millisecond, 6*time.Second)
		}
	}
	if p.chance(p.slow) {
		if n := p.pick(upright); n != nil {
			if n.lag = w.rng.IntN(4); n.lag > 0 {
				w.saw(nodeSlow)
			}
			w.trace.event("node %d loses one of %d ticks", n.id, n.lag)
		}
	}
	if p.chance(p.jump) {
		if n := p.pick(upright); n != nil {
			by := time.Duration(w.rng.Int64N(int64(2*time.Hour))) - time.Hour
			if n.offset += by; by < 0 {
				w.saw(clockBack)
			} else {
				w.saw(clockForward)
			}
			w.trace.event("the clock of node %d jumps to %v", n.id, n.offset)
		}
	}
}

func (p *plan) strikeDisks() {
	w := p.w
	if p.chance(p.crashAtSync) {
		if n := p.pick(running); n != nil && n.disk.crashIn == 0 {
			w.stats.crashes++
			if n.disk.crashIn = 1 + w.rng.IntN(12); w.rng.IntN(4) == 0 {
				n.disk.crashIn, n.disk.crashAtDir = 0, true
			}
		}
	}
	if p.chance(p.tear) {
		if n := p.pick(running); n != nil && n.disk.crashIn == 0 {
			w.stats.crashes++
			n.disk.crashIn, n.disk.tear = 1+w.rng.IntN(12), true
		}
	}
	if p.chance(p.breakDisk) {
		if n := p.pick(running); n != nil {
			w.trace.event("the disk of node %d breaks", n.id)
			n.disk.broken = true
		}
	}
	if p.chance(p.flush) {
		if n := p.pick(running); n != nil && !n.disk.full.Load() {
			if err := n.store.Flush(); err != nil {
				w.fail("node %d flushes: %v", n.id, err)
			}
		}
	}
	if p.chance(p.breakFlush) {
		if n := p.pick(running); n != nil && !n.disk.full.Load() {
			w.stats.crashes++
			n.disk.brokenStore.Store(true)
			// With nothing to flush there is no error; the node ends all the same, so that Pebble's own goroutines,
			// which meet the broken disk too, decide nothing.
			if n.store.Flush() != nil {
				w.saw(powerInFlush)
			}
			n.crash("the disk broke during a flush")
		}
	}
	if p.chance(p.wipe) && p.complete() {
		if n := p.pick(func(n *simNode) bool { return n.up && w.spares(n, 2) }); n != nil {
			w.loseDisk(n)
		}
	}
}

func (w *world) loseDisk(n *simNode) {
	w.stats.wipes++
	w.saw(diskLost)
	if w.observesSome(n) {
		w.saw(observerWiped)
	}
	n.crash("wipe")
	n.wipe()
}

func (p *plan) strikeNetwork() {
	w := p.w
	if p.healAt != 0 {
		return
	}
	two, one := p.chance(p.cutTwoWay), p.chance(p.cutOneWay)
	if !two && !one {
		return
	}
	w.stats.partitions++
	p.healAt = p.after(300*time.Millisecond, 6*time.Second)
	if one {
		a, b := p.pick(anyNode), p.pick(anyNode)
		if a != b {
			w.trace.event("node %d cannot be heard by node %d", a.id, b.id)
			w.saw(cutOneWay)
			w.cut(a, b)
		}
		return
	}
	// Every node falls on one of two sides.
	sides := w.rng.Uint32()
	w.trace.event("the network is split: %b", sides&(1<<len(w.nodes)-1))
	if cut := sides & (1<<len(w.nodes) - 1); cut != 0 && cut != 1<<len(w.nodes)-1 {
		w.saw(cutTwoWay)
	}
	for i, a := range w.nodes {
		for j, b := range w.nodes {
			if sides>>i&1 != sides>>j&1 {
				w.cut(a, b)
			}
		}
	}
}

func anyNode(*simNode) bool { return true }

func (p *plan) strikeGroups() {
	w := p.w
	if p.chance(p.transfer) {
		n, to := p.pick(running), p.pick(running)
		g := w.groups[w.rng.IntN(len(w.groups))]
		if n != nil && to != nil && n != to && n.manager.Glance(g).Leading {
			w.trace.event("node %d hands %s to node %d", n.id, g, to.id)
			err := n.manager.TransferLeadership(g, to.self.Replica)
			if _, early := errors.AsType[*multiraft.NotLeaderError](err); early {
				err = nil // it was elected in this moment, and has not taken notice
			} else {
				w.handed[g] = to.self.Replica
			}
			if err != nil {
				w.fail("transfer %s from node %d: %v", g, n.id, err)
			}
		}
	}
	if p.chance(p.remove) && len(w.nodes) > 3 && p.complete() {
		if n := p.pick(func(n *simNode) bool { return running(n) && w.spares(n, 1) }); n != nil {
			p.takeOut(n)
		}
	}
}

func (p *plan) takeOut(n *simNode) {
	p.leaving = n
	p.w.spawn("remove", func(a *actor) { a.removeNode(n) })
}
