package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// few keeps so little of the log that every outage needs a snapshot.
func few(o *options) { o.retain = 5 }

// TestFollowerBehindTheLogGetsEverything stops a node until its place in the log is gone.
func TestFollowerBehindTheLogGetsEverything(t *testing.T) {
	scenario(t, 3, few, func(l *lab) {
		late := l.nodes[2]
		l.count(l.nodes[0], 20)
		l.kill(late)
		for range 4 {
			l.count(l.nodes[0], 40)
			l.settle(l.nodes[:2]...)
		}
		l.release(late)
		l.whole()
		if l.installed(late) == 0 {
			l.fail("node %d needed no snapshot; the story does not happen", late.id)
		}
		// Digests are compared here and again at the end; another life starts from the installed state.
		for _, g := range l.groups {
			l.oracle.digest(l.nodes[0], g)
			l.oracle.digest(late, g)
		}
		late.crash("story")
		l.run(6 * time.Second)
		l.count(late, 10)
	})
}

// TestShortOutageNeedsNoSnapshot stops a node for a while with the usual retention.
func TestShortOutageNeedsNoSnapshot(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		late := l.nodes[1]
		l.kill(late)
		l.count(l.nodes[0], 100)
		l.settle(l.nodes[0], l.nodes[2])
		l.release(late)
		l.whole()
		if n := l.installed(late); n > 0 {
			l.fail("an outage of 100 writes needed %d snapshots", n)
		}
	})
}

// TestCatchUpUnderTraffic brings back a node that needs snapshots while clients go on writing and logs go on being
// cut: it must come level with them, not chase for ever.
func TestCatchUpUnderTraffic(t *testing.T) {
	scenario(t, 3, few, func(l *lab) {
		late := l.nodes[2]
		l.kill(late)
		l.count(l.nodes[0], 100)
		l.settle(l.nodes[:2]...)
		l.c.begin()
		l.release(late)
		l.run(time.Second)
		near := func() bool {
			if !running(late) {
				return false
			}
			for _, g := range l.groups {
				seen := late.manager.Glance(g)
				if lead := l.leader(g).manager.Glance(g); seen.Applied+20 < lead.Applied || !seen.Voter {
					return false
				}
			}
			return true
		}
		for range 10 {
			for _, n := range l.nodes {
				if running(n) {
					l.settle(n)
				}
			}
		}
		if !near() {
			l.fail("node %d is still behind after half a minute", late.id)
		}
	})
}

// TestRestartAfterTruncation restarts every node after all of the log that may go is gone.
func TestRestartAfterTruncation(t *testing.T) {
	scenario(t, 3, few, func(l *lab) {
		for range 3 {
			l.count(l.nodes[1], 60)
			l.settle(l.nodes...)
			for _, n := range l.nodes {
				n.stop("story")
			}
			l.run(8 * time.Second)
			l.whole()
		}
	})
}

// TestLatePeerJoins lets the third node come long after the others, while the first is down: no node is special,
// and there is no window to miss.
func TestLatePeerJoins(t *testing.T) {
	scenario(t, 5, nil, func(l *lab) {
		first, late := l.nodes[0], l.nodes[4]
		late.crash("story")
		late.wipe()
		l.hold(late)
		l.run(300 * time.Second)
		l.count(l.nodes[1], 20)
		l.kill(first)
		l.release(late)
		l.until(healBound, "the late node votes in every group", func() bool {
			for _, g := range l.groups {
				if late.manager == nil || !late.manager.Glance(g).Voter {
					return false
				}
			}
			return true
		})
		l.count(late, 10)
		l.release(first)
	})
}

// TestWipedNodeIsANewReplica throws away one disk after the other.
func TestWipedNodeIsANewReplica(t *testing.T) {
	scenario(t, 3, few, func(l *lab) {
		for _, n := range l.nodes {
			old := n.self.Replica
			l.count(n, 30)
			n.crash("story")
			n.wipe()
			l.whole()
			if n.self.Replica == old {
				l.fail("node %d came back under its old replica id %d", n.id, old)
			}
			l.count(n, 10)
		}
	})
}

// TestReplaceWithCrashesAtEveryStep replaces a node while, at another moment in each round, another node crashes.
func TestReplaceWithCrashesAtEveryStep(t *testing.T) {
	for at := range 8 {
		scenario(t, 3+at%2, few, func(l *lab) {
			l.count(l.nodes[0], 20)
			lost := l.nodes[at%len(l.nodes)]
			lost.crash("story")
			lost.wipe()
			l.plan.wakeAt[lost] = l.step
			// Joining waits until the old replica was silent for two seconds; the steps after that are quick.
			l.run(1900*time.Millisecond + time.Duration(at)*60*time.Millisecond)
			for i, n := range l.others(lost) {
				n.crash("story")
				l.plan.wakeAt[n] = l.step + i*20
			}
			l.run(time.Second)
			l.count(l.others(lost)[0], 5)
		})
	}
}

// TestSnapshotDuringPromotion stops a learner again and again while it gets its snapshots and is promoted.
func TestSnapshotDuringPromotion(t *testing.T) {
	scenario(t, 3, few, func(l *lab) {
		l.count(l.nodes[0], 40)
		n := l.nodes[2]
		n.crash("story")
		n.wipe()
		l.until(healBound, "the node joins", func() bool { return n.manager != nil })
		for i := range 6 {
			l.run(time.Duration(i*30) * time.Millisecond)
			if n.up {
				n.crash("story")
			}
			l.plan.wakeAt[n] = l.step + 5
			l.count(l.nodes[0], 8)
			l.settle(l.nodes[0], l.nodes[1])
		}
	})
}

// TestRemoveWhileAnotherJoins changes two members at once: one is removed while another one's stand-in joins.
func TestRemoveWhileAnotherJoins(t *testing.T) {
	scenario(t, 5, few, func(l *lab) {
		for range 2 {
			l.count(l.nodes[0], 20)
			leaves, lost := l.nodes[3], l.nodes[4]
			lost.crash("story")
			lost.wipe()
			l.run(1500 * time.Millisecond)
			l.spawn("remove", func(a *actor) { a.removeNode(leaves) })
			l.run(2 * time.Second)
			l.count(l.nodes[1], 20)
			l.whole()
		}
	})
}

// TestNodeThatMissedItsNewLeaderCatchesUp brings back a node that was away while another one was replaced and
// became the leader of meta: the address of that leader stands in entries that only this leader can send. Without
// members that tell each other what they know, the node stays behind for ever.
func TestNodeThatMissedItsNewLeaderCatchesUp(t *testing.T) {
	story := func(l *lab) {
		away := l.nodes[4]
		l.kill(away)
		lost := l.nodes[1]
		lost.crash("story")
		lost.wipe()
		l.until(healBound, "the stand-in votes", func() bool {
			if !running(lost) {
				return false
			}
			for _, g := range l.groups {
				if !lost.manager.Glance(g).Voter {
					return false
				}
			}
			return true
		})
		l.count(l.nodes[0], 40)
		l.settle(l.nodes[:4]...)
		l.lead(lost)
		l.release(away)
	}
	scenario(t, 5, few, story)
	if _, err := tell(t, 5, few, &mutant{noGossip: true}, story); err == nil {
		t.Error("the node caught up although nobody told it the address of its leader: the story does not happen")
	}
}

// TestRemovedLeaderLetsGo removes a replica that leads all data groups and cannot hear the leader of meta: meta lets
// it go before it can learn so. It must not lead for ever.
func TestRemovedLeaderLetsGo(t *testing.T) {
	scenario(t, 4, nil, func(l *lab) {
		first, leaves := l.nodes[0], l.nodes[3]
		l.lead(leaves)
		l.until(healBound, "the first node leads meta", func() bool {
			if running := leaves.manager.Glance(shard.Meta).Leading; running {
				if err := leaves.manager.TransferLeadership(shard.Meta, first.self.Replica); err != nil {
					l.fail("transfer: %v", err)
				}
			}
			return first.manager.Glance(shard.Meta).Leading
		})
		l.mute(transport.LaneControl, first, leaves)
		old := leaves.self.Replica
		l.spawn("remove", func(a *actor) { a.removeNode(leaves) })
		l.until(healBound, "meta lets the replica go", func() bool {
			seen := first.manager.Glance(shard.Meta)
			return !seen.Joint && !slices.Contains(seen.Voters, old)
		})
		if current, ok := leaves.catalog.Current().Member(old); !ok || current.Removed {
			l.fail("node %d knows that it was removed; the story does not happen", leaves.id)
		}
		if !leaves.manager.Glance(l.c.group).Leading {
			l.fail("node %d leads nothing any more; the story does not happen", leaves.id)
		}
		l.unmute()
		l.count(l.nodes[1], 10)
		l.whole()
	})
}

// TestMembershipChangesAfterASnapshot changes the members right after a node was restored from snapshots.
func TestMembershipChangesAfterASnapshot(t *testing.T) {
	scenario(t, 4, few, func(l *lab) {
		late, lost := l.nodes[3], l.nodes[2]
		l.kill(late)
		l.count(l.nodes[0], 60)
		l.settle(l.nodes[:3]...)
		l.release(late)
		l.until(healBound, "the late node has the state", func() bool {
			return running(late) && late.manager.Applied(shard.Meta) == l.leader(shard.Meta).manager.Applied(shard.Meta)
		})
		l.lead(late)
		lost.crash("story")
		lost.wipe()
		l.count(late, 20)
		l.whole()
	})
}
