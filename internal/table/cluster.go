package table

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// ClusterView tells the system views what this node knows of its cluster. A call may ask the members that are alive
// and waits for them for a fraction of a second. An error is a fault of this node and fails the statement.
type ClusterView interface {
	// Nodes lists the members of the cluster, this node included, in ascending node id.
	Nodes(ctx context.Context) ([]ClusterNode, error)
	// Groups lists the replicas of all members, in ascending group id and node id.
	Groups(ctx context.Context) ([]ClusterGroup, error)
}

// ClusterNode is one row of system.cluster. Pointers are nil for what this node cannot know, which is
// shown as NULL.
type ClusterNode struct {
	ClusterID             string
	NodeID                ident.NodeID
	Role                  string // leader, follower, observer, learner or candidate, of the meta group
	Status                string // active, joining, offline, removed
	RPCAddr               string
	APIAddr               string
	IsSelf                bool
	IsLeader              bool // leads the meta group
	GroupsLeading         int32
	TotalGroups           int32
	CurrentTerm           *uint64
	LastAppliedLog        *uint64
	LeaderLastLogIndex    *uint64
	SnapshotIndex         *uint64
	CatchupProgressPct    *int32
	ReplicationLag        *uint64
	Hostname              *string
	Version               *string
	MemoryMB              *int64
	MemoryUsageMB         *int64
	CPUUsagePercent       *float32
	UptimeSeconds         *int64
	UptimeHuman           *string
	OperatingSystem       *string
	ProcessorArchitecture *string
}

// ClusterGroup is one row of system.cluster_groups: one replica of one member. Pointers are nil for what
// is not known, which is shown as NULL.
type ClusterGroup struct {
	GroupID              shard.GroupID
	ClusterID            string
	NodeID               ident.NodeID
	GroupType            string // meta, user_data or shared_data
	CurrentTerm          *uint64
	Vote                 *string // JSON text
	LastLogIndex         *uint64
	LastApplied          *uint64
	Snapshot             *uint64
	Purged               *uint64
	Committed            *uint64
	State                *string // leader, follower, candidate, observer, learner, outside or offline
	CurrentLeader        *ident.NodeID
	MillisSinceQuorumAck *int64

	// How far the replica is behind what any member has committed; of a member that is not heard of, the entries that its
	// leader does not know it to have.
	LagEntries, LagBytes, LagMillis          *uint64
	ProposeMillis                            *float64 // about what the latest proposals to this replica took
	SnapshotBytesSent, SnapshotBytesReceived *uint64  // since the start of the node
	SnapshotProgressPct                      *int32   // of a snapshot on its way
}
