package expr

import (
	"errors"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// TestAggregatesStopWhileTheySort asks for results that take a long sort, of a statement that has ended.
func TestAggregatesStopWhileTheySort(t *testing.T) {
	t.Parallel()
	ended := errors.New("the statement has ended")
	for _, text := range []string{
		"array_agg(l ORDER BY l)", "string_agg(DISTINCT t, ',' ORDER BY l)", "mode() WITHIN GROUP (ORDER BY l)",
		"percentile_cont(0.5) WITHIN GROUP (ORDER BY l)", "percentile_disc(ARRAY[0.5]) WITHIN GROUP (ORDER BY l DESC)",
	} {
		grouping := &Grouping{}
		if _, err := Bind(parseExpr(t, text), groupScope(), Options{Grouping: grouping}); err != nil {
			t.Fatal(text, err)
		}
		accumulator := NewAccumulator(grouping.Calls[0])
		ctx := NewEvalContext(&Env{Stopped: func() error { return ended }})
		const rows = 20_000
		for i := range int64(rows) {
			row := []datum.Datum{{}, datum.NewText("x"), {}, {}, {}, datum.NewBigInt(i * 7919 % rows)}
			if err := accumulator.AddRow(ctx, row); err != nil {
				t.Fatal(text, err)
			}
		}
		if kept := accumulator.KeptBytes(); kept < rows*8 {
			t.Errorf("%s keeps %d rows and accounts for %d bytes", text, rows, kept)
		}
		if _, err := accumulator.Result(ctx); !errors.Is(err, ended) {
			t.Errorf("%s: %v, want the reason why the statement has ended", text, err)
		}
	}
}
