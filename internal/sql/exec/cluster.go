package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// ClusterAdmin carries out CLUSTER statements. Every order can be repeated.
type ClusterAdmin interface {
	// Operate carries out an order and says how it went in every group and node that it concerned. The
	// error is a *fault.Error when nothing was done; a failure in one group is an outcome.
	Operate(ctx context.Context, order ClusterOrder) ([]ClusterOutcome, error)
}

// ClusterOrder is one CLUSTER statement.
type ClusterOrder struct {
	Action  parse.ClusterAction
	Node    ident.NodeID    // the node that is meant; zero is the one that runs the statement
	Groups  []shard.GroupID // nil is all groups that the action concerns
	Upto    uint64          // log index, for PURGE
	DryRun  bool            // for REBALANCE: say what would move, move nothing
	RPCAddr string          // for JOIN
	APIAddr string          // for JOIN
}

// ClusterOutcome is one row of the answer to a CLUSTER statement. Pointers are nil for what does not apply,
// which is shown as NULL.
type ClusterOutcome struct {
	Group         *shard.GroupID
	Error         string // empty on success
	SnapshotIndex *uint64
	Target        *ident.NodeID // the node that leads afterwards, or that the row is about
	Upto          *uint64
	SnapshotsDir  *string
}
