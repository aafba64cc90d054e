package multiraft

import (
	"log/slog"
	"sync/atomic"
)

// This file keeps a node from leading while its store hangs. Votes, heartbeats and transfers need the log alone, so a leader whose store
// does not come back would keep its place and answer nobody. Such a node is ailing: it says with its beats what one with a nearly
// full disk says, that others should lead, hands over all that it leads to whoever can take over, and is handed nothing. That is so from
// when a pass of the apply loop takes longer than ailsAfter, or Config.DiskHangs says so, until neither has been the case for
// wellAfter. Where the store of every node hangs, the leaderships stay.

const (
	ailsAfter = liveWithin  // ticks that a pass of the apply loop may take: as long as a silent node counts as live
	wellAfter = balanceRest // ticks without trouble until a node leads again, so that leaderships do not come and go
)

// health knows whether the store keeps the apply loop waiting. The timekeeper owns all but ails.
type health struct {
	passes uint64 // of the apply loop at the last look
	stood  int    // ticks since the pass that runs was first seen
	well   int    // ticks since there was last a reason

	ails atomic.Bool
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
	hangs := m.cfg.DiskHangs != nil && m.cfg.DiskHangs()
	switch {
	case hangs || h.stood > ailsAfter:
		h.well = 0
		if !h.ails.Swap(true) {
			m.cfg.Logger.Warn("the store does not answer: other nodes are to lead this node's groups", slog.Bool("apply_stands", h.stood > ailsAfter))
		}
	case h.ails.Load():
		if h.well += ticks; h.well >= wellAfter {
			h.ails.Store(false)
			m.cfg.Logger.Info("the store answers again: this node may lead")
		}
	}
}

// Ailing reports whether this node hands its leaderships over because its store hangs.
func (m *Manager) Ailing() bool { return m.health.ails.Load() }
