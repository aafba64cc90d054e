package table

import (
	"context"
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
)

func (s *System) clusterRows(ctx context.Context, _ *ViewRequest) ([][]datum.Datum, error) {
	nodes, err := s.options.Cluster.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	rows := make([][]datum.Datum, 0, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		catchup, usage := datum.Datum{}, datum.Datum{}
		if n.CatchupProgressPct != nil {
			catchup = small(*n.CatchupProgressPct)
		}
		if n.CPUUsagePercent != nil {
			usage = datum.NewFloat(float64(*n.CPUUsagePercent))
		}
		rows = append(rows, []datum.Datum{
			textValue(n.ClusterID), number(uint64(n.NodeID)), textValue(n.Role), textValue(n.Status), textValue(n.RPCAddr),
			textValue(n.APIAddr), datum.NewBool(n.IsSelf), datum.NewBool(n.IsLeader), small(n.GroupsLeading), small(n.TotalGroups),
			numberPointer(n.CurrentTerm), numberPointer(n.LastAppliedLog), numberPointer(n.LeaderLastLogIndex),
			numberPointer(n.SnapshotIndex), catchup, numberPointer(n.ReplicationLag), textPointer(n.Hostname),
			textPointer(n.Version), numberPointer(n.MemoryMB), numberPointer(n.MemoryUsageMB), usage,
			numberPointer(n.UptimeSeconds), textPointer(n.UptimeHuman), textPointer(n.OperatingSystem),
			textPointer(n.ProcessorArchitecture),
		})
	}
	return rows, nil
}

func (s *System) clusterGroupsRows(ctx context.Context, _ *ViewRequest) ([][]datum.Datum, error) {
	groups, err := s.options.Cluster.Groups(ctx)
	if err != nil {
		return nil, fmt.Errorf("groups: %w", err)
	}
	rows := make([][]datum.Datum, 0, len(groups))
	for i := range groups {
		g := &groups[i]
		vote, propose, progress := datum.Datum{}, datum.Datum{}, datum.Datum{}
		if g.ProposeMillis != nil {
			propose = datum.NewFloat(*g.ProposeMillis)
		}
		if g.SnapshotProgressPct != nil {
			progress = small(*g.SnapshotProgressPct)
		}
		if g.Vote != nil {
			vote = datum.NewString(datum.JSON, *g.Vote)
		}
		rows = append(rows, []datum.Datum{
			number(uint64(g.GroupID)), textValue(g.ClusterID), number(uint64(g.NodeID)), textValue(g.GroupType),
			numberPointer(g.CurrentTerm), vote, numberPointer(g.LastLogIndex), numberPointer(g.LastApplied),
			numberPointer(g.Snapshot), numberPointer(g.Purged), numberPointer(g.Committed), textPointer(g.State),
			numberPointer(g.CurrentLeader), numberPointer(g.MillisSinceQuorumAck),
			numberPointer(g.LagEntries), numberPointer(g.LagBytes), numberPointer(g.LagMillis), propose,
			numberPointer(g.SnapshotBytesSent), numberPointer(g.SnapshotBytesReceived), progress,
		})
	}
	return rows, nil
}

// tableDigestsRows digests every table in every group that may hold rows of it, as this node has them. A
// table without rows in a group has no row here, except a shared table, which always has one.
func (s *System) tableDigestsRows(ctx context.Context, request *ViewRequest) (rows [][]datum.Datum, err error) {
	cluster := request.Catalog.Cluster()
	if cluster == nil {
		return nil, nil
	}
	snapshot := request.Snapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	for _, t := range request.Catalog.Tables() {
		for _, group := range groupsOf(t, cluster.Shards) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			row, err := s.digestRow(snapshot, t, group)
			if err != nil {
				return nil, err
			}
			if row != nil {
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}

// groupsOf lists the groups that may hold rows of a table.
func groupsOf(t *schema.Table, shards shard.Map) []shard.GroupID {
	if t.Kind == schema.KindShared {
		return []shard.GroupID{t.Group}
	}
	groups := make([]shard.GroupID, 0, shards.UserShards)
	for n := range shards.UserShards {
		groups = append(groups, shard.UserShard(n))
	}
	return groups
}

func (s *System) digestRow(reader storage.Reader, t *schema.Table, group shard.GroupID) ([]datum.Datum, error) {
	count, digest, err := rowvalue.TableDigest(reader, group, t.ID)
	if err != nil {
		return nil, fmt.Errorf("digest of %s in %s: %w", t.FullName(), group, err)
	}
	if count == 0 && t.Kind != schema.KindShared {
		return nil, nil
	}
	applied := datum.Datum{}
	if s.options.AppliedIndex != nil {
		index, err := s.options.AppliedIndex(reader, group)
		if err != nil {
			return nil, fmt.Errorf("applied index of %s: %w", group, err)
		}
		applied = number(index)
	}
	return []datum.Datum{
		textValue(t.Namespace), textValue(t.Name), number(uint64(t.ID)), number(uint64(group)), number(uint64(s.options.Node)),
		applied, number(count), textValue(fmt.Sprintf("%016x", digest)),
	}, nil
}
