package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// setBytes estimates the memory of one grouping set besides its groups.
const setBytes = 2048

// setsOperator groups the rows of its input by several sets of keys at once: it reads them once and adds each row to one group of
// every set.
type setsOperator struct {
	input operator
	eval  *expr.EvalContext
	keys  []expr.Expr
	sets  []*aggregateOperator // without an input: rows are added to them
	// places says which of keys the keys of a set are.
	places [][]int
	values []datum.Datum // of keys, of the row at hand
	row    []datum.Datum
	filled bool
	given  int // sets whose groups have all been given
}

func (r *run) wrapSets(n *plan.Aggregate, input operator) (operator, error) {
	o := &setsOperator{
		input: input, eval: r.eval, keys: make([]expr.Expr, len(n.Grouping.Keys)), places: n.Grouping.Sets,
		values: make([]datum.Datum, len(n.Grouping.Keys)), row: make([]datum.Datum, n.Width()),
	}
	if err := r.budget.takeBytes(int64(len(o.places)) * (setBytes + int64(n.Width())*datumBytes)); err != nil {
		return nil, err
	}
	for i, key := range n.Grouping.Keys {
		o.keys[i] = expr.Prepare(key, r.eval)
	}
	for _, places := range o.places {
		set := &aggregateOperator{
			eval: r.eval, budget: r.budget, filled: true, place: -1, values: make([]datum.Datum, len(places)),
			row: make([]datum.Datum, len(places)+len(n.Grouping.Calls)),
		}
		keys := make([]expr.Expr, len(places))
		for i, place := range places {
			keys[i] = o.keys[place]
		}
		for _, call := range n.Grouping.Calls {
			set.calls = append(set.calls, prepareCall(call, r.eval).InSet(places))
			set.keeps = set.keeps || call.KeepsValues()
		}
		set.found = newGroupFinder(keys)
		o.sets = append(o.sets, set)
	}
	return o, nil
}

func (o *setsOperator) next(ctx context.Context) ([]datum.Datum, error) {
	if !o.filled {
		if err := o.fill(ctx); err != nil {
			return nil, err
		}
		o.filled = true
	}
	for ; o.given < len(o.sets); o.given++ {
		row, err := o.sets[o.given].next(ctx)
		if err != nil {
			return nil, err
		}
		if row == nil {
			continue
		}
		places := o.places[o.given]
		clear(o.row[:len(o.keys)])
		for i, place := range places {
			o.row[place] = row[i]
		}
		copy(o.row[len(o.keys):], row[len(places):])
		return o.row, nil
	}
	return nil, nil
}

func (o *setsOperator) close() error { return o.input.close() }

// fill adds all rows. A set without keys has its group even when there are none.
func (o *setsOperator) fill(ctx context.Context) error {
	for i, places := range o.places {
		if len(places) == 0 {
			if _, err := o.sets[i].add(); err != nil {
				return err
			}
		}
	}
	for {
		row, err := o.input.next(ctx)
		if row == nil || err != nil {
			return err
		}
		for i, key := range o.keys {
			if o.values[i], err = key.Eval(o.eval, row); err != nil {
				return err
			}
		}
		for i, set := range o.sets {
			if i%cancelInterval == cancelInterval-1 && ctx.Err() != nil {
				return ctx.Err()
			}
			if err := set.addTo(o.places[i], o.values, row); err != nil {
				return err
			}
		}
	}
}

// addTo adds a row to the group of the keys at some places.
func (o *aggregateOperator) addTo(places []int, keys, row []datum.Datum) error {
	for i, place := range places {
		o.values[i] = keys[place]
	}
	current := o.found.find(o.values)
	if current == nil {
		var err error
		if current, err = o.add(); err != nil {
			return err
		}
	}
	return o.accumulate(current, row)
}
