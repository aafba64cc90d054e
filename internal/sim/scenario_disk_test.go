package sim

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// electionBound is two of the longest election timeouts of the most patient group.
const electionBound = 2 * 30 * tickTime

// ledByOthers reports whether a node that is not n leads each group in its newest term.
func (l *lab) ledByOthers(n *simNode) bool {
	for _, g := range l.groups {
		led := false
		for _, other := range l.others(n) {
			led = led || running(other) && other.manager.Glance(g).Leading
		}
		if !led {
			return false
		}
	}
	return true
}

// TestHangingSyncMovesLeadership lets a sync of the leader of all groups not return: others lead within two election
// timeouts, nothing that waits for that sync is acknowledged, and what is committed is still applied. Once the disk
// answers, the same process goes on.
func TestHangingSyncMovesLeadership(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		n := l.nodes[1]
		l.lead(n)
		l.count(n, 10)
		life := n.life
		n.disk.hung, n.disk.healAt = true, 1<<40
		early := false
		a := l.spawn("writer", func(a *actor) {
			a.serve(n, func(s *session) {
				l.c.increment(s, l.counter(0))
				early = n.disk.hung && s.n == n && l.leader(l.counter(0).group) == n
			})
		})
		l.until(electionBound, "others lead all groups", func() bool { return l.ledByOthers(n) })
		if !n.stall.waiting {
			l.fail("node %d does not wait for its disk; the story does not happen", n.id)
		}
		l.count(l.others(n)[0], 10)
		n.healDisk()
		l.until(healBound, "the writer is answered", func() bool { return a.ended })
		if early || n.life != life {
			l.fail("answered before the disk: %v; the process is the same: %v", early, n.life == life)
		}
		l.whole()
		l.count(n, 5)
	})
}

// TestHangingDiskEndsTheProcess lets a sync hang for longer than the watchdog allows.
func TestHangingDiskEndsTheProcess(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		n := l.nodes[2]
		l.lead(n)
		life := n.life
		n.disk.hung, n.disk.healAt = true, l.step+int(20*time.Second/stepTime)
		a := l.spawn("writer", func(a *actor) { a.serve(n, func(s *session) { l.c.increment(s, l.counter(0)) }) })
		defer a.end()
		l.until(hangLimit+2*time.Second, "the process ends", func() bool { return n.life != life && !n.up })
		l.count(l.nodes[0], 10)
		if n.up {
			l.fail("node %d starts on a disk that hangs", n.id)
		}
		l.whole()
		l.count(n, 5)
	})
}

// TestSlowDiskOnlyDelays gives the leader, and then all nodes, syncs of 60 ms: every write is acknowledged, and nobody
// loses a leadership.
func TestSlowDiskOnlyDelays(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		n := l.nodes[0]
		l.lead(n)
		for _, slow := range [][]*simNode{{n}, l.nodes} {
			for _, each := range slow {
				each.disk.latency, each.disk.healAt = 60*time.Millisecond, 1<<40
			}
			terms := make(map[shard.GroupID]uint64)
			for _, g := range l.groups {
				terms[g] = n.manager.Glance(g).Term
			}
			stalls := l.stats.stalls
			l.count(l.nodes[1], 20)
			if l.stats.stalls < stalls+10 {
				l.fail("%d syncs were slow; the story does not happen", l.stats.stalls-stalls)
			}
			for _, g := range l.groups {
				if seen := n.manager.Glance(g); !seen.Leading || seen.Term != terms[g] {
					l.fail("a slow disk cost node %d the leadership of %s", n.id, g)
				}
			}
		}
	})
}

// TestNearlyFullDiskTakesDeletes leaves hardly any room at all nodes: what adds is refused with a clear error, deleting
// and reading go on, and adding too once there is room.
func TestNearlyFullDiskTakesDeletes(t *testing.T) {
	scenario(t, 3, nil, func(l *lab) {
		n := l.nodes[0]
		l.lead(n)
		target := l.c.privateCell(l.c.users[1], "room")
		write := func(text string, deleted bool) (r result) {
			l.do(l.nodes[1], func(s *session) {
				r = s.write([]cell{target}, []*commandv1.RowWrite{target.write(text, deleted, commandv1.Expect_EXPECT_ANY, 0)})
			})
			return r
		}
		if r := write("before", false); r.outcome != succeeded {
			l.fail("before: %v", r.err)
		}
		for _, each := range l.nodes {
			each.fillDisk(false, true, 1<<40)
		}
		l.run(2 * tickTime)
		if r := write("more", false); r.outcome != never || r.kind != fault.DiskFull {
			l.fail("a write to a disk that is nearly full: outcome %d, %v", r.outcome, r.err)
		}
		if r := write("", true); r.outcome != succeeded {
			l.fail("a deletion on a disk that is nearly full: %v", r.err)
		}
		l.do(n, func(s *session) {
			if found, _, ok := s.read(target); !ok || !found[0].deleted {
				l.fail("a read on a disk that is nearly full: %v %+v", ok, found)
			}
		})
		for _, each := range l.nodes {
			each.healDisk()
		}
		l.run(2 * tickTime)
		if r := write("after", false); r.outcome != succeeded {
			l.fail("with room again: %v", r.err)
		}
	})
}

// TestLeadershipsLeaveANearlyFullDisk leaves hardly any room at one node, which leads everything: the others lead, and what
// adds is written.
func TestLeadershipsLeaveANearlyFullDisk(t *testing.T) {
	scenario(t, 3, func(o *options) { o.noBalance = false }, func(l *lab) {
		n := l.nodes[0]
		n.fillDisk(false, true, 1<<40)
		l.until(20*time.Second, "the node with hardly any room leads nothing", func() bool {
			return !slices.ContainsFunc(l.groups, func(g shard.GroupID) bool { return n.manager.Glance(g).Leading })
		})
		target := l.c.privateCell(l.c.users[1], "room")
		l.do(n, func(s *session) {
			r := s.write([]cell{target}, []*commandv1.RowWrite{target.write("elsewhere", false, commandv1.Expect_EXPECT_ANY, 0)})
			if r.outcome != succeeded {
				l.fail("with room at the new leader: %v", r.err)
			}
		})
		n.healDisk()
		l.until(20*time.Second, "the node leads again", func() bool {
			return slices.ContainsFunc(l.groups, func(g shard.GroupID) bool { return n.manager.Glance(g).Leading })
		})
	})
}

// TestFullDiskStandsStillAndGoesOn takes all room from the leader of all groups while its log and its store need some:
// others lead once its log has none, nothing acknowledged is lost, and when there is room again the same process goes on.
func TestFullDiskStandsStillAndGoesOn(t *testing.T) {
	small := func(o *options) { o.segmentBytes, o.retain = 64<<10, 5 }
	scenario(t, 3, small, func(l *lab) {
		n := l.nodes[2]
		l.lead(n)
		l.count(n, 20)
		life := n.life
		n.fillDisk(true, false, 1<<40)
		for i := 0; !l.ledByOthers(n); i++ {
			if i == 400 {
				l.fail("node %d never runs out of room", n.id)
			}
			target := l.c.privateCell(l.c.users[i%4], "bulk"+strconv.Itoa(i))
			l.do(n, func(s *session) {
				s.write([]cell{target}, []*commandv1.RowWrite{target.write(string(make([]byte, 8<<10)), false, commandv1.Expect_EXPECT_ANY, 0)})
			})
		}
		l.count(l.others(n)[0], 20)
		if !n.up || n.life != life {
			l.fail("node %d ended because its disk is full", n.id)
		}
		n.healDisk()
		l.whole()
		if n.life != life {
			l.fail("node %d started again", n.id)
		}
		l.count(n, 5)
	})
}

// TestFullFollowerHoldsUpNobody lets a follower without room need a snapshot while another one needs one, too: the other
// one gets its own, and the full one when it has room.
func TestFullFollowerHoldsUpNobody(t *testing.T) {
	scenario(t, 5, few, func(l *lab) {
		full, late := l.nodes[1], l.nodes[2]
		l.lead(l.nodes[0])
		l.count(l.nodes[0], 10)
		full.fillDisk(true, true, 1<<40)
		l.isolate(full)
		l.kill(late)
		l.count(l.nodes[0], 60)
		l.settle(l.nodes[0], l.nodes[3], l.nodes[4])
		l.healNetwork()
		l.release(late)
		l.run(8 * time.Second)
		if l.stats.roomless == 0 || l.installed(late) == 0 {
			l.fail("%d snapshots found no room, the other node installed %d; the story does not happen", l.stats.roomless, l.installed(late))
		}
		if !full.up {
			l.fail("node %d ended because its disk is full", full.id)
		}
		l.count(l.nodes[0], 10)
		full.healDisk()
		l.whole()
		l.count(full, 5)
	})
}

// TestFailedSyncIsFinal fails one sync of the leader; what the kernel dropped then stays dropped although later syncs
// succeed. The process must end with the failed one.
func TestFailedSyncIsFinal(t *testing.T) {
	for at := range 4 {
		scenario(t, 3, nil, func(l *lab) {
			n := l.nodes[at%3]
			l.lead(n)
			l.count(n, at)
			life := n.life
			n.disk.failSync = true
			l.do(n, func(s *session) { l.c.increment(s, l.counter(0)) })
			if n.life == life {
				l.fail("node %d goes on after a failed sync", n.id)
			}
			l.run(8 * time.Second)
			l.count(n, 5)
		})
	}
}

// TestUnreadableLogEndsTheNode lets a leader's log fail to be read when a follower needs its entries.
func TestUnreadableLogEndsTheNode(t *testing.T) {
	scenario(t, 3, func(o *options) { o.cacheBytes = -1 }, func(l *lab) {
		n, late := l.nodes[0], l.nodes[1]
		l.lead(n)
		l.kill(late)
		l.count(n, 20)
		life := n.life
		n.disk.unread = true
		l.release(late)
		l.until(10*time.Second, "the node ends", func() bool { return n.life != life })
		l.run(8 * time.Second)
		l.count(n, 5)
	})
}
