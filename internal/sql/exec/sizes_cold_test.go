package exec

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestFlushedValuesAreCountedByTheirBounds: what segments say of a column bounds how many values it has.
func TestFlushedValuesAreCountedByTheirBounds(t *testing.T) {
	t.Parallel()
	segment := func(low, high datum.Datum, nulls uint64) *commandv1.Segment {
		c := &commandv1.SegmentColumn{Id: 7, Nulls: nulls}
		if !low.IsNull() {
			c.Min, c.Max = datum.AppendValue(nil, low), datum.AppendValue(nil, high)
		}
		return &commandv1.Segment{Rows: 100, Deletions: 10, Columns: []*commandv1.SegmentColumn{{Id: 1, Nulls: 3}, c}}
	}
	number := func(low, high int64) *commandv1.Segment {
		return segment(datum.NewInt(datum.Int, low), datum.NewInt(datum.Int, high), 0)
	}
	text := func(low, high string) *commandv1.Segment { return segment(datum.NewText(low), datum.NewText(high), 0) }
	for name, c := range map[string]struct {
		segments []*commandv1.Segment
		want     float64 // zero is unknown
	}{
		"none":              {nil, 0},
		"one":               {[]*commandv1.Segment{number(5, 9)}, 5},
		"two":               {[]*commandv1.Segment{number(5, 9), number(-2, 6)}, 12},
		"the same":          {[]*commandv1.Segment{number(4, 4), number(4, 4)}, 1},
		"truth":             {[]*commandv1.Segment{segment(datum.NewBool(false), datum.NewBool(true), 1)}, 2},
		"texts":             {[]*commandv1.Segment{text("a", "b")}, 0},
		"one text":          {[]*commandv1.Segment{text("a", "a"), text("a", "a")}, 1},
		"NULLs":             {[]*commandv1.Segment{segment(datum.Datum{}, datum.Datum{}, 90)}, 1},
		"NULLs and others":  {[]*commandv1.Segment{segment(datum.Datum{}, datum.Datum{}, 90), number(1, 3)}, 3},
		"bounds left out":   {[]*commandv1.Segment{segment(datum.Datum{}, datum.Datum{}, 5), number(1, 3)}, 0},
		"before the column": {[]*commandv1.Segment{number(1, 3), {Rows: 5}}, 0},
	} {
		got, ok, err := distinctBetween(c.segments, 7)
		if err != nil || ok != (c.want > 0) || got != c.want {
			t.Errorf("%s: %v %t %v, want %v", name, got, ok, err, c.want)
		}
	}
	damaged := number(1, 3)
	damaged.Columns[1].Min = []byte{0xff}
	if _, _, err := distinctBetween([]*commandv1.Segment{damaged}, 7); err == nil {
		t.Error("bounds that cannot be read were taken")
	}
}
