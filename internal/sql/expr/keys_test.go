package expr

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// show prints a range as an interval or a set.
func show(r KeyRange) string {
	if r.IsPoints {
		var points []string
		for _, p := range r.Points {
			points = append(points, p.Kind().String()+" "+p.String())
		}
		return "{" + strings.Join(points, ", ") + "}"
	}
	low, high := "(", ")"
	if r.LowInclusive && !r.Low.IsNull() {
		low = "["
	}
	if r.HighInclusive && !r.High.IsNull() {
		high = "]"
	}
	return fmt.Sprintf("%s%s, %s%s", low, r.Low, r.High, high)
}

func TestKeyRangeOf(t *testing.T) {
	t.Parallel()
	scope := NewScope(
		Column{Name: "id", Type: datum.Of(datum.BigInt), Position: 0},
		Column{Name: "name", Type: datum.Of(datum.Text), Position: 1},
		Column{Name: "at", Type: datum.Of(datum.Timestamp), Position: 2},
		Column{Name: "ok", Type: datum.Of(datum.Boolean), Position: 3},
	)
	params := []datum.Datum{datum.NewBigInt(7), datum.NewDouble(7.5), {}, datum.NewText("8")}
	for _, c := range []struct {
		condition string
		column    int
		want      string
	}{
		{"id = 5", 0, "{BIGINT 5}"},
		{"5 = id", 0, "{BIGINT 5}"},
		{"id = '5'", 0, "{BIGINT 5}"},
		{"id = 5.0", 0, "{BIGINT 5}"},
		{"id = 5.5", 0, "{}"},
		{"id = NULL", 0, "{}"},
		{"id = $1", 0, "{BIGINT 7}"},
		{"id = $2", 0, "{}"},
		{"id = $3", 0, "{}"},
		{"id = $4", 0, "{BIGINT 8}"},
		{"id IN (3, 1, 2, 2, NULL, 2.5)", 0, "{BIGINT 1, BIGINT 2, BIGINT 3}"},
		{"id IN (1, $1)", 0, "{BIGINT 1, BIGINT 7}"},
		{"id NOT IN (1, 2)", 0, "(NULL, NULL)"},
		{"id > 5", 0, "(5, NULL)"},
		{"id >= 5 AND id < 10", 0, "[5, 10)"},
		{"5 < id AND 10 >= id", 0, "(5, 10]"},
		{"id BETWEEN 5 AND 10", 0, "[5, 10]"},
		{"id BETWEEN 10 AND 5", 0, "{}"},
		{"id > 5 AND id >= 5 AND id < $1", 0, "(5, 7)"},
		{"id > 5 AND id IN (5, 6, 7)", 0, "{BIGINT 6, BIGINT 7}"},
		{"id = 1 AND id = 2", 0, "{}"},
		{"id = 1 OR id = 2", 0, "(NULL, NULL)"},
		{"id < 5.5", 0, "(NULL, NULL)"},
		{"id < 5.0", 0, "(NULL, 5)"},
		{"id < $3", 0, "{}"},
		{"id <> 5", 0, "(NULL, NULL)"},
		{"id + 0 = 5", 0, "(NULL, NULL)"},
		{"id = id", 0, "(NULL, NULL)"},
		{"id = 5 AND name = 'x'", 1, "{TEXT x}"},
		{"name = current_user()", 1, "{TEXT alice}"},
		{"name > lower('ABC') AND (id = 1 OR ok)", 1, "(abc, NULL)"},
		{"name = ulid()", 1, "(NULL, NULL)"},
		{"at >= '2024-01-01' AND at < DATE '2024-02-01'", 2, "[2024-01-01 00:00:00, 2024-02-01 00:00:00)"},
		{"ok", 3, "{BOOLEAN t}"},
		{"ok AND id > 1", 0, "(1, NULL)"},
	} {
		e, err := BindCondition(parseExpr(t, c.condition), scope, Options{Clause: "WHERE"})
		if err != nil {
			t.Errorf("%s: %v", c.condition, err)
			continue
		}
		got, err := KeyRangeOf(e, c.column, scope.Columns()[c.column].Type, NewEvalContext(testEnv(params...)))
		if err != nil {
			t.Errorf("%s: %v", c.condition, err)
			continue
		}
		if show(got) != c.want {
			t.Errorf("%s on column %d: %s, want %s (as %s)", c.condition, c.column, show(got), c.want, e)
		}
	}
}

// TestKeyRangeNeverLosesRows compares with evaluating the condition on every key.
func TestKeyRangeNeverLosesRows(t *testing.T) {
	t.Parallel()
	scope := NewScope(Column{Name: "k", Type: datum.Of(datum.Int), Position: 0})
	comparisons := []string{"=", "<>", "<", "<=", ">", ">="}
	values := []string{"0", "3", "3.5", "-2", "NULL", "'4'", "99999999999", "2.0::double"}
	var atoms []string
	for _, op := range comparisons {
		for _, value := range values {
			atoms = append(atoms, "k "+op+" "+value, value+" "+op+" k")
		}
	}
	atoms = append(atoms, "k IN (1, 3.5, NULL)", "k NOT IN (2)", "k BETWEEN -1 AND 3.5", "k IS NULL")
	ctx := NewEvalContext(testEnv())
	for i, first := range atoms {
		second := atoms[(i*7+3)%len(atoms)]
		text := first + " AND " + second
		e, err := BindCondition(parseExpr(t, text), scope, Options{})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		bounds, err := KeyRangeOf(e, 0, datum.Of(datum.Int), ctx)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for k := int64(-5); k <= 5; k++ {
			key := datum.NewInt(datum.Int, k)
			matches, err := Test(e, ctx, []datum.Datum{key})
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if matches && !bounds.Contains(key) {
				t.Errorf("%s holds for %d, which its range %s leaves out", text, k, show(bounds))
			}
		}
	}
}
