package server

import (
	"context"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// housePeriod is the time between two full rounds of periodic work.
const housePeriod = time.Second

// roundPause is the pause between two rounds of work, every second of which is a full one. It lets each member be
// heard four times before its silence means that it is dead.
func (n *Node) roundPause() time.Duration {
	_, longest := n.cfg.Cluster.ElectionTimeout()
	return min(longest, housePeriod) / 2
}

// keepHouse runs the node's periodic work until the context ends.
func (n *Node) keepHouse(ctx context.Context) {
	for round := 0; ctx.Err() == nil; round++ {
		if round%2 == 1 {
			n.gossip.refresh(ctx, false)
			n.pause(ctx, n.roundPause())
			continue
		}
		n.sampleHistory()
		n.tendLocal(ctx)
		n.sql.Tend()
		n.gossip.usage.measure(n.clock.Now())
		n.gossip.refresh(ctx, true)
		n.noticeRemoval()
		n.ways.keep(addressBook{n}.member)
		n.raiseLogFormat(ctx)
		n.keepDrained(ctx)
		n.finishRepair(ctx)
		n.memory.tend(n.live.sockets.Opened(), n.clock.Now())
		n.pause(ctx, n.roundPause())
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
