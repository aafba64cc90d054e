package expr

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// TestColumnsAreAddedLikeRows aggregates random values, among them NULL, NaN, infinities and zeros of both signs, by columns in pieces and row by
// row.
func TestColumnsAreAddedLikeRows(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 5))
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1)}
	draw := func() []datum.Datum {
		row := make([]datum.Datum, 6)
		row[0] = datum.NewInt(datum.Int, int64(r.IntN(2000)-1000))
		row[1] = datum.NewText(strconv.Itoa(r.IntN(100)))
		row[3] = datum.NewDouble(r.NormFloat64())
		if r.IntN(20) == 0 {
			row[3] = datum.NewDouble(odd[r.IntN(len(odd))])
		}
		row[4] = datum.NewBool(r.IntN(2) == 0)
		row[5] = datum.NewBigInt(r.Int64N(1<<56) - 1<<55)
		for i := range row {
			if r.IntN(10) == 0 {
				row[i] = datum.Datum{}
			}
		}
		return row
	}
	for round := range 200 {
		rows := make([][]datum.Datum, 1+r.IntN(40))
		for i := range rows {
			rows[i] = draw()
		}
		for _, text := range []string{"COUNT(*)", "COUNT(i)", "MIN(i)", "MAX(i)", "MIN(d)", "MAX(d)", "SUM(d)", "MIN(l)", "MAX(l)", "SUM(l)", "AVG(i)", "MIN(t)", "MAX(t)", "BOOL_OR(b)"} {
			_, want, err := aggregate(t, text, rows)
			if err != nil {
				t.Fatal(text, err)
			}
			grouping := &Grouping{}
			if _, err = Bind(parseExpr(t, text), groupScope(), Options{Grouping: grouping, Clause: "SELECT"}); err != nil {
				t.Fatal(text, err)
			}
			accumulator := NewAccumulator(grouping.Calls[0])
			if !accumulator.TakesColumns() {
				t.Fatalf("%s takes no columns", text)
			}
			for rest := rows; len(rest) > 0; {
				n := 1 + r.IntN(len(rest))
				columns := columnsOf(rest[:n])
				if err = accumulator.AddColumns(columns, n); err != nil {
					t.Fatal(text, err)
				}
				rest = rest[n:]
			}
			got, err := accumulator.Result(nil)
			if err != nil || got.String() != want.String() {
				t.Fatalf("round %d: %s is %s by columns and %s by rows: %v", round, text, got, want, err)
			}
		}
	}
}

// columnsOf turns rows, the second value of which is a text, into columns as files have them.
func columnsOf(rows [][]datum.Datum) []datum.Column {
	columns := make([]datum.Column, len(rows[0]))
	for i := range columns {
		kind, values, nums, nulls, null := datum.Null, make([]datum.Datum, len(rows)), make([]int64, len(rows)), make([]bool, len(rows)), false
		for at, row := range rows {
			values[at] = row[i]
			switch k := row[i].Kind(); {
			case k == datum.Null:
				nulls[at], null = true, true
			case k.IsFloat():
				kind, nums[at] = k, int64(math.Float64bits(row[i].Float()))
			default:
				kind, nums[at] = k, row[i].Int()
			}
		}
		if !null {
			nulls = nil
		}
		if columns[i] = datum.NewNumbers(kind, nums, nulls); !datum.IsNumeric(kind) {
			columns[i] = datum.NewColumn(values)
		}
	}
	return columns
}
