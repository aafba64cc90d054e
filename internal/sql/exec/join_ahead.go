package exec

import (
	"bytes"
	"context"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// joinAhead is how many left rows a join reads before the right ones. An input that ends within it is small, and
// what it really holds decides what is read and kept of the right input: no statistics are needed, the order of
// the result does not change, and the same data gives the same plan on every node.
const joinAhead = 1024

// readAhead reads the first left rows. When that is all of them, and right rows without a partner are of no interest,
// it returns an index of their keys; else nil.
func (o *joinOperator) readAhead(ctx context.Context) (*rowIndex, error) {
	if o.index == nil || o.kind == parse.RightJoin || o.kind == parse.FullJoin {
		return nil, nil
	}
	wanted := &rowIndex{shape: o.index.shape, encoded: map[string]chain{}, wholes: map[int64]chain{}}
	var arena rowArena
	for len(o.ahead.rows) < joinAhead {
		row, err := o.left.next(ctx)
		if err != nil {
			return nil, err
		}
		if row == nil {
			o.left = &rowsOperator{rows: nil, closes: o.left}
			return wanted, nil
		}
		usable, err := keyValues(o.values, o.leftKeys, o.eval, row)
		if err != nil {
			return nil, err
		}
		if err := o.budget.takeBytes(rowBytes(row) + wanted.add(o.values, usable)); err != nil {
			return nil, err
		}
		o.ahead.rows = append(o.ahead.rows, arena.copy(row))
	}
	return nil, nil
}

// openRight starts the right input. A table that is joined by its primary key is read at the wanted keys only.
func (o *joinOperator) openRight(ctx context.Context, r *run, n *plan.Join, wanted *rowIndex) (operator, error) {
	scan, ok := n.Right.(*plan.Scan)
	if !ok || wanted == nil || len(o.rightKeys) != 1 {
		return r.open(ctx, n.Right)
	}
	if place, plain := expr.ColumnPosition(o.rightKeys[0]); !plain || place != scan.Table.PrimaryKey() {
		return r.open(ctx, n.Right)
	}
	own, err := scan.Bounds(r.eval)
	if err != nil {
		return nil, err
	}
	if own.Points != nil {
		return r.openScanWithin(scan, own)
	}
	points := make([][]byte, 0, len(o.ahead.rows))
	for _, row := range o.ahead.rows {
		usable, err := keyValues(o.values, o.leftKeys, o.eval, row)
		if err != nil {
			return nil, err
		}
		if !usable {
			continue
		}
		point := datum.AppendKey(nil, o.values[0])
		if within(point, own) {
			points = append(points, point)
		}
	}
	slices.SortFunc(points, bytes.Compare)
	points = slices.CompactFunc(points, bytes.Equal)
	return r.openScanWithin(scan, table.Bounds{Points: points})
}

// within reports whether a key lies in a range.
func within(key []byte, bounds table.Bounds) bool {
	return (bounds.Low == nil || bytes.Compare(key, bounds.Low) >= 0) && (bounds.High == nil || bytes.Compare(key, bounds.High) < 0)
}
