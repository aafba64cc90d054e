package multiraft

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// lagging asks a node while the lab ticks.
func (l *lab) lagging(n *labNode) map[shard.GroupID]string {
	l.t.Helper()
	answer := make(chan map[shard.GroupID]string, 1)
	go func() {
		reasons, err := n.manager.Lagging(l.t.Context())
		if err != nil {
			l.t.Errorf("replica %d: %v", n.replica, err)
		}
		answer <- reasons
	}()
	for giveUp := time.Now().Add(time.Minute); time.Now().Before(giveUp); {
		select {
		case reasons := <-answer:
			return reasons
		default:
			l.tick()
		}
	}
	l.t.Fatal("no answer")
	return nil
}

func (l *lab) wantLagging(n *labNode, what string, want map[shard.GroupID]string) {
	l.t.Helper()
	if got := l.lagging(n); !maps.Equal(got, want) {
		l.t.Errorf("%s: replica %d says %v, want %v", what, n.replica, got, want)
	}
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
	stuck.paused = true
	for _, id := range l.groups {
		all[id] = "the disk of the log does not answer"
	}
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
