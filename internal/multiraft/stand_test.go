package multiraft

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// wait polls until ok.
func (c *crew) wait(ctx context.Context, tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for !ok() {
		if pause(ctx, time.Millisecond); ctx.Err() != nil {
			tb.Fatalf("still not: %s", what)
		}
	}
}

// propose proposes and waits for the result.
func (c *crew) propose(ctx context.Context, tb testing.TB, m *Manager, g shard.GroupID, id ident.RequestID, data []byte) []byte {
	tb.Helper()
	s, err := m.Submit(g, id, data)
	if err != nil {
		tb.Fatal(err)
	}
	var result []byte
	c.wait(ctx, tb, "a result", func() (done bool) {
		result, _, done, err = s.Poll()
		return done
	})
	if err != nil {
		tb.Fatal(err)
	}
	return result
}

// gather moves the leadership of every group to one node.
func (c *crew) gather(ctx context.Context, tb testing.TB, to *Manager) {
	tb.Helper()
	for _, g := range c.groups {
		for !to.groups[g].leading.Load() {
			for _, m := range c.managers {
				if at := m.groups[g]; at.leading.Load() {
					at.worker.enqueue(item{group: at, do: func(g *group) { g.node.TransferLeader(uint64(to.cfg.Replica)) }})
				}
			}
			if pause(ctx, 20*time.Millisecond); ctx.Err() != nil {
				tb.Fatalf("%v does not move", g)
			}
		}
	}
}

// allAsleep asks the workers whether all groups sleep, which does not wake them.
func (c *crew) allAsleep(ctx context.Context) bool {
	for _, m := range c.managers {
		for _, w := range m.workers {
			count := make(chan int, 1)
			w.enqueue(item{do: func(*group) {
				n := 0
				for _, g := range w.groups {
					if g.quiet.asleep {
						n++
					}
				}
				count <- n
			}})
			select {
			case <-ctx.Done():
				return false
			case n := <-count:
				if n != len(w.groups) {
					return false
				}
			}
		}
	}
	return true
}

// ledWithout reports whether every group has a leader that is not m.
func (c *crew) ledWithout(m *Manager) bool {
	for _, g := range c.groups {
		led := false
		for _, other := range c.managers {
			led = led || other != m && other.groups[g].leading.Load()
		}
		if !led {
			return false
		}
	}
	return true
}

// TestHungSyncGivesAllGroupsOtherLeaders hangs the sync of a node that leads everything, under a write to one group
// while all others sleep: every group gets another leader, however many writes may be under way.
func TestHungSyncGivesAllGroupsOtherLeaders(t *testing.T) {
	for _, logWrites := range []int{1, 8} {
		t.Run(fmt.Sprintf("writes=%d", logWrites), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { hungSync(t, logWrites) })
		})
	}
}

func hungSync(t *testing.T, logWrites int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	var hold atomic.Bool
	release, held := make(chan struct{}), make(chan struct{}, 1)
	defer close(release)
	options := &crewOptions{logWrites: logWrites}
	options.onSync[0] = func() {
		if hold.Load() {
			signal(held)
			<-release
		}
	}
	c := startCrew(t, options)
	for _, g := range c.groups {
		c.leader(ctx, t, g)
	}
	hung := c.managers[0]
	c.gather(ctx, t, hung)
	c.wait(ctx, t, "all groups sleep", func() bool { return c.allAsleep(ctx) })
	hold.Store(true)
	g := c.groups[1]
	if _, err := hung.Submit(g, ident.RequestID{1}, amount(1)); err != nil {
		t.Fatal(err)
	}
	<-held
	c.wait(ctx, t, "another leader of every group", func() bool { return c.ledWithout(hung) })
	c.propose(ctx, t, c.leaderBut(ctx, t, g, hung), g, ident.RequestID{2}, amount(1))
}

// leaderBut waits for a leader of a group that is not m, which may not know yet that it leads no more.
func (c *crew) leaderBut(ctx context.Context, tb testing.TB, g shard.GroupID, m *Manager) *Manager {
	tb.Helper()
	var leader *Manager
	c.wait(ctx, tb, "another leader", func() bool {
		for _, other := range c.managers {
			if other != m && other.groups[g].leading.Load() {
				leader = other
			}
		}
		return leader != nil
	})
	return leader
}

// TestHandedOverWriteWaitsForRoom lets the log of a node that leads everything run out of segments while writes are
// handed over: others lead, the write is kept, and once there is room the node goes on with nothing lost.
func TestHandedOverWriteWaitsForRoom(t *testing.T) {
	synctest.Test(t, handedOverWithoutRoom)
}

func handedOverWithoutRoom(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	options := &crewOptions{logWrites: 2, segmentBytes: 1 << 18}
	c := startCrew(t, options)
	for _, g := range c.groups {
		c.leader(ctx, t, g)
	}
	full, g := c.managers[0], c.groups[1]
	c.gather(ctx, t, full)
	options.noRoom[0].Store(true)
	acknowledged := uint64(0)
	for n := uint64(1); !full.workers[0].stands() || !full.workers[0].roomless(); n++ {
		if n > 500 {
			t.Fatal("the log never runs out of room")
		}
		var id ident.RequestID
		binary.BigEndian.PutUint64(id[:], n)
		s, err := full.Submit(g, id, bulk())
		if err != nil {
			break // it leads no more
		}
		c.wait(ctx, t, "a result, or no room", func() bool {
			result, _, done, err := s.Poll()
			if done && err == nil {
				acknowledged = binary.BigEndian.Uint64(result)
			}
			return done || full.workers[0].roomless()
		})
	}
	c.wait(ctx, t, "another leader of every group", func() bool { return c.ledWithout(full) })
	if !full.workers[0].roomless() {
		t.Fatal("the log was never without room")
	}
	options.noRoom[0].Store(false)
	c.wait(ctx, t, "the node goes on", func() bool { return !full.workers[0].roomless() })
	result := c.propose(ctx, t, c.leaderBut(ctx, t, g, full), g, ident.RequestID{0xff}, amount(1))
	if sum := binary.BigEndian.Uint64(result); sum <= acknowledged {
		t.Errorf("the sum is %d, and %d was acknowledged before", sum, acknowledged)
	}
	want := c.leaderBut(ctx, t, g, full).Applied(g)
	c.wait(ctx, t, "everything is applied on the node that had no room", func() bool { return full.Applied(g) >= want })
	if err := full.Failure(); err != nil {
		t.Error(err)
	}
}

// TestNodeWithoutBeatsIsLost lets a peer answer everything and send no beats any more, as one does of which a worker
// hangs and another does not.
func TestNodeWithoutBeatsIsLost(t *testing.T) {
	peers, known := newPeerClock(time.Second), map[ident.ReplicaID]uint64{}
	const silent = 9
	pass := func(ticks int, beats bool) []ident.ReplicaID {
		for range ticks {
			peers.advance(1)
			peers.heard(2, time.Time{})
			if beats {
				peers.beaten(2, 7, time.Time{})
			}
		}
		return peers.lost(known, silent)
	}
	if lost := pass(2*silent, false); len(lost) != 0 {
		t.Errorf("a peer that never sent beats is lost: %v", lost)
	}
	if lost := pass(2*silent, true); len(lost) != 0 {
		t.Errorf("a peer that sends beats is lost: %v", lost)
	}
	if lost := pass(silent, false); len(lost) != 0 {
		t.Errorf("lost too early: %v", lost)
	}
	if lost := pass(1, false); len(lost) != 1 {
		t.Error("a peer that sends no beats any more is not lost")
	}
	if lost := pass(1, true); len(lost) != 0 {
		t.Errorf("a peer that sends beats again is lost: %v", lost)
	}
}
