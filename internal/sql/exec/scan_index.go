package exec

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// indexLimit bounds what a scan reads of an index. One that finds more narrows little, and going through the table takes
// no memory.
var indexLimit = table.IndexLimit{Entries: 1 << 14, Bytes: 1 << 20}

// indexBounds finds the rows of a scan by its index. It returns the bounds as they are when the index cannot be used: the
// rows are the same, in the same order. Inside a transaction it is never used: an index may be younger than the snapshot,
// and what the transaction wrote is in none.
func (r *run) indexBounds(n *plan.Scan, bounds table.Bounds) (table.Bounds, error) {
	if r.tx != nil {
		return bounds, nil
	}
	spans, ok := n.IndexSpans(r.eval)
	if !ok {
		return bounds, nil
	}
	scope, err := r.scope(n.Table, n)
	if err != nil {
		return bounds, err
	}
	snapshot := r.openSnapshot()
	if ok, err = r.indexStands(n); !ok || err != nil {
		return bounds, err
	}
	found, complete, err := table.IndexKeys(snapshot, scope, n.Index.Index, spans, indexLimit)
	if !complete || err != nil {
		return bounds, err
	}
	size := int64(0)
	points := make([][]byte, 0, len(found))
	for _, key := range found {
		size += int64(len(key)) + entryBytes
		if within(key, bounds) {
			points = append(points, key)
		}
	}
	return table.Bounds{Points: points, Index: n.Index.Index.Name}, r.budget.takeBytes(size)
}

// indexStands reports whether every row of the snapshot is in the scan's index. A statement that was planned before the
// index was dropped may run after rows were written without it. Whoever wrote such rows knew the changed descriptor, so
// a catalog that is read after the snapshot was taken has it too.
func (r *run) indexStands(n *plan.Scan) (bool, error) {
	if r.state.newest == nil {
		if _, err := r.engine.deps.Executor.Barrier(r.state.ctx, shard.Meta); err != nil {
			return false, err
		}
		r.state.newest = r.engine.deps.Catalog.Current()
	}
	current, ok := r.state.newest.TableByID(n.Table.ID)
	return ok && slices.ContainsFunc(current.Indexes, func(x schema.Index) bool {
		return x.ID == n.Index.Index.ID && x.State == schema.IndexReady
	}), nil
}
