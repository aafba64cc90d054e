package exec

import (
	"cmp"
	"container/heap"
	"context"
	"math"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// maxTopRows is the largest number of first rows for which a heap is kept; beyond it all rows are sorted.
const maxTopRows = 10_000

// sortOperator orders all rows of its input, or keeps only the first ones when no more are needed. Rows
// that compare as equal keep the order in which they came.
type sortOperator struct {
	input   operator
	eval    *expr.EvalContext
	keys    []expr.Order
	budget  *budget
	top     int // how many first rows are needed; negative means all
	rows    sortedRows
	scratch []datum.Datum // keys of the row at hand
	filled  bool
	given   int
}

// sortRow is a kept row with its computed keys and its place in the input.
type sortRow struct {
	keys  []datum.Datum
	row   []datum.Datum
	place int
}

// sortedRows is a heap with the last row on top.
type sortedRows struct {
	keys []expr.Order
	// whole says of each key that its values are NULL or integers of one kind.
	whole []bool
	rows  []sortRow
}

func (r *run) wrapSort(n *plan.Sort, input operator) (operator, error) {
	o := &sortOperator{
		input: input, eval: r.eval, keys: make([]expr.Order, len(n.Keys)), budget: r.budget, top: -1,
		scratch: make([]datum.Datum, len(n.Keys)),
	}
	for i, key := range n.Keys {
		key.Expr = expr.Prepare(key.Expr, r.eval)
		o.keys[i] = key
	}
	o.rows.keys, o.rows.whole = o.keys, make([]bool, len(o.keys))
	for i := range o.keys {
		o.rows.whole[i] = shapeOfKind(n.Keys[i].Expr.Type().Kind) == wholeKeys
	}
	if n.Top == nil {
		return o, nil
	}
	skip, count, err := r.limits(n.Top)
	if err != nil {
		return nil, err
	}
	if count >= 0 && skip <= math.MaxInt64-count && skip+count <= maxTopRows {
		o.top = int(skip + count)
	}
	return o, nil
}

func (o *sortOperator) next(ctx context.Context) ([]datum.Datum, error) {
	if !o.filled {
		if err := o.fill(ctx); err != nil {
			return nil, err
		}
		o.filled = true
	}
	if o.given == len(o.rows.rows) {
		return nil, nil
	}
	row := o.rows.rows[o.given].row
	o.rows.rows[o.given] = sortRow{}
	o.given++
	return row, nil
}

func (o *sortOperator) close() error { return o.input.close() }

func (o *sortOperator) fill(ctx context.Context) error {
	if o.top == 0 {
		return nil
	}
	for place := 0; ; place++ {
		row, err := o.input.next(ctx)
		if err != nil {
			return err
		}
		if row == nil {
			break
		}
		for i := range o.keys {
			if o.scratch[i], err = o.keys[i].Expr.Eval(o.eval, row); err != nil {
				return err
			}
		}
		if err := o.keep(row, place); err != nil {
			return err
		}
	}
	return arrange(ctx, o.rows.rows, slices.SortFunc, o.rows.compare)
}

// cancelComparisons is the number of comparisons after which a sort looks whether its context has ended.
const cancelComparisons = 4096

// arrange sorts, and stops soon after the context has ended: from then on everything compares as equal, which
// every sort ends with quickly.
func arrange[T any](ctx context.Context, rows []T, sort func([]T, func(a, b T) int), compare func(a, b T) int) error {
	compared, stopped := 0, false
	sort(rows, func(a, b T) int {
		if compared++; compared%cancelComparisons == 0 && !stopped {
			stopped = ctx.Err() != nil
		}
		if stopped {
			return 0
		}
		return compare(a, b)
	})
	if stopped {
		return ctx.Err()
	}
	return nil
}

// keep stores a row unless enough better ones are known.
func (o *sortOperator) keep(row []datum.Datum, place int) error {
	if full := o.top > 0 && len(o.rows.rows) == o.top; full {
		last := &o.rows.rows[0]
		if o.rows.compareKeys(o.scratch, last.keys) >= 0 {
			return nil // a row that equals the last one came after it
		}
		// The last row makes room; its memory is used again.
		o.budget.give(last.row)
		o.budget.give(last.keys)
		if err := o.budget.take(row); err != nil {
			return err
		}
		if err := o.budget.take(o.scratch); err != nil {
			return err
		}
		copy(last.row, row)
		copy(last.keys, o.scratch)
		last.place = place
		heap.Fix(&o.rows, 0)
		return nil
	}
	return o.add(row, place)
}

// add stores a row and its keys. It is no part of keep, which most rows leave early.
func (o *sortOperator) add(row []datum.Datum, place int) error {
	if err := o.budget.take(row); err != nil {
		return err
	}
	if err := o.budget.take(o.scratch); err != nil {
		return err
	}
	values := make([]datum.Datum, len(row)+len(o.scratch))
	copy(values, row)
	copy(values[len(row):], o.scratch)
	kept := sortRow{row: values[:len(row):len(row)], keys: values[len(row):], place: place}
	var err error
	if o.rows.rows, err = keepIn(o.budget, o.rows.rows, kept); err == nil && o.top > 0 {
		heap.Fix(&o.rows, len(o.rows.rows)-1)
	}
	return err
}

func (s *sortedRows) compareKeys(a, b []datum.Datum) int {
	for i := range s.keys {
		if s.whole[i] && !a[i].IsNull() && !b[i].IsNull() {
			c := cmp.Compare(a[i].Int(), b[i].Int())
			if s.keys[i].Descending {
				c = -c
			}
			if c != 0 {
				return c
			}
			continue
		}
		if c := s.keys[i].Compare(a[i], b[i]); c != 0 {
			return c
		}
	}
	return 0
}

func (s *sortedRows) compare(a, b sortRow) int {
	if c := s.compareKeys(a.keys, b.keys); c != 0 {
		return c
	}
	return a.place - b.place
}

// Len implements heap.Interface.
func (s *sortedRows) Len() int { return len(s.rows) }

// Less implements heap.Interface: the last row comes first.
func (s *sortedRows) Less(i, j int) bool {
	a, b := &s.rows[i], &s.rows[j]
	if c := s.compareKeys(a.keys, b.keys); c != 0 {
		return c > 0
	}
	return a.place > b.place
}

// Swap implements heap.Interface.
func (s *sortedRows) Swap(i, j int) { s.rows[i], s.rows[j] = s.rows[j], s.rows[i] }

// Push implements heap.Interface.
func (s *sortedRows) Push(x any) {
	if row, ok := x.(sortRow); ok {
		s.rows = append(s.rows, row)
	}
}

// Pop implements heap.Interface; rows are never popped one by one.
func (s *sortedRows) Pop() any {
	last := s.rows[len(s.rows)-1]
	s.rows = s.rows[:len(s.rows)-1]
	return last
}
