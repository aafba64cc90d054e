package sim

import (
	"slices"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// How long a kind world may take to make everything whole.
const healBound = 120 * time.Second

// heal ends the faults and waits until everything is whole.
func (w *world) heal(c *clients) {
	w.plan.stopFaults()
	if c != nil {
		c.busy = false
	}
	w.until(healBound, "all nodes are healthy voters and equal", w.whole)
	w.judgeVotes()
	w.judgeDrain()
	w.until(healBound, "all nodes are equal after the draining", w.whole)
	w.healCold(c)
}

// whole reports that every node votes in every group where it is to, that all know one leader, that everything is applied
// everywhere and that clients and jobs that clean up have nothing left to do.
func (w *world) whole() bool {
	for _, a := range w.actors {
		if a.node == nil {
			return false
		}
	}
	for _, g := range w.groups {
		if !w.settled(g) || !w.level(g) {
			return false
		}
	}
	for _, n := range w.nodes {
		if len(n.catalog.Current().Cleanups()) > 0 || n.cold.busy > 0 || w.opt.local && n.local == nil {
			return false
		}
	}
	return true
}

// level reports that all replicas of a group agree on leader, term and applied index.
func (w *world) level(g shard.GroupID) bool {
	first := w.nodes[0]
	if !running(first) {
		return false
	}
	want := first.manager.Glance(g)
	for _, n := range w.nodes {
		if !running(n) {
			return false
		}
		seen := n.manager.Glance(g)
		if seen.Term != want.Term || seen.Leader == 0 || seen.Leader != want.Leader || seen.Applied != want.Applied ||
			seen.Applied != seen.LastIndex || !slices.Equal(seen.Voters, want.Voters) ||
			!slices.Equal(seen.Learners, want.Learners) {
			return false
		}
	}
	return true
}

// judge compares everything with everything once the cluster is whole.
func (w *world) judge() {
	for _, g := range w.groups {
		truth := w.oracle.groups[g]
		applied := w.nodes[0].manager.Applied(g)
		// A group that was founded and never written to, without a cluster, is where its founding has put it.
		if applied+1 != uint64(len(truth.committed)) && (applied > 1 || len(truth.committed) > 0) {
			w.fail("%s ends at %d, but %d entries were applied", g, applied, len(truth.committed)-1)
		}
		for _, n := range w.nodes {
			w.oracle.digest(n, g)
			if truth.model == nil {
				continue
			}
			difference, err := w.compareRows(n, truth.model)
			if err != nil || difference != "" {
				w.fail("node %d, %s: %s %v", n.id, g, difference, err)
			}
		}
	}
	w.judgeRows()
	for _, n := range w.nodes {
		w.judgeGone(n)
		w.judgeLocal(n)
	}
	w.judgeBackups()
}

// judgeRows reads back what clients were told.
func (w *world) judgeRows() {
	for _, n := range w.nodes {
		for c, known := range w.store.floor {
			if w.store.gone[c.table] || c.at != 0 && c.at != n.self.Replica {
				continue
			}
			w.saw(ruleAcknowledged)
			got := w.get(n.store, c)
			if (got.seq < known.seq || got.seq == known.seq && got != known) && !w.vanished(c, got, known) {
				w.fail("node %d has %v as %+v, a client knows %+v", n.id, c, got, known)
			}
		}
		for c, counter := range w.store.counters {
			want := 0
			for _, id := range counter.requests {
				if w.oracle.succeeded[id] {
					want++
				}
			}
			w.saw(ruleCounters)
			if want < counter.acknowledged {
				w.fail("counter %v: %d increments ran, %d were acknowledged", c, want, counter.acknowledged)
			}
			if got := counterValue(w.get(n.store, c)); got != want {
				w.fail("node %d has counter %v at %d, %d increments ran", n.id, c, got, want)
			}
		}
	}
}
