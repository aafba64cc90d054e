package exec

import (
	"context"
	"slices"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// maxRetainSeconds keeps the microseconds within 63 bits; apply has a bound of its own.
const maxRetainSeconds = 1 << 40

// retainChanges tells data groups how much of their changes to keep for cursors. Each group has its bounds in its own
// log, so a group that could not be told is an outcome of its own, and the statement is repeated for it. The node-local
// group is that of the node that is asked; it is told when it is named.
func (e *Engine) retainChanges(ctx context.Context, caller session.Session, statement *parse.Cluster) (Result, error) {
	cluster := e.deps.Catalog.Current().Cluster()
	if cluster == nil {
		return Result{}, fault.New(fault.Unavailable, "the cluster is not founded yet; try again")
	}
	if statement.Retain.Seconds > maxRetainSeconds {
		return Result{}, fault.New(fault.InvalidStatement, "changes cannot be kept for %d seconds", statement.Retain.Seconds)
	}
	all := slices.DeleteFunc(cluster.Shards.Groups(), func(id shard.GroupID) bool { return id.Class() == shard.ClassMeta })
	order := ClusterOrder{Action: statement.Action, Groups: all}
	if statement.Groups != nil {
		order.Groups = nil
	}
	for _, number := range statement.Groups {
		id := shard.GroupID(max(number, 0))
		if id != shard.Local && !slices.Contains(all, id) {
			return Result{}, fault.New(fault.InvalidStatement, "group %d has no changes; system.change_logs lists the groups that have", number)
		}
		order.Groups = append(order.Groups, id)
	}
	outcomes := make([]ClusterOutcome, len(order.Groups))
	var telling sync.WaitGroup
	for i := range order.Groups {
		telling.Go(func() { outcomes[i] = e.retainIn(ctx, order.Groups[i], &statement.Retain) })
	}
	telling.Wait()
	return e.clusterResult(ctx, caller, statement, &order, outcomes), nil
}

func (e *Engine) retainIn(ctx context.Context, group shard.GroupID, bounds *parse.Retain) ClusterOutcome {
	outcome := ClusterOutcome{Group: &group}
	_, err := e.deps.Executor.Execute(ctx, group, &commandv1.Command{Body: &commandv1.Command_RetainChanges{
		RetainChanges: &commandv1.RetainChanges{
			Entries: uint64(bounds.Entries), Bytes: uint64(bounds.Bytes), //nolint:gosec // the parser takes no sign
			AgeMicros: bounds.Seconds * 1_000_000,
		},
	}})
	if err != nil {
		outcome.Error = err.Error()
	}
	return outcome
}
