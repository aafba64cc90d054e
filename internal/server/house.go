package server

import (
	"context"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// housePeriod is the time between two rounds of periodic work.
const housePeriod = time.Second

// keepHouse runs the node's periodic work until the context ends.
func (n *Node) keepHouse(ctx context.Context) {
	for ctx.Err() == nil {
		n.sampleHistory()
		n.sql.Tend()
		n.gossip.refresh(ctx)
		n.noticeRemoval()
		n.keepDrained(ctx)
		n.finishRepair(ctx)
		n.pause(ctx, housePeriod)
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
