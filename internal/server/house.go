package server

import (
	"context"
	"time"
)

// housePeriod is the time between two rounds of periodic work.
const housePeriod = time.Second

// keepHouse runs the node's periodic work until the context ends.
func (n *Node) keepHouse(ctx context.Context) {
	for ctx.Err() == nil {
		n.gossip.refresh(ctx)
		n.noticeRemoval()
		n.keepDrained(ctx)
		n.pause(ctx, housePeriod)
	}
}
