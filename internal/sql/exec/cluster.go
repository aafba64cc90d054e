package exec

import (
	"context"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
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

// cluster runs a CLUSTER statement.
func (e *Engine) cluster(ctx context.Context, caller session.Session, statement *parse.Cluster) (Result, error) {
	if statement.Action == parse.ClusterRetain {
		return e.retainChanges(ctx, caller, statement)
	}
	if e.deps.Admin == nil {
		return Result{}, fault.New(fault.InvalidStatement, "this node runs alone, without a cluster")
	}
	order := ClusterOrder{
		Action: statement.Action, Node: ident.NodeID(max(statement.Node, 0)), DryRun: statement.DryRun,
		RPCAddr: statement.RPCAddress, APIAddr: statement.APIAddress,
		Upto: uint64(max(statement.Upto, 0)),
	}
	for _, group := range statement.Groups {
		order.Groups = append(order.Groups, shard.GroupID(max(group, 0)))
	}
	outcomes, err := e.deps.Admin.Operate(ctx, order)
	if err != nil {
		return Result{}, err
	}
	return e.clusterResult(ctx, caller, statement, &order, outcomes), nil
}

// clusterResult is the answer to a CLUSTER statement that was carried out, and what the audit log says of it.
func (e *Engine) clusterResult(
	ctx context.Context, caller session.Session, statement *parse.Cluster, order *ClusterOrder, outcomes []ClusterOutcome,
) Result {
	action := clusterAction(statement)
	e.recordCluster(ctx, caller, action, order, outcomes)
	result := Result{Columns: plan.ClusterColumns(), HasRows: true, Rows: [][]datum.Datum{}, AsUser: caller.User}
	for i := range outcomes {
		result.Rows = append(result.Rows, outcomes[i].row(action))
	}
	result.RowCount = len(result.Rows)
	return result
}

// clusterAction names an action in lower case, with underscores.
func clusterAction(statement *parse.Cluster) string {
	words := parse.Print(&parse.Cluster{Action: statement.Action})
	words = strings.TrimPrefix(words, "CLUSTER ")
	switch statement.Action { //nolint:exhaustive // the others print as their words
	case parse.ClusterPurge:
		words = "PURGE"
	case parse.ClusterRetain:
		words = "RETAIN CHANGES"
	case parse.ClusterTransferLeader:
		words = "TRANSFER LEADER"
	case parse.ClusterJoin:
		words = "JOIN"
	}
	return strings.ReplaceAll(strings.ToLower(words), " ", "_")
}

func (o *ClusterOutcome) row(action string) []datum.Datum {
	return []datum.Datum{
		datum.NewText(action), bigInt(o.Group), datum.NewBool(o.Error == ""), text(o.Error), bigInt(o.SnapshotIndex),
		bigInt(o.Target), bigInt(o.Upto), textOf(o.SnapshotsDir),
	}
}

// bigInt is NULL for nil.
func bigInt[T ~uint64](v *T) datum.Datum {
	if v == nil {
		return datum.Datum{}
	}
	return datum.NewBigInt(int64(*v))
}

// text is NULL for nothing.
func text(v string) datum.Datum {
	if v == "" {
		return datum.Datum{}
	}
	return datum.NewText(v)
}

func textOf(v *string) datum.Datum {
	if v == nil {
		return datum.Datum{}
	}
	return datum.NewText(*v)
}
