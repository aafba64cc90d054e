package datum

import (
	"math"
	"testing"
)

// TestColumnsGiveWhatTheyWereMadeOf makes columns of numbers with and without NULL, and of texts, and looks at their values, parts and
// selections.
func TestColumnsGiveWhatTheyWereMadeOf(t *testing.T) {
	t.Parallel()
	bits := func(f float64) int64 { return int64(math.Float64bits(f)) }
	for name, c := range map[string]struct {
		column Column
		want   []Datum
		bytes  int64
	}{
		"numbers":  {NewNumbers(BigInt, []int64{1, -2, 3}, nil), []Datum{NewBigInt(1), NewBigInt(-2), NewBigInt(3)}, 24},
		"nulls":    {NewNumbers(Date, []int64{1, 0, 3}, []bool{false, true, false}), []Datum{NewInt(Date, 1), {}, NewInt(Date, 3)}, 27},
		"doubles":  {NewNumbers(Double, []int64{bits(0.5), bits(math.Inf(1)), bits(-0.25)}, nil), []Datum{NewDouble(0.5), NewDouble(math.Inf(1)), NewDouble(-0.25)}, 24},
		"booleans": {NewNumbers(Boolean, []int64{0, 1, 1}, nil), []Datum{NewBool(false), NewBool(true), NewBool(true)}, 24},
		"texts":    {NewColumn([]Datum{NewText("a"), {}, NewText("bcd")}), []Datum{NewText("a"), {}, NewText("bcd")}, 3*Size + 4},
		"a number": {Repeat(NewDouble(2.5), 3), []Datum{NewDouble(2.5), NewDouble(2.5), NewDouble(2.5)}, 24},
		"a text":   {Repeat(NewText("x"), 3), []Datum{NewText("x"), NewText("x"), NewText("x")}, 3*Size + 3},
		"NULL":     {Repeat(Datum{}, 3), []Datum{{}, {}, {}}, 3 * Size},
	} {
		same := func(what string, got Column, want ...Datum) {
			t.Helper()
			if got.Len() != len(want) || got.IsEmpty() != (len(want) == 0) {
				t.Errorf("%s: %s has %d values, want %d", name, what, got.Len(), len(want))
				return
			}
			for i := range want {
				if v := got.At(i); v.Kind() != want[i].Kind() || v.String() != want[i].String() {
					t.Errorf("%s: %s has %s at %d, want %s", name, what, v, i, want[i])
				}
			}
		}
		same("all", c.column, c.want...)
		same("a part", c.column.Slice(1, 3), c.want[1], c.want[2])
		same("no part", c.column.Slice(1, 1))
		same("a selection", c.column.Pick([]int{0, 2}), c.want[0], c.want[2])
		if got := c.column.SizeBytes(); got != c.bytes {
			t.Errorf("%s: %d bytes, want %d", name, got, c.bytes)
		}
	}
}
