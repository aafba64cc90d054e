package exec

import (
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// indexLimit bounds what a scan reads of an index. One that finds more narrows little, and going through the table takes
// no memory.
var indexLimit = table.IndexLimit{Entries: 1 << 14, Bytes: 1 << 20}

// fewEntries are so few that reading them by an index costs nothing worth a thought.
var fewEntries = table.IndexLimit{Entries: 256, Bytes: 64 << 10}

// rowsPerEntry is how many rows a scan goes through in the time in which one is read by an index, about.
const rowsPerEntry = 16

// worthReading is the number of entries beyond which it costs less to go through the rows of a scan than to read them one by
// one. A change, or a transaction, that goes through rows depends on them all, so it bears more entries.
func (r *run) worthReading(n *plan.Scan, at *location) (int, error) {
	if r.tx != nil || r.changes == n {
		return indexLimit.Entries, nil
	}
	rows, err := r.engine.statistics.rows(r.engine, &at.scope)
	return int(min(rows/rowsPerEntry, int64(indexLimit.Entries))), err
}

// location says where the rows of a scan are.
type location struct {
	scope  table.Scope
	bounds table.Bounds // of the primary key, as the condition implies
	// byIndex narrows them further; nil when the rows are gone through by their key.
	byIndex *indexRead
}

// indexRead is what was read of an index.
type indexRead struct {
	index   *schema.Index
	spans   []table.Span
	entries []uint32 // of each span
	points  [][]byte // the primary keys that they point to, within the bounds of the key
}

// stored are the bounds of what is read of the store.
func (l *location) stored() *table.Bounds {
	if l.byIndex == nil {
		return &l.bounds
	}
	return &table.Bounds{Points: l.byIndex.points, Index: l.byIndex.index.Name}
}

// locate finds where the rows of a scan are, by an index if there is one for it.
func (r *run) locate(n *plan.Scan) (at *location, err error) {
	at = &location{}
	if at.scope, err = r.scopeOf(n.Table); err != nil {
		return nil, err
	}
	if at.bounds, err = n.Bounds(r.eval); err != nil || n.Index == nil || at.bounds.Points != nil {
		return at, err
	}
	spans, ok := n.Index.Spans(n, r.eval)
	if !ok {
		return at, nil
	}
	at.byIndex, err = r.readIndex(n, at, n.Index.Index, spans)
	return at, err
}

// readIndex finds the rows of spans of an index. It returns nil when the index cannot be used: the rows are the same, in
// the same order. Inside a transaction what was read must not change before the commit.
func (r *run) readIndex(n *plan.Scan, at *location, x *schema.Index, spans []table.Span) (*indexRead, error) {
	snapshot := r.openSnapshot()
	if ok, err := r.indexStands(n.Table, x); !ok || err != nil {
		return nil, err
	}
	found, entries, complete, err := table.IndexKeys(snapshot, at.scope, x, spans, fewEntries)
	if err == nil && !complete {
		limit := indexLimit
		if limit.Entries, err = r.worthReading(n, at); err == nil && limit.Entries > fewEntries.Entries {
			found, entries, complete, err = table.IndexKeys(snapshot, at.scope, x, spans, limit)
		}
	}
	if !complete || err != nil {
		return nil, err
	}
	if r.tx != nil {
		if ok, failure := r.tx.ReadIndex(&at.scope, x, spans, entries); !ok || failure != nil {
			return nil, failure
		}
	}
	size := int64(0)
	read := &indexRead{index: x, spans: spans, entries: entries, points: make([][]byte, 0, len(found))}
	for _, key := range found {
		size += int64(len(key)) + entryBytes
		if within(key, at.bounds) {
			read.points = append(read.points, key)
		}
	}
	return read, r.budget.takeBytes(size)
}

// indexStands reports whether every row of the snapshot is in an index. A statement that was planned before the index was
// dropped may run after rows were written without it. Whoever wrote such rows knew the changed descriptor, so a catalog
// that is read after the snapshot was taken has it too. The snapshot of a transaction may be older than the index as well;
// then the catalog from before it has none, or one that is not ready. A picture that a caller holds, and rows that are
// read weakly, may be older or younger than any catalog that can be had: no index is read there.
func (r *run) indexStands(t *schema.Table, x *schema.Index) (bool, error) {
	if weak, ok := r.engine.deps.Executor.(executor.WeakReader); r.state.held || ok && r.tx == nil && weak.Weak(r.state.ctx) {
		return false, nil
	}
	newest, err := r.newestCatalog()
	return err == nil && isReady(newest, t, x) && (r.tx == nil || isReady(r.tx.Before, t, x)), err
}

// newestCatalog is the catalog of some time after the snapshot was taken.
func (r *run) newestCatalog() (*catalog.Catalog, error) {
	newest := &r.state.newest
	if r.tx != nil {
		newest = &r.tx.After
	}
	if *newest == nil {
		if _, err := r.engine.deps.Executor.Barrier(r.state.ctx, shard.Meta); err != nil {
			return nil, err
		}
		*newest = r.engine.deps.Catalog.Current()
	}
	return *newest, nil
}

// isReady reports whether an index is ready in a catalog.
func isReady(c *catalog.Catalog, t *schema.Table, x *schema.Index) bool {
	current, ok := c.TableByID(t.ID)
	return ok && slices.ContainsFunc(current.Indexes, func(there schema.Index) bool {
		return there.ID == x.ID && there.State == schema.IndexReady
	})
}
