package exec

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// coldDistinct bounds the different values of a column in a scope's segments by what its manifest says, without reading a file. ok is
// false when that says nothing.
func (e *Engine) coldDistinct(scope *table.Scope, position int) (most float64, ok bool, err error) {
	view, err := scope.View(e.deps.Storage)
	if err != nil || view == nil {
		return 0, false, err
	}
	return distinctBetween(view.Manifest().GetSegments(), scope.Table.Columns[position].ID)
}

// distinctBetween counts what lies between the least and the greatest value of a column: whole numbers, days and truth values. Of
// another type, a column has one value or nobody knows how many.
func distinctBetween(segments []*commandv1.Segment, column uint32) (most float64, ok bool, err error) {
	var low, high datum.Datum
	for _, segment := range segments {
		least, greatest, known, err := boundsOf(segment, column)
		if err != nil {
			return 0, false, err
		}
		if !known {
			return 0, false, nil
		}
		if least.IsNull() {
			continue // there are NULLs only
		}
		if low.IsNull() || datum.Compare(least, low) < 0 {
			low = least
		}
		if high.IsNull() || datum.Compare(greatest, high) > 0 {
			high = greatest
		}
	}
	switch {
	case len(segments) == 0:
		return 0, false, nil
	case low.IsNull() || datum.Compare(low, high) == 0:
		return 1, true, nil
	case low.Kind() == datum.Boolean:
		return 2, true, nil
	case low.Kind().IsInteger() || low.Kind() == datum.Date:
		return float64(high.Int()) - float64(low.Int()) + 1, true, nil
	}
	return 0, false, nil
}

// boundsOf returns the bounds of a column in a segment, NULL when it has NULLs only. known is false for a column that was added later
// and for bounds that were too long to be kept.
func boundsOf(segment *commandv1.Segment, column uint32) (low, high datum.Datum, known bool, err error) {
	for _, c := range segment.GetColumns() {
		if c.GetId() != column {
			continue
		}
		if len(c.GetMin()) == 0 || len(c.GetMax()) == 0 {
			return low, high, c.GetNulls() >= segment.GetRows()-segment.GetDeletions(), nil
		}
		if low, _, err = datum.DecodeValue(c.GetMin()); err == nil {
			high, _, err = datum.DecodeValue(c.GetMax())
		}
		if err != nil {
			return low, high, false, fmt.Errorf("bounds of column %d in segment %s: %w", column, segment.GetPath(), err)
		}
		return low, high, true, nil
	}
	return low, high, false, nil
}
