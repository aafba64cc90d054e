package multiraft

import (
	"log/slog"
	"sync/atomic"
)

// This file keeps a node from leading while its store hangs. Votes, heartbeats and transfers need the log alone, so a leader whose store
// does not come back would keep its place and answer nobody. Such a node is ailing: it says with its beats what one with a nearly
// full disk says, that others should lead, and is handed nothing. That is so from when a pass of the apply loop takes longer than ailsAfter,
// or Config.DiskHangs says so, until neither has been the case for wellAfter. While one of them is the case it also hands over all that it leads
// to whoever can take over, once those whose stores hang as well have had the time to say so: what one node applies for long, all do,
// one a little after the other. Where the store of every node hangs, the leaderships stay.

const (
	ailsAfter = liveWithin   // ticks that a pass of the apply loop may take: as long as a silent node counts as live
	saysFirst = balanceEvery // ticks from the first reason until a node hands over, or two beats if they take longer
	wellAfter = balanceRest  // ticks without trouble until a node leads again, so that leaderships do not come and go
)

// health knows whether the store keeps the apply loop waiting. The timekeeper owns all but ails and cedes.
type health struct {
	passes uint64 // of the apply loop at the last look
	stood  int    // ticks since the pass that runs was first seen
	ailing int    // ticks since it began to ail
	well   int    // ticks since there was last a reason

	ails  atomic.Bool
	cedes atomic.Bool // it hands over what it leads
}

// look judges after so many ticks more.
func (h *health) look(m *Manager, ticks int) {
	passes := m.apply.passes.Load()
	if passes%2 == 1 && passes == h.passes {
		h.stood += ticks
	} else {
		h.stood = 0
	}
	h.passes = passes
	hangs := h.stood > ailsAfter || m.cfg.DiskHangs != nil && m.cfg.DiskHangs()
	h.ailing += ticks
	switch {
	case hangs:
		h.well = 0
		if !h.ails.Swap(true) {
			h.ailing = 0
			m.cfg.Logger.Warn("the store does not answer: other nodes are to lead this node's groups", slog.Bool("apply_stands", h.stood > ailsAfter))
		}
	case h.ails.Load():
		if h.well += ticks; h.well >= wellAfter {
			h.ails.Store(false)
			m.cfg.Logger.Info("the store answers again: this node may lead")
		}
	}
	h.cedes.Store(hangs && h.ailing >= max(saysFirst, 2*m.cfg.HeartbeatTicks))
}

// Ailing reports whether this node is handed no leaderships, and hands over its own, because its store hangs or did a moment ago.
func (m *Manager) Ailing() bool { return m.health.ails.Load() }
