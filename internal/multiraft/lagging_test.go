package multiraft

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// whileTicking asks a node while the lab ticks.
func (l *lab) whileTicking(ask func()) {
	l.t.Helper()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		ask()
	}()
	for giveUp := time.Now().Add(time.Minute); time.Now().Before(giveUp); {
		select {
		case <-answered:
			return
		default:
			l.tick()
		}
	}
	l.t.Fatal("no answer")
}

// wantLagging checks why a node cannot serve groups, and that it calls itself level when it says nothing of that kind, and has been asked indeed.
func (l *lab) wantLagging(n *labNode, what string, want map[shard.GroupID]string) {
	l.t.Helper()
	l.whileTicking(func() {
		if got, err := n.manager.Lagging(l.t.Context()); err != nil || !maps.Equal(got, want) {
			l.t.Errorf("%s: replica %d says %v, %v, want %v", what, n.replica, got, err, want)
		}
	})
	if n.paused || n.manager.workers[0].roomless() {
		ended, cancel := context.WithCancel(l.t.Context())
		cancel()
		if level, err := n.manager.Level(ended); level || err == nil {
			l.t.Errorf("%s: replica %d is level and was not asked", what, n.replica)
		}
		return
	}
	l.whileTicking(func() {
		if level, err := n.manager.Level(l.t.Context()); err != nil || level != (len(want) == 0) {
			l.t.Errorf("%s: replica %d is level: %t, %v", what, n.replica, level, err)
		}
	})
}

// TestLaggingNamesGroupAndReason brings about each reason for which a replica cannot serve a group, in one group or in all.
func TestLaggingNamesGroupAndReason(t *testing.T) {
	l := newLab(t, 61, 2)
	n := l.add(1)
	l.until(100, "all groups have a leader", l.settled)
	l.wantLagging(n, "a node alone", nil)

	second := l.add(2)
	l.network.SetFault(func(p *transport.Packet) transport.Verdict { return transport.Verdict{Drop: p.To == 2} })
	all := map[shard.GroupID]string{}
	for _, g := range l.groups {
		all[g] = "not a voter yet"
	}
	l.wantLagging(second, "a node that hears nothing", all)
	l.network.SetFault(nil)
	l.add(3)
	l.untilStill()
	l.wantLagging(second, "a voter", nil)

	// A group that waits for the meta group applies nothing: what the first command waits for does not come.
	g := shard.UserShard(1)
	leader := l.leader(g)
	wait := binary.BigEndian.AppendUint64(amount(1), leader.manager.Applied(shard.Meta)+1)
	if _, err := leader.submit(g, l.id(), wait); err != nil {
		t.Fatal(err)
	}
	for i := range maxReadyLag - 1 {
		if _, err := leader.submit(g, ident.RequestID{2, byte(i >> 8), byte(i)}, amount(1)); err != nil {
			t.Fatal(err)
		}
	}
	l.pump()
	l.wantLagging(leader, "as many as may wait", nil)
	if _, err := leader.submit(g, l.id(), amount(1)); err != nil {
		t.Fatal(err)
	}
	l.pump()
	l.wantLagging(leader, "one more", map[shard.GroupID]string{g: fmt.Sprintf("%d committed entries are not applied", maxReadyLag+1)})
	if _, err := l.propose(shard.Meta, l.id(), 1); err != nil {
		t.Fatal(err)
	}
	l.wantLagging(leader, "when it has come", nil)

	// The log stands still: without room it is known why, else only that it does not come back.
	stuck := l.otherThan(l.leader(g))
	for _, id := range l.groups {
		all[id] = "the log finds no room on the disk"
	}
	stuck.manager.workers[0].setNoRoom(true)
	l.wantLagging(stuck, "a log without room", all)
	stuck.manager.workers[0].setNoRoom(false)
	l.tick()
	// As long as nobody else is elected for it, a write that takes long is none of its users' business.
	stuck.paused = true
	for _, id := range l.groups {
		all[id] = "the disk of the log does not answer"
	}
	for range stuck.manager.cfg.ElectionTicks - 1 {
		stuck.manager.Tick()
	}
	l.wantLagging(stuck, "a log that is slow", nil)
	stuck.manager.Tick()
	l.wantLagging(stuck, "a log that does not come back", all)
	stuck.paused = false
	l.untilStill()
	l.wantLagging(stuck, "a log that goes on", nil)

	// Of the two voters of a group one is gone; all other groups have three.
	two := shard.UserShard(0)
	l.members = slices.Clone(l.members) // what was handed out is not changed
	l.members[2].Observes = []shard.GroupID{two}
	l.until(1000, "a group has two voters", func() bool {
		at := l.leader(two)
		return at != nil && len(at.manager.groups[two].describe(at.manager).Voters) == 2
	})
	second.crash()
	second.manager = nil
	l.until(1000, "the other groups have leaders", func() bool {
		for _, id := range l.groups {
			if id != two && l.leader(id) == nil {
				return false
			}
		}
		return l.leader(two) == nil
	})
	for range 2 * liveWithin {
		l.tick()
	}
	for _, left := range []*labNode{n, l.nodes[3]} {
		l.wantLagging(left, "a group without a majority", map[shard.GroupID]string{two: "no leader"})
	}
}

// passingClock is a clock of which every wait is over at once.
type passingClock struct {
	clock.Clock

	waits int
}

func (c *passingClock) NewTimer(time.Duration) clock.Timer {
	c.waits++
	return c.Clock.NewTimer(0)
}

// TestWorkersAreAskedSideBySide: a log that does not come back makes the groups of its worker unready and those of no other, and several take no longer than
// one: as long as a heartbeat.
func TestWorkersAreAskedSideBySide(t *testing.T) {
	l := newLab(t, 62, 6)
	l.workers = 3
	n := l.add(1)
	l.until(100, "all groups have a leader", l.settled)
	passing := &passingClock{Clock: l.clock}
	n.manager.cfg.Clock = passing
	defer func() { n.manager.cfg.Clock = l.clock }()
	// The first two are in a write of their log, and the third has answered when the others' time is over.
	for range n.manager.cfg.ElectionTicks {
		n.manager.Tick()
		if _, err := n.manager.workers[2].guarded(); err != nil {
			t.Fatal(err)
		}
	}
	answers := n.manager.askWorkers()
	if _, err := n.manager.workers[2].guarded(); err != nil {
		t.Fatal(err)
	}
	want := map[shard.GroupID]string{}
	for _, w := range n.manager.workers[:2] {
		for _, g := range w.groups {
			want[g.id] = "the disk of the log does not answer"
		}
	}
	got, err := n.manager.laggingBy(t.Context(), answers)
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("the node says %v, %v, want %v", got, err, want)
	}
	if passing.waits != n.manager.cfg.HeartbeatTicks {
		t.Errorf("it took %d ticks, want %d", passing.waits, n.manager.cfg.HeartbeatTicks)
	}
	if groups := len(n.manager.workers[2].groups); groups == 0 || len(want)+groups != len(l.groups) {
		t.Errorf("the third worker has %d of %d groups", groups, len(l.groups))
	}
}
