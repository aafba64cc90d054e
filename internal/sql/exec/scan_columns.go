package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Cold rows lie in columns. Aggregates without groups read them as they lie, and the bounds of columns that segments
// state leave out whole segments and blocks that a condition cannot hold for.

// rulesOut says what cold rows a scan's condition rules out.
func (r *run) rulesOut(n *plan.Scan, bounds *table.Bounds) rulesOut {
	if n.Condition == nil || bounds.IsPoint() || n.IncludeDeleted {
		return nil
	}
	var limits rulesOut
	for i := range n.Table.Columns {
		column := &n.Table.Columns[i]
		if k := column.Type.Kind; k == datum.JSON || k == datum.Embedding || k == datum.File {
			continue // they have no order that bounds speak of
		}
		values, err := expr.KeyRangeOf(n.Condition, i, column.Type, r.eval)
		if err == nil && !values.IsFull() { // an error is met again when the condition is tested
			limits = append(limits, columnLimit{i, column.ID, column.Type.Kind, values})
		}
	}
	return limits
}

// segment reports whether a segment has no row that is wanted.
func (l rulesOut) segment(s *commandv1.Segment) bool {
	for _, column := range s.GetColumns() {
		for i := range l {
			if l[i].id != column.GetId() || len(column.GetMin()) == 0 {
				continue
			}
			low, _, err := datum.DecodeValue(column.GetMin())
			if err != nil {
				continue
			}
			high, _, err := datum.DecodeValue(column.GetMax())
			if err == nil && low.Kind() == l[i].kind && high.Kind() == low.Kind() && l[i].values.Misses(low, high) {
				return true
			}
		}
	}
	return false
}

// block reports whether a block has no row that is wanted.
func (l rulesOut) block(known func(column uint32) (low, high datum.Datum, ok bool)) bool {
	for i := range l {
		low, high, ok := known(l[i].id)
		if ok && low.Kind() == l[i].kind && l[i].values.Misses(low, high) {
			return true
		}
	}
	return false
}

// columnReader adds cold rows to the only group of an aggregate column by column.
type columnReader struct {
	scan    *scanOperator
	columns []datum.Column
	needed  []int // positions of the columns that are read
	chosen  []int // rows of a condition
}

// columnReader makes one when the aggregate can be fed so; else nil.
func (o *aggregateOperator) columnReader() *columnReader {
	scan, ok := o.input.(*scanOperator)
	if !ok || len(o.keys) > 0 {
		return nil
	}
	for _, accumulator := range o.ordered[0].accumulators {
		if !accumulator.TakesColumns() {
			return nil
		}
	}
	scan.byRows = true // what it takes by columns, this does
	return &columnReader{scan: scan, columns: make([]datum.Column, len(scan.row))}
}

// add adds the rows that come next as long as they come by columns.
func (c *columnReader) add(ctx context.Context, o *aggregateOperator) error {
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := c.scan.cursor.Columns(c.columns, true)
		if n == 0 || err != nil {
			return err
		}
		if c.scan.condition != nil {
			if n, err = c.choose(n); err != nil {
				return err
			}
		}
		for _, accumulator := range o.ordered[0].accumulators {
			if err := accumulator.AddColumns(c.columns, n); err != nil {
				return err
			}
		}
		if err := o.account(o.ordered[0]); err != nil {
			return err
		}
	}
}

// choose keeps the rows that the condition holds for, and returns how many they are.
func (c *columnReader) choose(n int) (kept int, err error) {
	c.needed = filledOf(c.columns, c.needed)
	c.chosen = candidates(c.scan.limits, c.columns, n, c.chosen)
	chosen := c.chosen[:0] // never ahead of what is read
	row := c.scan.row
	for _, at := range c.chosen {
		for _, i := range c.needed {
			row[i] = c.columns[i].At(at)
		}
		keep, err := expr.Test(c.scan.condition, c.scan.eval, row)
		if err != nil {
			return 0, err
		}
		if keep {
			chosen = append(chosen, at)
		}
	}
	if len(chosen) == n {
		return n, nil
	}
	for _, i := range c.needed { // what the cursor gave is not ours to change
		c.columns[i] = c.columns[i].Pick(chosen)
	}
	return len(chosen), nil
}
