package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// groupBytes estimates the memory of one group besides its key values.
const groupBytes = 256

// aggregateOperator groups the rows of its input in memory.
type aggregateOperator struct {
	input  operator
	eval   *expr.EvalContext
	keys   []expr.Expr
	calls  []*expr.AggregateCall
	budget *budget

	found   groupFinder
	ordered []*group // in the order in which they were first seen
	keeps   bool     // some call keeps values, whose memory is accounted for
	filled  bool
	place   int           // of the only key in a row, when that is a plain column; else -1
	values  []datum.Datum // key values of the row at hand
	row     []datum.Datum
}

// group is the state of one group.
type group struct {
	keys         []datum.Datum
	accumulators []*expr.Accumulator
	keptBytes    int // by the accumulators, as accounted for
}

func (r *run) wrapAggregate(n *plan.Aggregate, input operator) (operator, error) {
	if n.Grouping.Sets != nil {
		return r.wrapSets(n, input)
	}
	o := &aggregateOperator{
		input: input, eval: r.eval, budget: r.budget,
		keys: make([]expr.Expr, len(n.Grouping.Keys)), calls: make([]*expr.AggregateCall, len(n.Grouping.Calls)),
		values: make([]datum.Datum, len(n.Grouping.Keys)), row: make([]datum.Datum, n.Width()),
	}
	for i, key := range n.Grouping.Keys {
		o.keys[i] = expr.Prepare(key, r.eval)
	}
	for i, call := range n.Grouping.Calls {
		o.calls[i] = prepareCall(call, r.eval)
		o.keeps = o.keeps || call.KeepsValues()
	}
	o.found, o.place = newGroupFinder(o.keys), -1
	if len(o.keys) == 1 {
		if place, ok := expr.ColumnPosition(o.keys[0]); ok && place < n.Input.Width() {
			o.place = place
		}
	}
	return o, nil
}

// prepareCall computes once what does not depend on rows.
func prepareCall(call *expr.AggregateCall, eval *expr.EvalContext) *expr.AggregateCall {
	prepared := *call
	prepared.Filter = expr.Prepare(call.Filter, eval)
	prepared.Args = make([]expr.Expr, len(call.Args))
	for i, arg := range call.Args {
		prepared.Args[i] = expr.Prepare(arg, eval)
	}
	return &prepared
}

func (o *aggregateOperator) next(ctx context.Context) ([]datum.Datum, error) {
	if !o.filled {
		if err := o.fill(ctx); err != nil {
			return nil, err
		}
		o.filled = true
	}
	if len(o.ordered) == 0 {
		return nil, nil
	}
	current := o.ordered[0]
	o.ordered = o.ordered[1:]
	copy(o.row, current.keys)
	for i, accumulator := range current.accumulators {
		value, err := accumulator.Result(o.eval)
		if err != nil {
			return nil, err
		}
		o.row[len(current.keys)+i] = value
	}
	return o.row, nil
}

func (o *aggregateOperator) close() error { return o.input.close() }

func (o *aggregateOperator) fill(ctx context.Context) error {
	if len(o.keys) == 0 {
		if _, err := o.add(); err != nil {
			return err
		}
	}
	columns, rows := o.columnReader(), o.rowsReader()
	if rows != nil {
		if err := rows.add(ctx, o); err != nil {
			return err
		}
	}
	for {
		if columns != nil {
			if err := columns.add(ctx, o); err != nil {
				return err
			}
		}
		row, err := o.input.next(ctx)
		if row == nil || err != nil {
			return err
		}
		current, err := o.groupOf(row)
		if err != nil {
			return err
		}
		if err := o.accumulate(current, row); err != nil {
			return err
		}
	}
}

// accumulate adds a row to its group and accounts for what the group keeps of it.
func (o *aggregateOperator) accumulate(current *group, row []datum.Datum) error {
	for _, accumulator := range current.accumulators {
		if err := accumulator.AddRow(o.eval, row); err != nil {
			return err
		}
	}
	return o.account(current)
}

// account accounts for what a group keeps.
func (o *aggregateOperator) account(current *group) error {
	if !o.keeps {
		return nil
	}
	kept := 0
	for _, accumulator := range current.accumulators {
		kept += accumulator.KeptBytes()
	}
	if kept == current.keptBytes {
		return nil
	}
	grown := kept - current.keptBytes
	current.keptBytes = kept
	return o.budget.takeBytes(int64(grown))
}

// groupOf finds the group of a row, or starts it.
func (o *aggregateOperator) groupOf(row []datum.Datum) (*group, error) {
	if len(o.keys) == 0 {
		return o.ordered[0], nil
	}
	if o.place >= 0 {
		o.values[0] = row[o.place]
		if found := o.found.find(o.values); found != nil {
			return found, nil
		}
		return o.add()
	}
	for i, key := range o.keys {
		value, err := key.Eval(o.eval, row)
		if err != nil {
			return nil, err
		}
		o.values[i] = value
	}
	if found := o.found.find(o.values); found != nil {
		return found, nil
	}
	return o.add()
}

// add starts the group of the key values at hand.
func (o *aggregateOperator) add() (*group, error) {
	if err := o.budget.take(o.values); err != nil {
		return nil, err
	}
	if err := o.budget.takeBytes(o.found.keyBytes(o.values) + groupBytes*int64(1+len(o.calls))); err != nil {
		return nil, err
	}
	started := &group{
		keys: append([]datum.Datum(nil), o.values...), accumulators: make([]*expr.Accumulator, len(o.calls)),
	}
	for i, call := range o.calls {
		started.accumulators[i] = expr.NewAccumulator(call)
	}
	o.found.keep(o.values, started)
	o.ordered = append(o.ordered, started)
	return started, nil
}
