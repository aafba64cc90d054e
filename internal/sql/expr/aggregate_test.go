package expr

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// groupRows is small enough to compute by hand: i, t, m, d, b.
func groupScope() *Scope {
	return NewScope(
		Column{Table: "g", Name: "i", Type: datum.Of(datum.Int), Position: 0},
		Column{Table: "g", Name: "t", Type: datum.Of(datum.Text), Position: 1},
		Column{Table: "g", Name: "m", Type: datum.Type{Kind: datum.Decimal, Precision: 10, Scale: 2}, Position: 2},
		Column{Table: "g", Name: "d", Type: datum.Of(datum.Double), Position: 3},
		Column{Table: "g", Name: "b", Type: datum.Of(datum.Boolean), Position: 4},
		Column{Table: "g", Name: "l", Type: datum.Of(datum.BigInt), Position: 5},
	)
}

func groupRows(t *testing.T) [][]datum.Datum {
	t.Helper()
	money := func(text string) datum.Datum {
		d, err := datum.ParseText(text, datum.Of(datum.Decimal))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	big := datum.NewBigInt(1 << 62)
	return [][]datum.Datum{
		{datum.NewInt(datum.Int, 1), datum.NewText("a"), money("1.10"), datum.NewDouble(0.5), datum.NewBool(true), big},
		{datum.NewInt(datum.Int, 2), datum.NewText("b"), money("2.25"), datum.NewDouble(1.5), datum.NewBool(true), big},
		{datum.NewInt(datum.Int, 2), datum.NewText("a"), money("-1.00"), {}, datum.NewBool(false), big},
		{{}, {}, {}, {}, {}, {}},
	}
}

// aggregate computes one grouped expression over rows in a single group.
func aggregate(t *testing.T, text string, rows [][]datum.Datum) (Expr, datum.Datum, error) {
	t.Helper()
	grouping := &Grouping{}
	e, err := Bind(parseExpr(t, text), groupScope(), Options{Grouping: grouping, Clause: "SELECT"})
	if err != nil {
		return nil, datum.Datum{}, err
	}
	ctx := NewEvalContext(testEnv())
	grouped := make([]datum.Datum, len(grouping.Calls))
	for i, call := range grouping.Calls {
		accumulator := NewAccumulator(call)
		for _, row := range rows {
			if err = accumulator.AddRow(ctx, row); err != nil {
				return nil, datum.Datum{}, err
			}
		}
		if grouped[i], err = accumulator.Result(ctx); err != nil {
			return nil, datum.Datum{}, err
		}
	}
	value, err := e.Eval(ctx, grouped)
	return e, value, err
}

func TestAggregateRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"sum(t)":                  "error invalid_statement at 1:1: function sum does not apply to TEXT",
		"sum(*)":                  "error invalid_statement at 1:1: sum(*) does not exist; only count(*) does",
		"count()":                 "error invalid_statement at 1:1: function count takes 1 argument(s), got 0",
		"sum(count(*))":           "error invalid_statement at 1:5: aggregate calls cannot be nested",
		"i + sum(i)":              `error invalid_statement at 1:1: column "i" must appear in GROUP BY or be used in an aggregate function`,
		"bool_and(i)":             "error invalid_statement at 1:10: argument 1 of bool_and must not be INT",
		"max(b)":                  "error invalid_statement at 1:1: function max does not apply to BOOLEAN",
		"sum(i) FILTER (WHERE i)": "error invalid_statement at 1:22: argument of FILTER must be BOOLEAN, not INT",
		"lower(DISTINCT t)":       "error invalid_statement at 1:1: lower is not an aggregate function",
	} {
		_, value, err := aggregate(t, text, nil)
		if err == nil {
			t.Errorf("%s = %s, want an error", text, value)
			continue
		}
		if got := describe(err); got != want {
			t.Errorf("%s: %s\nwant %s", text, got, want)
		}
	}
}

func TestAggregates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, full, empty string }{
		{"count(*)", "BIGINT 4", "BIGINT 0"},
		{"count(i)", "BIGINT 3", "BIGINT 0"},
		{"count(DISTINCT i)", "BIGINT 2", "BIGINT 0"},
		{"count(DISTINCT m * 0)", "BIGINT 1", "BIGINT 0"},
		{"sum(i)", "BIGINT 5", "BIGINT NULL"},
		{"sum(DISTINCT i)", "BIGINT 3", "BIGINT NULL"},
		{"sum(l / 2)", "BIGINT 6917529027641081856", "BIGINT NULL"},
		{"sum(m)", "DECIMAL(38,2) 2.35", "DECIMAL(38,2) NULL"},
		{"sum(m * 2)", "DECIMAL 4.70", "DECIMAL NULL"},
		{"sum(d)", "DOUBLE 2", "DOUBLE NULL"},
		{"sum(d::float)", "FLOAT 2", "FLOAT NULL"},
		{"avg(i)", "DOUBLE 1.6666666666666667", "DOUBLE NULL"},
		{"avg(l)", "DOUBLE 4.611686018427388e+18", "DOUBLE NULL"},
		{"avg(m)", "DECIMAL(38,6) 0.783333", "DECIMAL(38,6) NULL"},
		{"avg(d)", "DOUBLE 1", "DOUBLE NULL"},
		{"min(t)", "TEXT a", "TEXT NULL"},
		{"max(m)", "DECIMAL(10,2) 2.25", "DECIMAL(10,2) NULL"},
		{"min(d)", "DOUBLE 0.5", "DOUBLE NULL"},
		{"bool_and(b)", "BOOLEAN f", "BOOLEAN NULL"},
		{"bool_or(b)", "BOOLEAN t", "BOOLEAN NULL"},
		{"every(b OR true)", "BOOLEAN t", "BOOLEAN NULL"},
		{"string_agg(t, ',')", "TEXT a,b,a", "TEXT NULL"},
		{"string_agg(t, ',' ORDER BY t DESC)", "TEXT b,a,a", "TEXT NULL"},
		{"string_agg(DISTINCT t, '-' ORDER BY t)", "TEXT a-b", "TEXT NULL"},
		{"array_agg(i)", "INT[] {1,2,2,NULL}", "INT[] NULL"},
		{"array_agg(i ORDER BY i DESC)", "INT[] {NULL,2,2,1}", "INT[] NULL"},
		{"count(*) FILTER (WHERE i > 1)", "BIGINT 2", "BIGINT 0"},
		{"sum(i) + count(*) * 2", "BIGINT 13", "BIGINT NULL"},
		{"coalesce(sum(i), 0) > 4", "BOOLEAN t", "BOOLEAN f"},
	} {
		for name, rows := range map[string][][]datum.Datum{c.full: groupRows(t), c.empty: nil} {
			e, value, err := aggregate(t, c.text, rows)
			if err != nil {
				t.Errorf("%s over %d rows: %v", c.text, len(rows), err)
				continue
			}
			if got := e.Type().String() + " " + value.String(); got != name {
				t.Errorf("%s over %d rows = %s, want %s", c.text, len(rows), got, name)
			}
		}
	}
}

func TestGroupingSharesCallsAndKeys(t *testing.T) {
	t.Parallel()
	key, err := Bind(parseExpr(t, "lower(t)"), groupScope(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	grouping := &Grouping{Keys: []Expr{key}}
	var got []string
	for _, text := range []string{"lower(t)", "lower(t) || '!'", "sum(i)", "sum(i) + 1", "upper(lower(t))", "count(*)", "count(g.i)"} {
		e, err := Bind(parseExpr(t, text), groupScope(), Options{Grouping: grouping})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		value, err := e.Eval(NewEvalContext(testEnv()), []datum.Datum{
			datum.NewText("key"), datum.NewBigInt(10), datum.NewBigInt(20), datum.NewBigInt(30),
		})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got = append(got, text+" = "+value.String())
	}
	for _, call := range grouping.Calls {
		got = append(got, call.String())
	}
	want := []string{
		"lower(t) = key", "lower(t) || '!' = key!", "sum(i) = 10", "sum(i) + 1 = 11", "upper(lower(t)) = KEY", "count(*) = 20",
		"count(g.i) = 30", "sum(i#0)", "count(*)", "count(i#0)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("grouped expressions (-want +got):\n%s", diff)
	}
	if _, err := Bind(parseExpr(t, "upper(t)"), groupScope(), Options{Grouping: grouping}); fault.KindOf(err) != fault.InvalidStatement || err == nil {
		t.Errorf("upper(t) under GROUP BY lower(t): %v, want an invalid statement", err)
	}
}

func TestAggregateMemoryIsBounded(t *testing.T) {
	t.Parallel()
	long := datum.NewText(strings.Repeat("x", 1<<20))
	for _, c := range []struct {
		call *AggregateCall
		row  func(i int) []datum.Datum
	}{
		{&AggregateCall{Name: "string_agg", Args: make([]Expr, 2)}, func(int) []datum.Datum { return []datum.Datum{long, long} }},
		{&AggregateCall{Name: "array_agg", Args: make([]Expr, 1)}, func(int) []datum.Datum { return []datum.Datum{long} }},
		{&AggregateCall{Name: "count", Distinct: true, Args: make([]Expr, 1)}, func(i int) []datum.Datum {
			return []datum.Datum{datum.NewText(long.Str()[i:])}
		}},
		{&AggregateCall{Name: "count", Args: make([]Expr, 1), OrderBy: make([]Order, 1)}, func(int) []datum.Datum {
			return []datum.Datum{long, long}
		}},
	} {
		a := NewAggregate(c.call)
		var err error
		for i := 0; err == nil && i < 200; i++ {
			err = a.Add(c.row(i))
		}
		if fault.KindOf(err) != fault.LimitExceeded || err == nil {
			t.Errorf("%s: %v after 200 MiB, want a limit", c.call.Name, err)
		}
	}
}
