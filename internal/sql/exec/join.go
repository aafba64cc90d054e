package exec

import (
	"context"
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// joinOperator keeps the rows of its right input in memory, by their keys when there are any, and finds
// the partners of each left row among them. When the left input turns out to be small, only right rows that have the
// key of one of its rows are kept; see joinAhead.
type joinOperator struct {
	left      operator
	ahead     rowsOperator // left rows that were read before the right ones
	eval      *expr.EvalContext
	budget    *budget
	condition expr.Expr // over both rows; nil is all
	leftKeys  []expr.Expr
	rightKeys []expr.Expr
	kind      parse.JoinKind
	split     int // width of a left row

	rows  []joinRow
	index *rowIndex  // of rows; nil without keys
	merge *mergeSide // takes the place of rows when both inputs are in order; nil otherwise

	values    []datum.Datum // keys of the row at hand
	row       []datum.Datum // both rows
	candidate int           // the next partner of the left row to be tested; noRow at the end
	hasLeft   bool
	paired    bool // whether the left row has a partner
	ended     bool // the left input is at its end
	unpaired  int  // next right row to look at after the end
	tested    int
}

// joinRow is a row of the right input and whether any left row was its partner.
type joinRow struct {
	values []datum.Datum
	paired bool
}

func (r *run) openJoin(ctx context.Context, n *plan.Join) (operator, error) {
	o := &joinOperator{
		eval: r.eval, budget: r.budget, condition: expr.Prepare(n.Condition, r.eval), kind: n.Kind,
		split: n.Left.Width(), row: make([]datum.Datum, n.Width()), values: make([]datum.Datum, len(n.LeftKeys)),
	}
	for i := range n.LeftKeys {
		o.leftKeys = append(o.leftKeys, expr.Prepare(n.LeftKeys[i], r.eval))
		o.rightKeys = append(o.rightKeys, expr.Prepare(n.RightKeys[i], r.eval))
	}
	if len(o.leftKeys) > 0 {
		o.index = newRowIndex(n.LeftKeys, n.RightKeys)
	}
	var err error
	if o.left, err = r.open(ctx, n.Left); err != nil {
		return nil, err
	}
	if err := o.fill(ctx, r, n); err != nil {
		return nil, errors.Join(err, o.left.close())
	}
	return o, nil
}

// fill reads the right input.
func (o *joinOperator) fill(ctx context.Context, r *run, n *plan.Join) (err error) {
	wanted, err := o.readAhead(ctx)
	if err != nil {
		return err
	}
	right, err := o.openRight(ctx, r, n, wanted)
	if err != nil {
		return err
	}
	if wanted == nil && n.Merge {
		o.merge = &mergeSide{right: right, key: o.rightKeys[0], eval: o.eval}
		return nil
	}
	defer func() { err = errors.Join(err, right.close()) }()
	var arena rowArena
	for {
		row, err := right.next(ctx)
		if row == nil || err != nil {
			return err
		}
		usable := false
		if o.index != nil {
			if usable, err = keyValues(o.values, o.rightKeys, o.eval, row); err != nil {
				return err
			}
		}
		if wanted != nil {
			if !usable {
				continue
			}
			if _, known := wanted.find(o.values); !known {
				continue
			}
		}
		grown := rowBytes(row)
		if o.index != nil {
			grown += o.index.add(o.values, usable)
		}
		if err = o.budget.takeBytes(grown); err != nil {
			return err
		}
		if o.rows, err = keepIn(o.budget, o.rows, joinRow{values: arena.copy(row)}); err != nil {
			return err
		}
	}
}

func (o *joinOperator) next(ctx context.Context) ([]datum.Datum, error) {
	for {
		if !o.hasLeft {
			found, err := o.advance(ctx)
			if err != nil {
				return nil, err
			}
			if !found {
				return o.nextUnpaired(), nil
			}
		}
		found, err := o.partner(ctx)
		if err != nil {
			return nil, err
		}
		if found {
			return o.row, nil
		}
		o.hasLeft = false
		if !o.paired && (o.kind == parse.LeftJoin || o.kind == parse.FullJoin) {
			clear(o.row[o.split:])
			return o.row, nil
		}
	}
}

// nextLeft gives the next left row.
func (o *joinOperator) nextLeft(ctx context.Context) ([]datum.Datum, error) {
	if row, err := o.ahead.next(ctx); row != nil || err != nil {
		return row, err
	}
	return o.left.next(ctx)
}

// advance takes the next left row; it reports false at the end.
func (o *joinOperator) advance(ctx context.Context) (bool, error) {
	if o.ended {
		return false, nil
	}
	row, err := o.nextLeft(ctx)
	if err != nil {
		return false, err
	}
	if row == nil {
		o.ended = true
		return false, nil
	}
	copy(o.row, row)
	o.hasLeft, o.paired, o.candidate = true, false, noRow
	if o.index == nil {
		if len(o.rows) > 0 {
			o.candidate = 0
		}
		return true, nil
	}
	usable, err := keyValues(o.values, o.leftKeys, o.eval, row)
	if err != nil {
		return false, err
	}
	if usable && o.merge != nil {
		found, err := o.merge.seek(ctx, o.values[0])
		if found {
			o.candidate = 0
		}
		return true, err
	}
	if usable {
		if found, known := o.index.find(o.values); known {
			o.candidate = found.first
		}
	}
	return true, nil
}

// following returns the candidate after another one.
func (o *joinOperator) following(candidate int) int {
	switch {
	case o.index != nil:
		return o.index.next[candidate]
	case candidate+1 < len(o.rows):
		return candidate + 1
	}
	return noRow
}

// partner puts the next right row that matches behind the left one.
func (o *joinOperator) partner(ctx context.Context) (bool, error) {
	for o.candidate != noRow {
		if o.tested++; o.tested%cancelInterval == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		var right *joinRow
		if o.merge != nil {
			right, o.candidate = &o.merge.row, noRow
		} else {
			right = &o.rows[o.candidate]
			o.candidate = o.following(o.candidate)
		}
		copy(o.row[o.split:], right.values)
		if o.condition != nil {
			keep, err := expr.Test(o.condition, o.eval, o.row)
			if err != nil {
				return false, err
			}
			if !keep {
				continue
			}
		}
		right.paired, o.paired = true, true
		return true, nil
	}
	return false, nil
}

// nextUnpaired gives the right rows without a partner, if the join keeps them.
func (o *joinOperator) nextUnpaired() []datum.Datum {
	if o.kind != parse.RightJoin && o.kind != parse.FullJoin {
		return nil
	}
	clear(o.row[:o.split])
	for o.unpaired < len(o.rows) {
		right := &o.rows[o.unpaired]
		o.unpaired++
		if !right.paired {
			copy(o.row[o.split:], right.values)
			return o.row
		}
	}
	return nil
}

func (o *joinOperator) close() error {
	if o.merge == nil {
		return o.left.close()
	}
	return errors.Join(o.left.close(), o.merge.right.close())
}
