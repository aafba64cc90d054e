package schemachange

import (
	"context"
	"fmt"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Elsewhere has every other node look through its rows of a node-local table, as LookThrough does, and returns what they found. It fails with
// fault.Unavailable when one of them does not answer: what it has may forbid the change.
type Elsewhere func(ctx context.Context, table ident.TableID, revision uint32) (withoutValue []uint32, err error)

// LookThrough fences the rows that this node has of a node-local table at a revision of its descriptor, and returns the ids of the columns that
// have no value in some of them, of those that are to be NOT NULL.
func (w *Worker) LookThrough(ctx context.Context, id ident.TableID, revision uint32) (withoutValue []uint32, err error) {
	if _, err = w.Executor.Barrier(ctx, shard.Meta); err != nil {
		return nil, err
	}
	table, ok := w.Catalog.Current().TableByID(id)
	if !ok || table.Revision != revision || !table.NodeLocal() {
		return nil, fault.New(fault.Altered, "table %d was altered meanwhile", id)
	}
	if err = w.fence(ctx, shard.Local, table); err != nil {
		return nil, err
	}
	if _, err = w.Executor.Barrier(ctx, shard.Local); err != nil {
		return nil, err
	}
	for i := range table.Columns {
		if table.Columns[i].Proof == schema.ProofDone {
			continue
		}
		found, err := w.hasNull(shard.Local, table, i)
		if err != nil {
			return nil, err
		}
		if found {
			withoutValue = append(withoutValue, table.Columns[i].ID)
		}
	}
	return withoutValue, nil
}

// everywhere is work for a node-local table: its rows are gone through on every node, and those of any node can forbid the change.
func (w *Worker) everywhere(ctx context.Context, table *schema.Table) (next *schema.Table, forbidden, err error) {
	found, err := w.LookThrough(ctx, table.ID, table.Revision)
	if err == nil && len(found) == 0 && w.Elsewhere != nil {
		found, err = w.Elsewhere(ctx, table.ID, table.Revision)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("change %s: %w", table.FullName(), err)
	}
	next = table.Clone()
	if len(found) == 0 {
		finish(next)
		return next, nil, nil
	}
	position := slices.IndexFunc(next.Columns, func(c schema.Column) bool { return c.ID == found[0] && c.Proof != schema.ProofDone })
	if position < 0 {
		return nil, nil, fmt.Errorf("change %s: a node found a row without a value in column %d, which was not asked for", table.FullName(), found[0])
	}
	return next, takeBack(next, position), nil
}
