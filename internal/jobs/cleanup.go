package jobs

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Cleanup removes the rows of dropped tables: every group purges the table, and the meta group forgets it. Every
// step can be repeated.
func Cleanup(store *catalog.Store, exec executor.CommandExecutor) Kind {
	return Kind{Type: applier.JobTypeCleanup, Run: func(ctx context.Context, work *Work) error {
		var parameters applier.CleanupParameters
		if err := json.Unmarshal([]byte(work.Job.GetParameters()), &parameters); err != nil {
			return Permanent(fmt.Errorf("parameters: %w", err))
		}
		// The job was made by the drop, so a store that is current has the record until it is purged.
		if _, err := exec.Barrier(ctx, shard.Meta); err != nil {
			return err
		}
		current := store.Current()
		for _, cleanup := range current.Cleanups() {
			if uint64(cleanup.Table.ID) == parameters.Table {
				return purge(ctx, exec, cleanup, current.Cluster().Shards, work)
			}
		}
		return fmt.Errorf("%w: the rows are gone", ErrNothingToDo)
	}}
}

func purge(ctx context.Context, exec executor.CommandExecutor, cleanup *catalog.Cleanup, shards shard.Map, work *Work) error {
	table, groups := uint64(cleanup.Table.ID), cleanup.Groups(shards)
	for i, group := range groups {
		_, err := exec.Execute(ctx, group, &commandv1.Command{Body: &commandv1.Command_PurgeTable{
			PurgeTable: &commandv1.PurgeTable{TableId: table},
		}})
		if err != nil {
			return fmt.Errorf("purge %s from %s: %w", cleanup.Table.FullName(), group, err)
		}
		work.Report(uint32(100*(i+1)/len(groups)), fmt.Sprintf("purged %d of %d groups", i+1, len(groups))) //nolint:gosec // a percentage
	}
	_, err := exec.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_CleanupDone{
		CleanupDone: &commandv1.CleanupDone{TableId: table},
	}})
	if err != nil {
		return fmt.Errorf("forget %s: %w", cleanup.Table.FullName(), err)
	}
	work.Report(100, "removed the rows of "+cleanup.Table.FullName())
	return nil
}
