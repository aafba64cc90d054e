package expr

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// Misses reports whether no value from low to high, both included, lies in the range.
func (r KeyRange) Misses(low, high datum.Datum) bool {
	if r.IsPoints {
		for _, point := range r.Points {
			if datum.Compare(low, point) <= 0 && datum.Compare(point, high) <= 0 {
				return false
			}
		}
		return true
	}
	if !r.Low.IsNull() {
		if c := datum.Compare(high, r.Low); c < 0 || c == 0 && !r.LowInclusive {
			return true
		}
	}
	if !r.High.IsNull() {
		if c := datum.Compare(low, r.High); c > 0 || c == 0 && !r.HighInclusive {
			return true
		}
	}
	return false
}

// TakesColumns reports whether AddColumns can be called: the aggregate is of every row, or of a plain column, and does not
// depend on the other values of a row.
func (a *Accumulator) TakesColumns() bool {
	if a.call.Filter != nil || len(a.call.OrderBy) > 0 || len(a.call.Args) > 1 {
		return false
	}
	if len(a.call.Args) == 0 {
		return a.count != nil
	}
	return a.place >= 0
}

// AddColumns takes n rows at once, as columns by their positions in a row.
func (a *Accumulator) AddColumns(columns []datum.Column, n int) error {
	if a.place < 0 {
		a.count.n += int64(n)
		return nil
	}
	column := columns[a.place].Slice(0, n)
	if kind, nums, nulls, ok := column.Numbers(); ok {
		done, err := a.addNumbers(kind, nums, nulls)
		if done || err != nil {
			return err
		}
	}
	values := column.Values()
	if values == nil {
		values = make([]datum.Datum, n)
		for i := range values {
			values[i] = column.At(i)
		}
	}
	switch aggregate := a.aggregate.(type) {
	case *countAggregate:
		for i := range values {
			if !values[i].IsNull() {
				aggregate.n++
			}
		}
		return nil
	case *sumAggregate:
		return aggregate.addColumn(values)
	case *extremeAggregate:
		aggregate.addColumn(values)
		return nil
	}
	for i := range values {
		if err := a.aggregate.Add(values[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// AddRows adds each row to the accumulator that stands in its place; all are of the same call.
func AddRows(ctx *EvalContext, accumulators []*Accumulator, rows [][]datum.Datum) error {
	first := accumulators[0]
	switch {
	case first.place >= len(rows[0]): // evaluating reports it
	case first.count != nil && first.place < 0:
		for _, a := range accumulators {
			a.count.n++
		}
		return nil
	case first.sum != nil:
		for i, a := range accumulators {
			if err := a.sum.addNext(&rows[i][first.place]); err != nil {
				return err
			}
		}
		return nil
	}
	for i, a := range accumulators {
		if err := a.AddRow(ctx, rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// addNext is add with a short way for integers that fit.
func (a *sumAggregate) addNext(value *datum.Datum) error {
	if value.Kind().IsInteger() {
		added := value.Int()
		if sum := a.whole + added; (sum > a.whole) == (added > 0) {
			a.whole = sum
			a.count++
			return nil
		}
	}
	return a.add(*value)
}

// addColumn adds values up; those of integers in one register as long as they fit.
func (a *sumAggregate) addColumn(values []datum.Datum) error {
	for i := range values {
		if err := a.addNext(&values[i]); err != nil {
			return err
		}
	}
	return nil
}

// addColumn finds the extreme of values. Numbers are compared without asking for their kinds each time.
func (a *extremeAggregate) addColumn(values []datum.Datum) {
	for i := range values {
		value := &values[i]
		if value.IsNull() {
			continue
		}
		if a.best.IsNull() {
			a.best = *value
			continue
		}
		if k := value.Kind(); k == a.best.Kind() && k.IsInteger() {
			if v, best := value.Int(), a.best.Int(); a.greatest && v <= best || !a.greatest && v >= best {
				continue
			}
		} else if k == a.best.Kind() && (k == datum.Double || k == datum.Float) {
			// False when one of them is no number, which is then compared below.
			if v, best := value.Float(), a.best.Float(); a.greatest && v <= best || !a.greatest && v >= best {
				continue
			}
		}
		if c := datum.Compare(*value, a.best); a.greatest && c > 0 || !a.greatest && c < 0 {
			a.best = *value
		}
	}
}
