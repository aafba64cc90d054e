package exec

import (
	"context"
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// operator is a running plan node. It belongs to one goroutine.
type operator interface {
	// next returns the following row, which the caller may read until the next call; nil at the end.
	next(ctx context.Context) ([]datum.Datum, error)
	// close releases what the operator holds, its inputs included. It may be called once, at any time.
	close() error
}

// open starts a plan node. On an error nothing is left open.
func (r *run) open(ctx context.Context, node plan.Node) (operator, error) {
	if _, scan := node.(*plan.Scan); scan || r.profile == nil {
		return r.start(ctx, node) // scans are measured where their bounds are known
	}
	return r.profile.measure(node, func() (operator, error) { return r.start(ctx, node) })
}

// start is open without measuring the node itself.
func (r *run) start(ctx context.Context, node plan.Node) (operator, error) {
	switch n := node.(type) {
	case *plan.Scan:
		return r.openScan(n)
	case *plan.ViewScan:
		return r.openView(ctx, n)
	case *plan.Rows:
		return &valuesOperator{eval: r.eval, values: n.Values, row: make([]datum.Datum, n.Width())}, nil
	}
	if op, handled, err := r.openSource(ctx, node); handled {
		return op, err
	}
	input, err := r.open(ctx, inputOf(node))
	if err != nil {
		return nil, err
	}
	op, err := r.wrap(node, input)
	if err != nil {
		return nil, errors.Join(err, input.close())
	}
	return op, nil
}

// inputOf returns the input of a node that has exactly one.
func inputOf(node plan.Node) plan.Node {
	switch n := node.(type) {
	case *plan.Filter:
		return n.Input
	case *plan.Project:
		return n.Input
	case *plan.Aggregate:
		return n.Input
	case *plan.Sort:
		return n.Input
	case *plan.Distinct:
		return n.Input
	case *plan.DistinctOn:
		return n.Input
	case *plan.Limit:
		return n.Input
	}
	return nil
}

// wrap puts a node's operator over its running input.
func (r *run) wrap(node plan.Node, input operator) (operator, error) {
	switch n := node.(type) {
	case *plan.Filter:
		return &filterOperator{input: input, eval: r.eval, condition: expr.Prepare(n.Condition, r.eval)}, nil
	case *plan.Project:
		return r.wrapProject(n, input), nil
	case *plan.Aggregate:
		return r.wrapAggregate(n, input)
	case *plan.Sort:
		return r.wrapSort(n, input)
	case *plan.Distinct:
		return &distinctOperator{input: input, budget: r.budget, seen: map[string]struct{}{}}, nil
	case *plan.DistinctOn:
		keys := make([]expr.Expr, len(n.Keys))
		for i := range keys {
			keys[i] = expr.Prepare(n.Keys[i], r.eval)
		}
		return &distinctOperator{input: input, budget: r.budget, seen: map[string]struct{}{}, eval: r.eval, on: keys}, nil
	case *plan.Limit:
		return r.wrapLimit(n, input)
	}
	return nil, fmt.Errorf("plan node %T cannot be run", node)
}

// valuesOperator computes rows of expressions that read no columns.
type valuesOperator struct {
	eval   *expr.EvalContext
	values [][]expr.Expr
	row    []datum.Datum
}

func (o *valuesOperator) next(context.Context) ([]datum.Datum, error) {
	if len(o.values) == 0 {
		return nil, nil
	}
	for i, e := range o.values[0] {
		value, err := e.Eval(o.eval, nil)
		if err != nil {
			return nil, err
		}
		o.row[i] = value
	}
	o.values = o.values[1:]
	return o.row, nil
}

func (o *valuesOperator) close() error { return nil }

// filterOperator keeps the rows for which a condition is true.
type filterOperator struct {
	input     operator
	eval      *expr.EvalContext
	condition expr.Expr
}

func (o *filterOperator) next(ctx context.Context) ([]datum.Datum, error) {
	for {
		row, err := o.input.next(ctx)
		if row == nil || err != nil {
			return nil, err
		}
		keep, err := expr.Test(o.condition, o.eval, row)
		if err != nil {
			return nil, err
		}
		if keep {
			return row, nil
		}
	}
}

func (o *filterOperator) close() error { return o.input.close() }

// projectOperator computes the values of each row.
type projectOperator struct {
	input operator
	eval  *expr.EvalContext
	few   [8]int // what columns are in, when there are no more
	exprs []expr.Expr
	// columns holds the position that exprs[i] reads when it is a plain column, else -1.
	columns []int
	row     []datum.Datum
	// large are the positions of computed values that may be of any size, when there are several: together they may be more
	// than the statement may hold, although each of them is bounded.
	large  []int
	budget *budget
}

func (r *run) wrapProject(n *plan.Project, input operator) operator {
	o := &projectOperator{
		input: input, eval: r.eval, row: make([]datum.Datum, len(n.Exprs)), budget: r.budget,
	}
	if o.columns = o.few[:min(len(n.Exprs), len(o.few))]; len(n.Exprs) > len(o.few) {
		o.columns = make([]int, len(n.Exprs))
	}
	for i, e := range n.Exprs {
		if position, ok := expr.ColumnPosition(e); ok && position < n.Input.Width() {
			o.columns[i] = position
			continue
		}
		if o.exprs == nil { // most queries read columns and compute nothing
			o.exprs = make([]expr.Expr, len(n.Exprs))
		}
		o.exprs[i], o.columns[i] = expr.Prepare(e, r.eval), -1
		if kind := e.Type().Kind; kind.IsString() || kind == datum.Bytes || kind == datum.Array {
			o.large = append(o.large, i)
		}
	}
	if len(o.large) == 1 {
		o.large = nil
	}
	return o
}

func (o *projectOperator) next(ctx context.Context) ([]datum.Datum, error) {
	row, err := o.input.next(ctx)
	if row == nil || err != nil {
		return nil, err
	}
	for _, i := range o.large {
		o.row[i] = datum.Datum{} // of the row before
	}
	for i, position := range o.columns {
		if position >= 0 {
			o.row[i] = row[position]
			continue
		}
		if o.row[i], err = o.exprs[i].Eval(o.eval, row); err != nil {
			return nil, err
		}
		if o.large != nil && valueBytes(o.row[i]) > largeValueBytes {
			if err = o.fits(); err != nil {
				return nil, err
			}
		}
	}
	return o.row, nil
}

// largeValueBytes is the size of a value from which on it is worth looking what a row has become.
const largeValueBytes = 64 << 10

// fits fails when the values of the row at hand are more than the statement may still hold.
func (o *projectOperator) fits() error {
	size := int64(0)
	for _, i := range o.large {
		size += int64(valueBytes(o.row[i]))
	}
	err := o.budget.takeBytes(size)
	o.budget.usedBytes -= size
	return err
}

func (o *projectOperator) close() error { return o.input.close() }

// distinctOperator drops rows that equal one before them.
type distinctOperator struct {
	input  operator
	budget *budget
	seen   map[string]struct{}
	key    []byte
	eval   *expr.EvalContext
	on     []expr.Expr // what is compared instead of the row; nil for the row
}

func (o *distinctOperator) next(ctx context.Context) ([]datum.Datum, error) {
	for {
		row, err := o.input.next(ctx)
		if row == nil || err != nil {
			return nil, err
		}
		o.key = o.key[:0]
		if o.on == nil {
			o.key = appendRowKey(o.key, row)
		}
		for _, key := range o.on {
			value, err := key.Eval(o.eval, row)
			if err != nil {
				return nil, err
			}
			o.key = datum.AppendKey(o.key, value)
		}
		if _, seen := o.seen[string(o.key)]; seen {
			continue
		}
		if err := o.budget.takeBytes(int64(len(o.key)) + entryBytes); err != nil {
			return nil, err
		}
		o.seen[string(o.key)] = struct{}{}
		return row, nil
	}
}

func (o *distinctOperator) close() error { return o.input.close() }
