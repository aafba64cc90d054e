package exec_test

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// TestParametersHaveACommonType: where nothing else says what they are, parameters have the type that all of them have in
// common; none is rounded to the type, or to the digits, of another one.
func TestParametersHaveACommonType(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	params := []datum.Datum{datum.NewBigInt(1), datum.NewDouble(2.5)}
	for _, c := range []struct{ sql, want string }{
		{"SELECT x FROM (VALUES ($1), ($2)) v(x)", "1\n2.5\n"},
		{"SELECT x FROM (VALUES (1.5), ($2), ($1 + 0.25)) v(x)", "1.5\n2.5\n1.25\n"},
		{"SELECT greatest($1, $2)", "2.5\n"},
		{"SELECT CASE WHEN $1 > 1 THEN $1 ELSE $2 END", "2.5\n"},
		{"SELECT coalesce(NULL, $2, $1)", "2.5\n"},
		{"SELECT ARRAY[$1, $2]", "{1,2.5}\n"},
		{"SELECT lead(x, 1, '2.25') OVER (ORDER BY x) FROM (VALUES (1.5)) v(x) WHERE $1 < $2", "2.25\n"},
	} {
		if got := text(t, n.must(t, c.sql, params...)); got != c.want {
			t.Errorf("%s: %q, want %q", c.sql, got, c.want)
		}
	}
}
