package exec

import (
	"bytes"
	"context"
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/table"
	"github.com/kalamdb/kalamdb-go/internal/txn"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// join makes the group of a table that of the transaction. Its first table decides; the snapshot is taken then,
// after a barrier, and stays.
func (r *run) join(ctx context.Context, group shard.GroupID) error {
	joined, begun := r.tx.Begun()
	if begun && joined != group && r.tx.ID == "" {
		return fault.New(fault.Unsupported,
			"a statement that changes rows within WITH keeps to one group: this one is in %s and the table or user is in %s; use two statements", joined, group)
	}
	if begun && joined != group {
		return fault.New(fault.Unsupported,
			"a transaction keeps to one group: this one is in %s and the table or user is in %s; use two transactions", joined, group)
	}
	if begun {
		return nil
	}
	r.tx.Before = r.catalog
	if _, err := r.engine.deps.Executor.Barrier(ctx, group); err != nil {
		return err
	}
	r.tx.Start(group, r.engine.deps.Storage.NewSnapshot())
	return nil
}

// overlaid is what the statement sees of the transaction's writes: those from before it.
func (r *run) overlaid() *txn.Writes {
	if r.before != nil {
		return r.before
	}
	return &r.tx.Writes
}

// openInside starts a scan inside a transaction: what it has written lies over what its snapshot holds, and
// what is read must not change before the commit.
func (r *run) openInside(n *plan.Scan, at *location) (operator, error) {
	scope := &at.scope
	if at.byIndex == nil { // else the transaction depends on what the index has
		if err := r.depend(scope, &at.bounds); err != nil {
			return nil, err
		}
	}
	if !r.overlaid().Touches(scope) {
		return r.openStored(n, scope, at.stored())
	}
	whole := *n
	whole.Decoder = table.NewDecoder(scope.Table, nil) // the key is needed to find the row's place
	input, err := r.openStored(&whole, scope, at.stored())
	if err != nil {
		return nil, err
	}
	written := r.overlaid().Within(scope, &at.bounds)
	held := int64(len(written)) * pointerBytes
	if err = r.budget.takeBytes(held); err != nil {
		r.budget.usedBytes -= held
		return nil, errors.Join(err, input.close())
	}
	return &overlayOperator{
		input: input, written: written, budget: r.budget, held: held, table: scope.Table, key: scope.Table.PrimaryKey(),
		decoder: whole.Decoder, includeDeleted: n.IncludeDeleted, eval: r.eval, condition: expr.Prepare(n.Condition, r.eval),
		row: make([]datum.Datum, n.Width()),
	}, nil
}

// depend notes what a scan is about to read.
func (r *run) depend(scope *table.Scope, bounds *table.Bounds) error {
	if bounds.Points != nil {
		return r.tx.ReadKeys(scope, bounds.Points)
	}
	return r.tx.ReadSpan(scope, bounds.Low, bounds.High)
}

// overlayOperator merges the stored rows of a scan with those that the transaction has written, by key.
type overlayOperator struct {
	input          operator
	written        []*commandv1.RowWrite // those that are left, ascending
	budget         *budget
	held           int64 // of the budget, for written
	table          *schema.Table
	key            int // position of the primary key
	decoder        *schema.RowDecoder
	includeDeleted bool
	eval           *expr.EvalContext
	condition      expr.Expr // of the scan; the input has applied it to its own rows

	stored    []datum.Datum // the next row of the input; nil before it was asked for and at its end
	storedKey []byte
	ended     bool
	row       []datum.Datum
}

func (o *overlayOperator) next(ctx context.Context) ([]datum.Datum, error) {
	for {
		if o.stored == nil && !o.ended {
			row, err := o.input.next(ctx)
			if err != nil {
				return nil, err
			}
			if o.stored, o.ended = row, row == nil; row != nil {
				o.storedKey = datum.AppendKey(o.storedKey[:0], row[o.key])
			}
		}
		order := o.compare()
		if order > 0 {
			if o.stored == nil {
				return nil, nil
			}
			row := o.stored
			o.stored = nil
			return row, nil
		}
		if order == 0 {
			o.stored = nil // the transaction has written over it
		}
		write := o.written[0]
		o.written = o.written[1:]
		visible, err := o.show(write)
		if err != nil {
			return nil, err
		}
		if visible {
			return o.row, nil
		}
	}
}

// compare tells whether what was written comes first (negative), takes the place of the stored row (zero), or
// is not next (positive).
func (o *overlayOperator) compare() int {
	switch {
	case len(o.written) == 0:
		return 1
	case o.stored == nil:
		return -1
	}
	return bytes.Compare(o.written[0].GetPrimaryKey(), o.storedKey)
}

// show decodes a written row and reports whether the scan gives it.
func (o *overlayOperator) show(write *commandv1.RowWrite) (bool, error) {
	if write.GetDeleted() && !o.includeDeleted {
		return false, nil
	}
	if err := decodeWritten(o.decoder, o.table, write, o.row); err != nil || o.condition == nil {
		return err == nil, err
	}
	return expr.Test(o.condition, o.eval, o.row)
}

// decodeWritten fills row, as a scan gives it, with a row that is not committed. Its _seq, which nobody knows
// yet, is zero.
func decodeWritten(decoder *schema.RowDecoder, t *schema.Table, write *commandv1.RowWrite, row []datum.Datum) error {
	if err := decoder.Decode(write.GetRow(), row); err != nil {
		return err
	}
	row[len(t.Columns)] = datum.NewBigInt(0)
	row[len(t.Columns)+1] = datum.NewBool(write.GetDeleted())
	return nil
}

func (o *overlayOperator) close() error {
	o.budget.usedBytes -= o.held
	o.written, o.held = nil, 0
	return o.input.close()
}
