package multiraft

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// crowd holds everybody who comes in until it lets one go.
type crowd struct {
	in, came, most atomic.Int64
	gate           chan struct{}
}

func (c *crowd) wait() {
	c.came.Add(1)
	if now := c.in.Add(1); now > c.most.Load() {
		c.most.Store(now)
	}
	<-c.gate
	c.in.Add(-1)
}

// wantAtOnce lets them go one by one, all of them in a bubble of synctest, and wants as many in at once as may be, as long as there are so many.
func (c *crowd) wantAtOnce(t *testing.T, limit, all int64) {
	t.Helper()
	for gone := range all {
		synctest.Wait()
		if in, came := c.in.Load(), c.came.Load(); in != min(limit, all-gone) || came != min(limit+gone, all) {
			t.Fatalf("after %d of %d, %d are at it and %d have been, want %d and %d", gone, all, in, came, min(limit, all-gone), min(limit+gone, all))
		}
		c.gate <- struct{}{}
	}
	synctest.Wait()
	if most := c.most.Load(); most != limit {
		t.Errorf("at most %d were at it, want %d", most, limit)
	}
}

// TestSnapshotsReceivedAtOnce sends the states of all groups to one node: as many arrive at once as its bound allows, and the others wait.
func TestSnapshotsReceivedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 71, 8)
		n := l.add(1)
		c := &crowd{gate: make(chan struct{})}
		errBroken := errors.New("the stream broke")
		ended := make(chan error, len(l.groups))
		for _, g := range l.groups {
			header := &nodev1.SnapshotHeader{Group: uint64(g), From: 2, To: 1, Term: 1, Index: 9, IndexTerm: 1}
			go func() {
				ended <- n.manager.ReceiveSnapshot(t.Context(), header, func() ([]byte, error) {
					c.wait()
					return nil, errBroken
				}, make(chan error, 1))
			}()
		}
		c.wantAtOnce(t, int64(n.manager.cfg.SnapshotReceive), int64(len(l.groups)))
		for range l.groups {
			if err := <-ended; !errors.Is(err, errBroken) || errors.Is(err, io.EOF) {
				t.Errorf("a snapshot ended with %v", err)
			}
		}
	})
}

// TestSnapshotsSentAtOnce has the leader of all groups send each of them to a peer: as many go out at once as its bound allows.
func TestSnapshotsSentAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := &crowd{gate: make(chan struct{})}
		crew := startCrew(t, &crewOptions{snapshot: func(ident.ReplicaID) error {
			c.wait()
			return nil
		}})
		from := crew.managers[0]
		crew.gather(ctx, t, from)
		for _, g := range from.order {
			from.sender.request(g, &raftpb.Message{To: new(uint64(2)), Term: new(from.Term(g.id))})
		}
		c.wantAtOnce(t, int64(from.cfg.SnapshotSends), int64(len(from.order)))
	})
}

// TestJoiningGoesOnAfterRestarts adds two nodes to one whose log no longer reaches back to the beginning. Half way, when some groups have the new voters and
// others wait for their snapshots, the joining node, the node that leads, or both lose power. Without being asked again everything comes to its end.
func TestJoiningGoesOnAfterRestarts(t *testing.T) {
	for _, who := range [][]ident.ReplicaID{{2}, {1}, {1, 2, 3}} {
		t.Run(describeReplicas(who), func(t *testing.T) {
			l := newLab(t, 72, 6)
			l.retain = 10
			first := l.add(1)
			l.until(100, "the first node leads", l.settled)
			const rounds = 60
			for range rounds {
				for _, g := range l.groups {
					if _, err := l.propose(g, l.id(), 1); err != nil {
						t.Fatal(err)
					}
				}
			}
			l.until(400, "the log is cut", func() bool {
				if err := errors.Join(first.store.Flush(), first.manager.Maintain()); err != nil {
					t.Fatal(err)
				}
				return !slices.ContainsFunc(l.groups, func(g shard.GroupID) bool { return first.manager.groups[g].log.FirstIndex() < rounds/2 })
			})

			delivered := map[ident.ReplicaID]int{}
			l.network.SetCallFault(func(c *transport.Call) transport.CallVerdict {
				if c.Kind != transport.CallSnapshot {
					return transport.DeliverCall
				}
				if delivered[c.To] == 3 {
					return transport.LoseRequest
				}
				delivered[c.To]++
				return transport.DeliverCall
			})
			l.add(2)
			l.add(3)
			votes := func() (some, all bool) {
				all = true
				for _, g := range l.groups {
					n := l.leader(g)
					voter := n != nil && len(n.manager.groups[g].describe(n.manager).Voters) == 3
					some, all = some || voter, all && voter
				}
				return some, all
			}
			l.until(3000, "some groups have their voters", func() bool { some, _ := votes(); return some })
			if _, all := votes(); all {
				t.Fatal("all groups have their voters; the test shows nothing")
			}
			for _, id := range who {
				l.nodes[id].crash()
			}
			for _, id := range who {
				l.nodes[id].restart()
			}
			for range 100 {
				l.tick()
			}
			if _, all := votes(); all {
				t.Fatal("all groups have their voters, without their snapshots")
			}
			l.network.SetCallFault(nil)
			l.until(3000, "three voters everywhere", l.settled)
			l.until(400, "everything everywhere", func() bool {
				for _, n := range l.nodes {
					if slices.ContainsFunc(l.groups, func(g shard.GroupID) bool { return n.sum(g) != rounds }) {
						return false
					}
				}
				return true
			})
		})
	}
}

func describeReplicas(ids []ident.ReplicaID) string {
	if len(ids) == 1 && ids[0] == 1 {
		return "the leader"
	}
	if len(ids) == 1 {
		return "a joining node"
	}
	return "all"
}
