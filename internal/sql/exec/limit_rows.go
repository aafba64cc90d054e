package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// limitOperator skips rows and ends after a count; a negative count never ends.
type limitOperator struct {
	input operator
	skip  int64
	left  int64
}

func (r *run) wrapLimit(n *plan.Limit, input operator) (operator, error) {
	skip, count, err := r.limits(n)
	limit := limitOperator{input: input, skip: skip, left: count}
	if err != nil || len(n.Ties) == 0 || count <= 0 {
		return &limit, err
	}
	ties := &tiesOperator{limitOperator: limit, eval: r.eval, keys: make([]expr.Order, len(n.Ties)), more: -1, last: make([]datum.Datum, len(n.Ties))}
	if n.Max > 0 {
		ties.more = n.Max - count
	}
	for i, key := range n.Ties {
		key.Expr = expr.Prepare(key.Expr, r.eval)
		ties.keys[i] = key
	}
	return ties, nil
}

func (o *limitOperator) next(ctx context.Context) ([]datum.Datum, error) {
	if o.left == 0 {
		return nil, nil
	}
	for o.skip > 0 {
		row, err := o.input.next(ctx)
		if row == nil || err != nil {
			return nil, err
		}
		o.skip--
	}
	o.left--
	return o.input.next(ctx)
}

func (o *limitOperator) close() error { return o.input.close() }

// tiesOperator is a limit that gives the rows, too, that equal the last one in the keys of the order.
type tiesOperator struct {
	limitOperator
	eval *expr.EvalContext
	keys []expr.Order
	last []datum.Datum // keys of the last row of the count
	more int64         // how many rows may follow it; negative for any number
}

func (o *tiesOperator) next(ctx context.Context) ([]datum.Datum, error) {
	if o.left > 0 {
		row, err := o.limitOperator.next(ctx)
		if row == nil || err != nil || o.left > 0 {
			return row, err
		}
		for i := range o.keys {
			if o.last[i], err = o.keys[i].Expr.Eval(o.eval, row); err != nil {
				return nil, err
			}
		}
		return row, nil
	}
	if o.more == 0 {
		return nil, nil
	}
	row, err := o.input.next(ctx)
	if row == nil || err != nil {
		return nil, err
	}
	for i := range o.keys {
		value, err := o.keys[i].Expr.Eval(o.eval, row)
		if err != nil {
			return nil, err
		}
		if o.keys[i].Compare(value, o.last[i]) != 0 {
			o.more = 0
			return nil, nil
		}
	}
	o.more--
	return row, nil
}
