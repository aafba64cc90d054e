package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// eachRow hands every row that a statement changes to visit, which must not keep it.
type eachRow func(visit func(row []datum.Datum) error) error

// changedRows starts the write set of an UPDATE or DELETE and says how to go through its rows: those of a scan, or of a join.
func (r *run) changedRows(ctx context.Context, scan *plan.Scan, joined *plan.Joined, sources []*plan.Scan) (*writeSet, eachRow, error) {
	if joined != nil {
		return r.changedJoin(ctx, scan, joined, sources)
	}
	set, at, err := r.changedScan(ctx, scan, sources)
	if err != nil {
		return nil, nil, err
	}
	return set, func(visit func([]datum.Datum) error) error { return r.eachAt(ctx, scan, at, visit) }, nil
}

// changedJoin is changedRows for a join. The statement depends on all rows of all tables that it reads, its own among them.
func (r *run) changedJoin(ctx context.Context, scan *plan.Scan, joined *plan.Joined, sources []*plan.Scan) (*writeSet, eachRow, error) {
	if err := r.barrier(ctx, sources); err != nil {
		return nil, nil, err
	}
	scope, err := r.scopeOf(scan.Table)
	if err != nil {
		return nil, nil, err
	}
	set, err := r.newWriteSet(scope)
	if err != nil {
		return nil, nil, err
	}
	if err = set.expectSources(sources); err != nil {
		return nil, nil, err
	}
	return set, func(visit func([]datum.Datum) error) error {
		seen := map[string]struct{}{} // the keys of rows that were changed
		return r.each(ctx, joined.Root, func(row []datum.Datum) error {
			key := datum.AppendKey(nil, row[set.key])
			if _, again := seen[string(key)]; again {
				return nil
			}
			seen[string(key)] = struct{}{}
			if err := r.budget.takeBytes(int64(len(key)) + groupBytes); err != nil {
				return err
			}
			return visit(row)
		})
	}, nil
}
