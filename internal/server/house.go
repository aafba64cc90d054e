package server

import (
	"context"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// housePeriod is the longest time between two rounds of periodic work, and bounds its parts.
const housePeriod = time.Second

// roundPause is the pause between two rounds of questions to the members, every second of which is a full one. It lets each member be heard four
// times before its silence means that it is dead.
func (n *Node) roundPause() time.Duration {
	_, longest := n.cfg.Cluster.ElectionTimeout()
	return min(longest, housePeriod) / 2
}

// keepHouse runs the node's periodic work until the context ends. What of it waits for the disk or for other nodes keeps nobody from asking
// the members, see gossip.keepAsking.
func (n *Node) keepHouse(ctx context.Context) {
	for ctx.Err() == nil {
		n.sampleHistory()
		n.tendLocal(ctx)
		n.sql.Tend()
		n.gossip.usage.measure(n.clock.Now())
		n.noticeRemoval()
		n.ways.keep(addressBook{n}.member)
		n.raiseLogFormat(ctx)
		n.keepDrained(ctx)
		n.finishRepair(ctx)
		n.memory.tend(n.live.sockets.Opened(), n.clock.Now())
		n.pause(ctx, 2*n.roundPause())
	}
}

// remember starts the record of how far the groups had come, for requests that are repeated.
func (n *Node) remember(applied func(shard.GroupID) uint64) *executor.History {
	history := executor.NewHistory(n.clock, n.who().Shards.Groups(), applied)
	n.mu.Lock()
	n.history = history
	n.mu.Unlock()
	return history
}

func (n *Node) sampleHistory() {
	n.mu.Lock()
	history := n.history
	n.mu.Unlock()
	history.Sample()
}
