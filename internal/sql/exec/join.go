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
// the partners of each left row among them.
type joinOperator struct {
	left      operator
	eval      *expr.EvalContext
	budget    *budget
	condition expr.Expr // over both rows; nil is all
	leftKeys  []expr.Expr
	kind      parse.JoinKind
	split     int // width of a left row

	rows    []joinRow
	buckets map[string][]int // positions in rows; nil without keys
	all     []int            // every position, without keys

	key        []byte
	row        []datum.Datum // both rows
	candidates []int         // partners of the left row that are still to be tested
	hasLeft    bool
	paired     bool // whether the left row has a partner
	ended      bool // the left input is at its end
	unpaired   int  // next right row to look at after the end
	tested     int
}

// joinRow is a row of the right input and whether any left row was its partner.
type joinRow struct {
	values []datum.Datum
	paired bool
}

func (r *run) openJoin(ctx context.Context, n *plan.Join) (operator, error) {
	o := &joinOperator{
		eval: r.eval, budget: r.budget, condition: expr.Prepare(n.Condition, r.eval), kind: n.Kind,
		split: n.Left.Width(), row: make([]datum.Datum, n.Width()),
	}
	for _, key := range n.LeftKeys {
		o.leftKeys = append(o.leftKeys, expr.Prepare(key, r.eval))
	}
	if err := o.fill(ctx, r, n); err != nil {
		return nil, err
	}
	var err error
	o.left, err = r.open(ctx, n.Left)
	return o, err
}

// fill reads the right input.
func (o *joinOperator) fill(ctx context.Context, r *run, n *plan.Join) (err error) {
	var keys []expr.Expr
	for _, key := range n.RightKeys {
		keys = append(keys, expr.Prepare(key, r.eval))
	}
	if len(keys) > 0 {
		o.buckets = map[string][]int{}
	}
	right, err := r.open(ctx, n.Right)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, right.close()) }()
	var arena rowArena
	for {
		row, err := right.next(ctx)
		if row == nil || err != nil {
			return err
		}
		if err = o.budget.takeBytes(rowBytes(row) + entryBytes); err != nil {
			return err
		}
		position := len(o.rows)
		o.rows = append(o.rows, joinRow{values: arena.copy(row)})
		if o.buckets == nil {
			o.all = append(o.all, position)
			continue
		}
		usable, err := o.keyOf(keys, row)
		if err != nil {
			return err
		}
		if !usable {
			continue // NULL equals nothing
		}
		if err := o.budget.takeBytes(int64(len(o.key)) + entryBytes); err != nil {
			return err
		}
		o.buckets[string(o.key)] = append(o.buckets[string(o.key)], position)
	}
}

// keyOf encodes the keys of a row; it reports false when one is NULL.
func (o *joinOperator) keyOf(keys []expr.Expr, row []datum.Datum) (bool, error) {
	o.key = o.key[:0]
	for _, key := range keys {
		value, err := key.Eval(o.eval, row)
		if err != nil || value.IsNull() {
			return false, err
		}
		o.key = datum.AppendKey(o.key, value)
	}
	return true, nil
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
		if found || err != nil {
			return o.row, err
		}
		o.hasLeft = false
		if !o.paired && (o.kind == parse.LeftJoin || o.kind == parse.FullJoin) {
			clear(o.row[o.split:])
			return o.row, nil
		}
	}
}

// advance takes the next left row; it reports false at the end.
func (o *joinOperator) advance(ctx context.Context) (bool, error) {
	if o.ended {
		return false, nil
	}
	row, err := o.left.next(ctx)
	if err != nil {
		return false, err
	}
	if row == nil {
		o.ended = true
		return false, nil
	}
	copy(o.row, row)
	o.hasLeft, o.paired, o.candidates = true, false, o.all
	if o.buckets != nil {
		usable, err := o.keyOf(o.leftKeys, row)
		if err != nil {
			return false, err
		}
		o.candidates = nil
		if usable {
			o.candidates = o.buckets[string(o.key)]
		}
	}
	return true, nil
}

// partner puts the next right row that matches behind the left one.
func (o *joinOperator) partner(ctx context.Context) (bool, error) {
	for len(o.candidates) > 0 {
		if o.tested++; o.tested%cancelInterval == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		right := &o.rows[o.candidates[0]]
		o.candidates = o.candidates[1:]
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

func (o *joinOperator) close() error { return o.left.close() }
