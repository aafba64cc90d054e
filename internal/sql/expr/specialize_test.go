package expr

import (
	"math"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// TestSpecializedComparisonsAreExact compares every comparison of a column and a constant, on either side, with what
// it stands for.
func TestSpecializedComparisonsAreExact(t *testing.T) {
	t.Parallel()
	kinds := []datum.Kind{datum.SmallInt, datum.Int, datum.BigInt, datum.Timestamp, datum.DateTime, datum.Date, datum.Time, datum.Double}
	specialized := 0
	for _, kind := range kinds {
		for _, other := range kinds {
			for op := EqualTo; op <= GreaterOrEqual; op++ {
				for _, swapped := range []bool{false, true} {
					specialized += checkComparison(t, op, kind, other, swapped)
				}
			}
		}
	}
	if specialized == 0 {
		t.Error("nothing was specialized")
	}
}

func checkComparison(t *testing.T, op Comparison, kind, other datum.Kind, swapped bool) (specialized int) {
	t.Helper()
	for _, number := range []int64{-1, 0, 7, math.MinInt64, math.MaxInt64} {
		plain := &compareExpr{op: op, left: NewColumn(0, datum.Of(kind), "c"), right: NewConst(valueOf(other, number), datum.Of(other))}
		if swapped {
			plain.left, plain.right = plain.right, plain.left
		}
		fast := Prepare(plain, NewEvalContext(&Env{}))
		if _, ok := fast.(*wholeComparison); ok {
			specialized++
		}
		if fast.String() != plain.String() {
			t.Errorf("%s prints as %s", plain, fast)
		}
		for _, value := range []datum.Datum{
			{}, valueOf(kind, -1), valueOf(kind, 0), valueOf(kind, 7), valueOf(kind, 8), valueOf(kind, math.MinInt64), valueOf(kind, math.MaxInt64),
		} {
			row := []datum.Datum{value}
			want, wantErr := plain.Eval(nil, row)
			got, err := fast.Eval(nil, row)
			if got.Kind() != want.Kind() || !datum.Equal(got, want) || (err == nil) != (wantErr == nil) {
				t.Errorf("%s over %v: got %v, %v; want %v, %v", plain, value, got, err, want, wantErr)
			}
		}
		if _, err := fast.Eval(nil, nil); err == nil {
			t.Errorf("%s over a row without columns did not fail", plain)
		}
	}
	return specialized
}

func valueOf(kind datum.Kind, number int64) datum.Datum {
	if kind == datum.Double {
		return datum.NewDouble(float64(number))
	}
	return datum.NewInt(kind, number)
}
