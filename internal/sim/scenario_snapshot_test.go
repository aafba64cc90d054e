package sim

import (
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
)

// TestInterruptedSnapshotsGoOn breaks every snapshot that a node gets after some of its chunks, restarts the receiver
// or the senders in between, lets others write meanwhile, and lets the node catch up in the end: it goes on with what
// it has, and every digest is right.
func TestInterruptedSnapshotsGoOn(t *testing.T) {
	small := func(o *options) { o.retain, o.chunkBytes = 5, 200 }
	for _, restart := range []string{"nobody", "receiver", "senders"} {
		t.Run(restart, func(t *testing.T) {
			scenario(t, 3, small, func(l *lab) {
				late := l.nodes[2]
				l.count(l.nodes[0], 20)
				l.kill(late)
				for range 4 {
					l.count(l.nodes[0], 60)
					l.settle(l.nodes[:2]...)
				}
				chunks, most, broken := 0, 4, 0
				l.network.SetCallFault(func(c *transport.Call) transport.CallVerdict {
					if c.Kind != transport.CallSnapshotChunk || l.nodeAt(c.ToAddress) != late {
						return l.plan.call(c)
					}
					if chunks++; chunks%most == 0 {
						broken++
						return transport.LoseRequest
					}
					return l.plan.call(c)
				})
				l.release(late)
				for range 3 {
					l.run(2 * time.Second)
					l.count(l.nodes[0], 10)
					switch restart {
					case "receiver":
						late.crash("story")
						l.run(6 * time.Second)
					case "senders":
						for _, n := range l.nodes[:2] {
							n.stop("story")
							l.run(6 * time.Second)
						}
					}
					most += 20
				}
				l.network.SetCallFault(l.plan.call)
				l.whole()
				if broken == 0 || l.stats.resumed == 0 {
					l.fail("%d snapshots were broken, %d went on: the story does not happen", broken, l.stats.resumed)
				}
				for _, g := range l.groups {
					l.oracle.digest(l.nodes[0], g)
					l.oracle.digest(late, g)
				}
			})
		})
	}
}

// TestCrashesWithWritesUnderWay lets workers run ahead of their logs by several writes and cuts the power again and
// again, of the leader and of all nodes at once: what was acknowledged is there.
func TestCrashesWithWritesUnderWay(t *testing.T) {
	ahead := func(o *options) { o.logWrites, o.workers = 3, 2 }
	scenario(t, 3, ahead, func(l *lab) {
		l.c.begin()
		for round := range 6 {
			l.run(time.Second)
			if n := l.leader(l.counter(0).group); n != nil && round%2 == 0 {
				n.crash("story")
			} else {
				for _, n := range l.nodes {
					n.crash("story")
				}
			}
			l.run(6 * time.Second)
		}
	})
}
