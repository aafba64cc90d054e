package expr

import (
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// TestWhatIsComputedAgainIsBounded: forms that compute a value several times are refused within each other where that comes to more than
// anybody waits for, and only there.
func TestWhatIsComputedAgainIsBounded(t *testing.T) {
	t.Parallel()
	scope, rows := testTable(t)
	for _, form := range []string{
		"CASE (@) WHEN 11 THEN 1 WHEN 12 THEN 2 ELSE 3 END", "CAST((@) BETWEEN 1 AND 3 AS INT)", "CAST((@) NOT BETWEEN SYMMETRIC 1 AND 3 AS INT)",
		"CAST(1 BETWEEN SYMMETRIC (@) AND 3 AS INT)", "nullif(@, 5)", "CAST((@, 1) < (2, 3) AS INT)", "CAST((1, 2) >= (@, 3) AS INT)",
		"CAST((@, 1) IN ((2, 3), (4, 5)) AS INT)",
		"CAST((CASE WHEN (@) > 0 THEN TIMESTAMP '2026-01-01' END, INTERVAL '1 day') OVERLAPS (TIMESTAMP '2026-01-01', INTERVAL '1 day') AS INT)",
	} {
		nested := func(times int) string {
			text := "i"
			for range times {
				text = strings.ReplaceAll(form, "@", text)
			}
			return text
		}
		e, err := BindCondition(parseExpr(t, nested(6)+" > 0"), scope, Options{})
		if err != nil {
			t.Errorf("%s, six times: %v", form, err)
			continue
		}
		if _, err = Test(e, NewEvalContext(testEnv()), rows["row"]); err != nil {
			t.Errorf("%s, six times: %v", form, err)
		}
		if _, err = BindCondition(parseExpr(t, nested(40)+" > 0"), scope, Options{}); fault.KindOf(err) != fault.LimitExceeded ||
			!strings.Contains(err.Error(), "compute it in a query in FROM") {
			t.Errorf("%s, 40 times: %.200v", form, err)
		}
	}
	// What is written once is computed once more for each WHEN, which costs nothing for a plain column.
	for _, text := range []string{"CASE i" + strings.Repeat(" WHEN 5 THEN 1", 50_000) + " END > 0", "(i, i) IN ((1, 2)" + strings.Repeat(", (3, 4)", 50_000) + ")"} {
		if _, err := BindCondition(parseExpr(t, text), scope, Options{}); err != nil {
			t.Errorf("%.40s...: %.200v", text, err)
		}
	}
}
