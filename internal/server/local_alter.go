package server

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schemachange"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// localLookPatience is how long another node may take to look through its node-local rows of one table.
const localLookPatience = time.Minute

// schemaChanger finishes changes of tables.
func (n *Node) schemaChanger() *schemachange.Worker {
	return &schemachange.Worker{Catalog: n.catalog, Storage: n.store, Executor: n.exec, Cold: n.cold, Elsewhere: n.localElsewhere()}
}

// localElsewhere reaches the node-local rows of the other nodes; nil when there are none.
func (n *Node) localElsewhere() schemachange.Elsewhere {
	if n.cfg.Standalone() {
		return nil
	}
	return n.lookElsewhere
}

// lookElsewhere has every other member look through its rows. One that is away makes the change wait: its rows are not known.
func (n *Node) lookElsewhere(ctx context.Context, table ident.TableID, revision uint32) (withoutValue []uint32, err error) {
	bound, cancel := context.WithTimeout(ctx, localLookPatience)
	defer cancel()
	var mu sync.Mutex // guards withoutValue and err
	var looking sync.WaitGroup
	for _, m := range liveMembers(n.catalog.Current()) {
		if m.Replica == n.self() {
			continue
		}
		looking.Go(func() {
			answer, failure := n.network.Operate(bound, m.Replica, &nodev1.OperateRequest{
				Order: nodev1.Order_ORDER_LOOK_THROUGH_LOCAL, LocalTable: &nodev1.LocalTable{TableId: uint64(table), Revision: revision},
			})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case failure != nil:
				err = fault.New(fault.Unavailable, "node %d does not answer, and its rows of a node-local table may forbid the change: %w", m.Node, failure)
			case answer.GetAltered():
				err = fault.New(fault.Altered, "node %d: %s", m.Node, answer.GetRefused())
			case answer.GetRefused() != "":
				err = fault.New(fault.Unavailable, "node %d cannot look through its rows of a node-local table: %s", m.Node, answer.GetRefused())
			default:
				withoutValue = append(withoutValue, answer.GetWithoutValue()...)
			}
		})
	}
	looking.Wait()
	if len(withoutValue) > 0 {
		return slices.Compact(slices.Sorted(slices.Values(withoutValue))), nil // whatever the others have
	}
	return nil, err
}

// lookThroughLocal looks through the rows of this node for another one.
func (n *Node) lookThroughLocal(ctx context.Context, t *nodev1.LocalTable) *nodev1.OperateResponse {
	found, err := n.schemaChanger().LookThrough(ctx, ident.TableID(t.GetTableId()), t.GetRevision())
	if err != nil {
		return &nodev1.OperateResponse{Refused: err.Error(), Altered: fault.KindOf(err) == fault.Altered}
	}
	return &nodev1.OperateResponse{WithoutValue: found}
}
