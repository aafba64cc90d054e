package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
)

// batchRows is the number of rows that an aggregate takes from a scan at once: their needed values stay in the nearest cache.
const batchRows = 64

// rowsReader adds hot rows to the groups of an aggregate many at a time: what would be asked for each row anew is asked once
// for all of them.
type rowsReader struct {
	scan         *scanOperator
	rows         [][]datum.Datum // of the scan
	chosen       [][]datum.Datum // those that the condition holds for
	groups       []*group        // of the chosen rows
	accumulators []*expr.Accumulator
}

// rowsReader makes one when the input is a scan and nothing else; else nil.
func (o *aggregateOperator) rowsReader() *rowsReader {
	scan, ok := o.input.(*scanOperator)
	if !ok {
		return nil
	}
	width := len(scan.row)
	values := make([]datum.Datum, batchRows*width)
	r := &rowsReader{
		scan: scan, rows: make([][]datum.Datum, batchRows), chosen: make([][]datum.Datum, 0, batchRows),
		groups: make([]*group, batchRows), accumulators: make([]*expr.Accumulator, batchRows),
	}
	for i := range r.rows {
		r.rows[i] = values[i*width : (i+1)*width : (i+1)*width]
	}
	return r
}

// add adds the rows that come next as long as they come many at a time.
func (r *rowsReader) add(ctx context.Context, o *aggregateOperator) error {
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, failure := r.scan.cursor.Batch(r.rows)
		if n > 0 {
			chosen, err := r.choose(r.rows[:n])
			if err == nil {
				err = r.accumulate(o, chosen)
			}
			if err != nil {
				return err
			}
		}
		if n == 0 || failure != nil {
			return failure
		}
	}
}

// choose keeps the rows that the condition holds for.
func (r *rowsReader) choose(rows [][]datum.Datum) ([][]datum.Datum, error) {
	if r.scan.condition == nil {
		return rows, nil
	}
	r.chosen = r.chosen[:0]
	for _, row := range rows {
		keep, err := expr.Test(r.scan.condition, r.scan.eval, row)
		if err != nil {
			return nil, err
		}
		if keep {
			r.chosen = append(r.chosen, row)
		}
	}
	return r.chosen, nil
}

// accumulate adds rows to their groups and accounts for what the groups keep of them.
func (r *rowsReader) accumulate(o *aggregateOperator, rows [][]datum.Datum) error {
	if len(rows) == 0 {
		return nil
	}
	groups, accumulators := r.groups[:len(rows)], r.accumulators[:len(rows)]
	if err := o.groupsOf(rows, groups); err != nil {
		return err
	}
	for call := range o.calls {
		for i, found := range groups {
			accumulators[i] = found.accumulators[call]
		}
		if err := expr.AddRows(o.eval, accumulators, rows); err != nil {
			return err
		}
	}
	if !o.keeps {
		return nil
	}
	for _, found := range groups {
		if err := o.account(found); err != nil {
			return err
		}
	}
	return nil
}

// groupsOf finds the groups of rows, or starts them.
func (o *aggregateOperator) groupsOf(rows [][]datum.Datum, groups []*group) (err error) {
	byText := o.place >= 0 && o.found.shape == textKeys
	for i, row := range rows {
		if byText {
			if groups[i] = o.found.lateText(&row[o.place]); groups[i] != nil {
				continue
			}
		}
		if groups[i], err = o.groupOf(row); err != nil {
			return err
		}
	}
	return nil
}
