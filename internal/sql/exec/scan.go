package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// cancelInterval is the number of rows after which a scan looks whether its context has ended.
const cancelInterval = 256

// scanOperator reads a stored table.
type scanOperator struct {
	cursor    *table.Cursor
	eval      *expr.EvalContext
	condition expr.Expr // nil for all rows
	row       []datum.Datum
	rows      int // read so far

	limits []numberLimit // what the condition says of columns
	byRows bool          // no rows are taken as columns
	batch  *scanBatch    // nil before the first rows were
	tryAt  int           // rows after which some are taken
}

func (r *run) openScan(n *plan.Scan) (operator, error) {
	var at *location
	var err error
	r.profile.call(r.profile.of(n), func() { at, err = r.locate(n) })
	if err != nil {
		return nil, err
	}
	return r.openAt(n, at)
}

// openAt reads the rows where they were located.
func (r *run) openAt(n *plan.Scan, at *location) (operator, error) {
	if r.profile == nil {
		return r.startAt(n, at)
	}
	r.profile.of(n).way = wayOf(at.stored())
	return r.profile.measure(n, func() (operator, error) { return r.startAt(n, at) })
}

func (r *run) startAt(n *plan.Scan, at *location) (operator, error) {
	if r.tx != nil {
		return r.openInside(n, at)
	}
	return r.openStored(n, &at.scope, at.stored())
}

// openScanWithin reads the rows within bounds, which may be narrower than what the condition implies.
func (r *run) openScanWithin(n *plan.Scan, bounds table.Bounds) (operator, error) {
	scope, err := r.scopeOf(n.Table)
	if err != nil {
		return nil, err
	}
	return r.openAt(n, &location{scope: scope, bounds: bounds})
}

// openStored starts a scan of what the store holds.
func (r *run) openStored(n *plan.Scan, scope *table.Scope, bounds *table.Bounds) (operator, error) {
	var reader storage.Reader = r.engine.deps.Storage
	if r.tx != nil || r.snapshot != nil || !bounds.IsPoint() {
		// One key is read atomically; anything more needs one picture of the store.
		reader = r.openSnapshot()
	}
	limits := r.rulesOut(n, bounds)
	cursor, err := table.Open(reader, *scope, *bounds, table.ScanOptions{
		Decoder: n.Decoder, IncludeDeleted: n.IncludeDeleted, OmitSystem: !n.ReadsSystem(), NowMicros: r.eval.Env.NowMicros,
		SkipSeq: n.Needed != nil && !n.Needed[len(n.Table.Columns)], Unwanted: limits.unwanted(),
		Memory: r.budget.takeBytes,
	})
	if err != nil {
		return nil, err
	}
	o := &scanOperator{
		cursor: cursor, eval: r.eval, condition: expr.Prepare(n.Condition, r.eval), row: make([]datum.Datum, n.Width()),
		byRows: !cursor.HasColumns(), tryAt: batchAfter,
	}
	if !o.byRows {
		o.limits = limits.numbers()
	}
	return o, nil
}

func (o *scanOperator) next(ctx context.Context) ([]datum.Datum, error) {
	for {
		if o.rows++; o.rows%cancelInterval == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		ok, err := o.read(ctx)
		if !ok || err != nil {
			return nil, err
		}
		if o.condition == nil {
			return o.row, nil
		}
		keep, err := expr.Test(o.condition, o.eval, o.row)
		if err != nil {
			return nil, err
		}
		if keep {
			return o.row, nil
		}
	}
}

// read fills the row with the next one, or the next one that may meet the condition.
func (o *scanOperator) read(ctx context.Context) (bool, error) {
	for !o.byRows {
		if o.batch != nil && o.giveBatch() {
			return true, nil
		}
		if o.rows < o.tryAt {
			break
		}
		if o.batch == nil {
			o.batch = &scanBatch{columns: make([]datum.Column, len(o.row)), limits: o.limits}
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		taken, err := o.takeBatch()
		if err != nil {
			return false, err
		}
		if !taken {
			o.tryAt = o.rows + batchAfter
		}
	}
	return o.cursor.Next(o.row)
}

func (o *scanOperator) close() error { return o.cursor.Close() }

// rowsOperator gives rows that are in memory.
type rowsOperator struct {
	rows   [][]datum.Datum
	closes operator // closed with it; may be nil
	given  int
}

func (o *rowsOperator) next(ctx context.Context) ([]datum.Datum, error) {
	if len(o.rows) == 0 {
		return nil, nil
	}
	if o.given++; o.given%cancelInterval == 0 && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	row := o.rows[0]
	o.rows = o.rows[1:]
	return row, nil
}

func (o *rowsOperator) close() error {
	if o.closes == nil {
		return nil
	}
	return o.closes.close()
}

func (r *run) openView(ctx context.Context, n *plan.ViewScan) (operator, error) {
	if r.tx != nil && r.tx.ID != "" && n.View.Namespace == table.SystemNamespace {
		return nil, fault.New(fault.Unsupported, "%s cannot be read inside a transaction: it is not part of its snapshot", n.View.FullName())
	}
	rows, err := r.engine.views.Rows(ctx, n.View, &table.ViewRequest{
		Catalog: r.catalog, Visible: r.canSee, Snapshot: r.engine.deps.Storage.NewSnapshot,
	})
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if err := r.budget.take(row); err != nil {
			return nil, err
		}
	}
	var op operator = &rowsOperator{rows: rows}
	if n.Condition != nil {
		op = &filterOperator{input: op, eval: r.eval, condition: expr.Prepare(n.Condition, r.eval)}
	}
	return op, nil
}
