package sim

import (
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// TestOneNodeAcknowledgesOnlyWhatIsSynced cuts the power of a cluster of one at one change of its log after the
// other, while it writes.
func TestOneNodeAcknowledgesOnlyWhatIsSynced(t *testing.T) {
	for at := 1; at <= 12; at++ {
		scenario(t, 1, nil, func(l *lab) {
			n := l.nodes[0]
			l.count(n, 5)
			n.disk.crashIn, n.disk.tear = at, at%2 == 0
			l.untilCrash(n)
			l.run(10 * time.Second)
			l.count(n, 5)
		})
	}
}

// TestLeaderCrashesAtEverySync cuts the power of the leader of all groups at one change of its log after the other,
// half of the times leaving a torn write.
func TestLeaderCrashesAtEverySync(t *testing.T) {
	for at := 1; at <= 12; at++ {
		scenario(t, 3, nil, func(l *lab) {
			n := l.nodes[at%3]
			l.lead(n)
			n.disk.crashIn, n.disk.tear = at, at%2 == 0
			l.untilCrash(n)
			l.run(time.Second)
			l.count(l.leader(shard.Meta), 5)
		})
	}
}

// untilCrash writes through a node until its power is cut.
func (l *lab) untilCrash(n *simNode) {
	life := n.life
	for i := 0; n.life == life; i++ {
		if i == 100 {
			l.fail("100 writes, and the log of node %d was not changed often enough", n.id)
		}
		l.do(n, func(s *session) { l.c.increment(s, l.counter(i%5)) })
	}
}

// TestCrashDuringElectionsVotesOnce cuts the power of a voter at every change of its log while it elects again and
// again. The oracle sees a second vote in a term.
func TestCrashDuringElectionsVotesOnce(t *testing.T) {
	for at := 1; at <= 10; at++ {
		scenario(t, 3, nil, func(l *lab) {
			voter := l.nodes[2]
			for round := range 3 {
				voter.disk.crashIn = at + round
				l.kill(l.leader(shard.UserShard(0)))
				l.run(3 * time.Second)
				for _, n := range l.nodes {
					l.release(n)
				}
				l.run(time.Duration(round+1) * time.Second)
			}
		})
	}
}

// TestAllNodesLosePowerAtOnce crashes the whole cluster again and again, with and without flushed stores.
func TestAllNodesLosePowerAtOnce(t *testing.T) {
	scenario(t, 3, func(o *options) { o.retain = 20 }, func(l *lab) {
		for round := range 6 {
			l.count(l.nodes[round%3], 10)
			if round%2 == 0 {
				l.settle(l.nodes[round%3])
			}
			for _, n := range l.nodes {
				n.crash("story")
			}
			l.run(8 * time.Second)
			l.whole()
		}
	})
}

// TestCrashBetweenFlushAndLog crashes after the store is flushed and before it, so that state and log stand at
// different places, and wants equal digests.
func TestCrashBetweenFlushAndLog(t *testing.T) {
	scenario(t, 3, func(o *options) { o.retain = 5 }, func(l *lab) {
		for round := range 9 {
			n := l.nodes[round%3]
			l.count(n, 7)
			if round%3 != 0 {
				if err := n.store.Flush(); err != nil {
					l.fail("flush: %v", err)
				}
			}
			if round%2 == 0 {
				l.count(n, 3)
			}
			n.crash("story")
			l.run(6 * time.Second)
			l.whole()
			for _, g := range l.groups {
				for _, other := range l.nodes {
					l.oracle.digest(other, g)
				}
			}
		}
	})
}

// TestBrokenDiskEndsTheNode lets writes and syncs of the log fail: the node must stop, never acknowledge, and
// come back on what was synced.
func TestBrokenDiskEndsTheNode(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		n := l.nodes[0]
		l.lead(n)
		life := n.life
		n.disk.broken = true
		l.do(n, func(s *session) { l.c.increment(s, l.counter(0)) })
		if n.life == life {
			l.fail("node %d goes on with a broken disk", n.id)
		}
		l.run(8 * time.Second)
		l.count(n, 5)
	})
}

// TestHungLeaderIsReplaced freezes the leader, as a disk that hangs does: leadership must move within two of the
// longest election timeouts.
func TestHungLeaderIsReplaced(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		n := l.nodes[1]
		l.lead(n)
		l.hold(n)
		l.until(2*20*tickTime, "another node leads all groups", func() bool {
			for _, g := range l.groups {
				led := false
				for _, other := range l.others(n) {
					led = led || other.manager.Glance(g).Leading
				}
				if !led {
					return false
				}
			}
			return true
		})
		l.count(l.others(n)[0], 10)
		l.release(n)
	})
}

// TestReplacedSuffixStaysReplaced gives an isolated leader entries that nobody else has. After they were
// replaced, no crash may bring them back.
func TestReplacedSuffixStaysReplaced(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		old := l.nodes[0]
		l.lead(old)
		l.isolate(old)
		for i := range 4 {
			a := l.spawn("lost", func(a *actor) { a.serve(old, func(s *session) { l.c.increment(s, l.counter(i)) }) })
			defer a.end()
		}
		l.run(100 * time.Millisecond)
		l.run(4 * time.Second)
		l.count(l.others(old)[0], 10)
		l.healNetwork()
		l.run(2 * time.Second)
		for range 3 {
			old.crash("story")
			l.run(6 * time.Second)
			l.whole()
		}
	})
}

// TestKilledNodeKeepsWhatTheNextOneReads ends a process while the sync of its log hangs. The system has the record, so that the next process
// reads it, and applies it, and its client sees it; then the power fails.
func TestKilledNodeKeepsWhatTheNextOneReads(t *testing.T) {
	scenario(t, 1, func(o *options) { o.solo = true }, func(l *lab) {
		n, target := l.nodes[0], l.counter(0)
		before := n.manager.Applied(target.group)
		n.disk.hung, n.disk.healAt = true, l.step+100
		writer := l.spawn("story", func(a *actor) { a.serve(n, func(s *session) { l.c.increment(s, target) }) })
		l.run(500 * time.Millisecond)
		n.stop("killed")
		l.until(healBound, "the node runs", func() bool { return running(n) && writer.ended })
		if n.manager.Applied(target.group) == before {
			l.fail("the write is not in the log; the story does not happen")
		}
		n.crash("power")
		l.until(healBound, "the node runs again", func() bool { return running(n) })
	})
}
