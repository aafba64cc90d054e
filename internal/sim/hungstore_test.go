package sim

import (
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/multiraft"
)

// This file is the trouble with stores that hang while the logs work: what is applied does not come back. Votes, heartbeats and entries go on, so nobody
// but the node itself notices. It has to hand over what it leads (ADR 81); nothing that waits for it may be answered otherwise than later.

// standing is what an engine applies, as a coroutine, which waits inside a state machine.
type standing struct {
	next    func() (struct{}, bool)
	yield   func(struct{}) bool
	waiting bool
	led     bool // the node led something when it began to wait, and does still
	ended   bool // the process ends
	err     error
}

// standStill holds up who applies while the store hangs.
func (n *simNode) standStill() error {
	s := n.standing
	if s == nil || !n.disk.storeHung {
		return nil // nobody applies beside the log yet
	}
	n.w.saw(storeHung)
	s.waiting, s.led = true, n.leads()
	for n.disk.storeHung && !s.ended {
		s.yield(struct{}{})
	}
	s.waiting = false
	if s.ended {
		return errPower
	}
	return nil
}

// driveLog moves an engine whose store hangs, or did when something began to be applied: the log goes on, as its goroutines do.
func (n *simNode) driveLog() error {
	if err := n.manager.PumpLog(); err != nil {
		return err
	}
	if n.standing == nil {
		s := &standing{}
		s.next, _ = iter.Pull(func(yield func(struct{}) bool) {
			s.yield = yield
			s.err = n.manager.PumpApply()
		})
		n.standing = s
	}
	s := n.standing
	if s.waiting && n.disk.storeHung {
		if s.led && !n.leads() {
			s.led = false
			n.w.saw(storeCedes)
		}
		return nil
	}
	if _, waits := s.next(); waits {
		return nil
	}
	n.standing = nil
	return s.err
}

// leads reports whether the node leads any group.
func (n *simNode) leads() bool {
	return slices.ContainsFunc(n.manager.Standings(nil), func(s multiraft.Standing) bool { return s.Leading })
}

// unwindStanding ends what is being applied when the process ends.
func (n *simNode) unwindStanding() {
	s := n.standing
	if s == nil {
		return
	}
	s.ended = true
	if _, waits := s.next(); waits {
		n.w.fail("node %d waits for its store while its process ends", n.id)
	}
	n.standing = nil
}

// strikeStores lets the store of a node hang.
func (p *plan) strikeStores(sound func(*simNode) bool) {
	w := p.w
	if !p.chance(p.hangStore) {
		return
	}
	if n := p.pick(sound); n != nil {
		n.disk.storeHung, n.disk.healAt = true, p.after(200*time.Millisecond, 12*time.Second)
		w.trace.event("the store of node %d hangs", n.id)
	}
}

// TestHungStoreMovesLeadership lets what the leader of all groups applies not come back: others lead before the hang is over, with the leader's help, a writer
// at the node is answered behind it at the latest, and the same process goes on.
func TestHungStoreMovesLeadership(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		n := l.nodes[1]
		l.lead(n)
		l.count(n, 10)
		life := n.life
		n.disk.storeHung, n.disk.healAt = true, 1<<40
		a := l.spawn("writer", func(a *actor) { a.serve(n, func(s *session) { l.c.increment(s, l.counter(0)) }) })
		l.until(healBound, "others lead all groups", func() bool { return l.ledByOthers(n) })
		if n.standing == nil || !n.standing.waiting {
			l.fail("node %d does not wait for its store; the story does not happen", n.id)
		}
		l.count(l.others(n)[0], 10)
		n.healDisk()
		l.until(healBound, "the writer is answered", func() bool { return a.ended })
		if n.life != life {
			l.fail("node %d has not outlived it", n.id)
		}
		l.whole()
		l.count(n, 5)
	})
}
