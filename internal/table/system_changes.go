package table

import (
	"context"
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// changeViews declares the view of the changes that groups keep for cursors, as the node that is asked has them.
func changeViews() []viewDefinition {
	return []viewDefinition{{SystemNamespace, "change_logs", (*System).changeLogRows, []viewColumn{
		bigInt("group_id"), bigInt("node_id"), bigInt("retain_entries"), bigInt("retain_bytes"), bigInt("retain_seconds"),
		bigInt("entries"), bigInt("bytes"), orNull(timestamp("oldest_at")), bigInt("oldest_cursor"), bigInt("newest_cursor"),
	}}}
}

func (s *System) changeLogRows(ctx context.Context, request *ViewRequest) (rows [][]datum.Datum, err error) {
	cluster := request.Catalog.Cluster()
	if cluster == nil {
		return nil, nil
	}
	snapshot := request.Snapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	// The node-local group is in no shard map: each node has its own.
	for _, group := range append(cluster.Shards.Groups(), shard.Local) {
		if group.Class() == shard.ClassMeta {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		state, err := changelog.Describe(snapshot, group)
		if err != nil {
			return nil, err
		}
		oldest := datum.Datum{}
		if state.Kept.Entries > 0 {
			oldest = instant(state.OldestMicros)
		}
		rows = append(rows, []datum.Datum{
			number(uint64(group)), number(uint64(s.options.Node)), number(state.Retention.Entries), number(state.Retention.Bytes),
			number(state.Retention.AgeMicros / 1_000_000), number(state.Kept.Entries), number(state.Kept.Bytes), oldest,
			number(state.Floor), number(state.Newest),
		})
	}
	return rows, nil
}
