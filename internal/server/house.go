package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// housePeriod is the time between two rounds of periodic work.
const housePeriod = time.Second

// keepHouse runs the node's periodic work until the context ends.
func (n *Node) keepHouse(ctx context.Context) {
	for ctx.Err() == nil {
		n.gossip.refresh(ctx)
		n.noticeRemoval()
		n.keepDrained(ctx)
		n.cleanUp(ctx)
		n.pause(ctx, housePeriod)
	}
}

// cleanUp removes the rows of dropped tables. The leader of the meta group does it; what it does not finish
// is still on record for its successor, and every step can be repeated.
func (n *Node) cleanUp(ctx context.Context) {
	if m := n.engine(); m != nil && m.Leader(shard.Meta) != m.Self() {
		return
	}
	current := n.catalog.Current()
	if current.Cluster() == nil {
		return
	}
	for _, cleanup := range current.Cleanups() {
		if err := n.purge(ctx, cleanup, current.Cluster().Shards); err != nil {
			n.logger.Info("a dropped table is not cleaned up yet; it is tried again", slog.String("table", cleanup.Table.FullName()), slog.Any("error", err))
			return
		}
	}
}

func (n *Node) purge(ctx context.Context, cleanup *catalog.Cleanup, shards shard.Map) error {
	table := uint64(cleanup.Table.ID)
	for _, group := range cleanup.Groups(shards) {
		_, err := n.exec.Execute(ctx, group, &commandv1.Command{Body: &commandv1.Command_PurgeTable{
			PurgeTable: &commandv1.PurgeTable{TableId: table},
		}})
		if err != nil {
			return err
		}
	}
	_, err := n.exec.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_CleanupDone{
		CleanupDone: &commandv1.CleanupDone{TableId: table},
	}})
	return err
}
