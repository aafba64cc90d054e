package exec

import (
	"bytes"
	"context"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// joinAhead is how many left rows a join reads before the right ones. An input that ends within it is small, and
// what it really holds decides what is read and kept of the right input: no estimate is needed, the order of
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
		if err = o.budget.takeBytes(rowBytes(row) + wanted.add(o.values, usable)); err != nil {
			return nil, err
		}
		if o.ahead.rows, err = keepIn(o.budget, o.ahead.rows, arena.copy(row)); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// openRight starts the right input. A table that is joined by its primary key, or by an index, is read at the wanted keys
// only.
func (o *joinOperator) openRight(ctx context.Context, r *run, n *plan.Join, wanted *rowIndex) (operator, error) {
	scan, ok := n.Right.(*plan.Scan)
	if !ok || wanted == nil {
		return r.open(ctx, n.Right)
	}
	if n.Partners != nil {
		return o.openPartners(r, n, scan)
	}
	if len(o.rightKeys) != 1 {
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

// openPartners starts a right input of which an index finds the rows that have the keys of left ones.
func (o *joinOperator) openPartners(r *run, n *plan.Join, scan *plan.Scan) (operator, error) {
	at, err := r.locate(scan)
	if err != nil || at.byIndex != nil || at.bounds.Points != nil {
		return r.openLocated(scan, at, err)
	}
	prefixes := make([][]byte, 0, len(o.ahead.rows))
	for _, row := range o.ahead.rows {
		usable, failure := keyValues(o.values, o.leftKeys, o.eval, row)
		if failure != nil {
			return nil, failure
		}
		if !usable {
			continue
		}
		var prefix []byte
		for _, key := range n.Partners.Keys {
			prefix = datum.AppendKey(prefix, o.values[key])
		}
		prefixes = append(prefixes, prefix)
	}
	slices.SortFunc(prefixes, bytes.Compare)
	prefixes = slices.CompactFunc(prefixes, bytes.Equal)
	spans := make([]table.Span, len(prefixes))
	for i, prefix := range prefixes {
		spans[i] = table.Span{Low: prefix, High: keys.PrefixEnd(prefix)}
	}
	at.byIndex, err = r.readIndex(scan, at, n.Partners.Index, spans)
	return r.openLocated(scan, at, err)
}

// openLocated is openAt unless locating failed.
func (r *run) openLocated(scan *plan.Scan, at *location, err error) (operator, error) {
	if err != nil {
		return nil, err
	}
	return r.openAt(scan, at)
}

// within reports whether a key lies in a range.
func within(key []byte, bounds table.Bounds) bool {
	return (bounds.Low == nil || bytes.Compare(key, bounds.Low) >= 0) && (bounds.High == nil || bytes.Compare(key, bounds.High) < 0)
}
