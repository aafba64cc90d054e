package exec

import (
	"context"
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// lateralOperator runs its right side for each left row.
type lateralOperator struct {
	run         *run
	plan        *plan.Lateral
	condition   expr.Expr
	left, right operator // right is nil between left rows
	row         []datum.Datum
	matched     bool // the left row at hand has a partner
}

func (r *run) openLateral(ctx context.Context, n *plan.Lateral) (operator, error) {
	left, err := r.open(ctx, n.Left)
	if err != nil {
		return nil, err
	}
	return &lateralOperator{
		run: r, plan: n, condition: expr.Prepare(n.Condition, r.eval), left: left, row: make([]datum.Datum, n.Width()),
	}, nil
}

func (o *lateralOperator) next(ctx context.Context) ([]datum.Datum, error) {
	width := o.plan.Left.Width()
	for {
		if o.right == nil {
			row, err := o.left.next(ctx)
			if row == nil || err != nil {
				return nil, err
			}
			if err = ctx.Err(); err != nil {
				return nil, err // the sides may be too short to notice
			}
			copy(o.row, row)
			if o.right, err = o.start(ctx, o.row[:width:width]); err != nil {
				return nil, err
			}
			o.matched = false
		}
		row, err := o.right.next(ctx)
		if err != nil {
			return nil, err
		}
		if row == nil {
			err = o.right.close()
			o.right = nil
			if err != nil {
				return nil, err
			}
			if o.plan.KeepsLeft && !o.matched {
				clear(o.row[width:])
				return o.row, nil
			}
			continue
		}
		copy(o.row[width:], row)
		if o.condition != nil {
			keep, err := expr.Test(o.condition, o.run.eval, o.row)
			if err != nil {
				return nil, err
			}
			if !keep {
				continue
			}
		}
		o.matched = true
		return o.row, nil
	}
}

// start opens the right side for a left row.
func (o *lateralOperator) start(ctx context.Context, left []datum.Datum) (operator, error) {
	child := *o.run
	child.snapshot = o.run.openSnapshot() // all rows are read from one picture of the store
	child.eval = o.run.eval.Within(left)
	return child.open(ctx, o.plan.Right)
}

func (o *lateralOperator) close() error {
	err := o.left.close()
	if o.right != nil {
		err = errors.Join(o.right.close(), err)
	}
	return err
}

// functionOperator gives the rows of a function in FROM.
type functionOperator struct {
	source  expr.RowSource
	row     []datum.Datum // with the count of rows; nil without
	rows    int64
	through int // rows since the context was looked at
}

func (r *run) openFunction(n *plan.Function) (operator, error) {
	source, err := n.Call.Start(r.eval)
	if err != nil {
		return nil, err
	}
	o := &functionOperator{source: source}
	if n.Ordinality {
		o.row = make([]datum.Datum, n.Width())
	}
	return o, nil
}

func (o *functionOperator) next(ctx context.Context) ([]datum.Datum, error) {
	if o.through++; o.through == cancelInterval {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		o.through = 0
	}
	row, err := o.source()
	if row == nil || err != nil || o.row == nil {
		return row, err
	}
	o.rows++
	copy(o.row, row)
	o.row[len(row)] = datum.NewBigInt(o.rows)
	return o.row, nil
}

func (o *functionOperator) close() error { return nil }
