package expr

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

func TestScopeRefuses(t *testing.T) {
	t.Parallel()
	scope := NewScope(
		Column{Table: "a", Name: "id", Type: datum.Of(datum.Int), Position: 0},
		Column{Table: "b", Name: "id", Type: datum.Of(datum.Int), Position: 1},
	)
	for text, want := range map[string]string{
		"id":             `error invalid_statement at 1:1: column reference "id" is ambiguous`,
		"a.nope":         `error invalid_statement at 1:1: column "a.nope" not found`,
		"c.id":           `error invalid_statement at 1:1: missing FROM-clause entry for table "c" of column "c.id"`,
		"1 +\n  missing": `error invalid_statement at 2:-4: column "missing" not found`,
	} {
		_, err := Bind(parseExpr(t, text), scope, Options{})
		if err == nil || describe(err) != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := Bind(parseExpr(t, "id"), nil, Options{}); fault.KindOf(err) != fault.InvalidStatement || err == nil {
		t.Errorf("a column without a scope: %v", err)
	}
	if _, err := scope.Expand(&parse.Star{Table: "c"}); err == nil {
		t.Error("c.* expands without a table c")
	}
}

func TestScopeExpandsStars(t *testing.T) {
	t.Parallel()
	scope := NewScope(
		Column{Namespace: "n", Table: "a", Name: "id"}, Column{Namespace: "n", Table: "a", Name: "secret", Hidden: true},
		Column{Table: "b", Name: "x"},
	)
	for _, c := range []struct {
		star *parse.Star
		want []string
	}{
		{&parse.Star{}, []string{"id", "x"}}, {&parse.Star{Table: "a"}, []string{"id"}}, {&parse.Star{Namespace: "n", Table: "a"}, []string{"id"}},
	} {
		columns, err := scope.Expand(c.star)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, column := range columns {
			got = append(got, column.Name)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.star, diff)
		}
	}
}

// TestNamesCannotForgeExpressions: grouping compares expressions by how they print.
func TestNamesCannotForgeExpressions(t *testing.T) {
	t.Parallel()
	scope := NewScope(Column{Name: "a#0 + b", Type: datum.Of(datum.Int), Position: 1})
	e, err := Bind(parseExpr(t, `"a#0 + b"`), scope, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if e.String() != `"a#0 + b"#1` {
		t.Errorf("a column prints as %s", e)
	}
}

func TestBindAs(t *testing.T) {
	t.Parallel()
	money := datum.Type{Kind: datum.Decimal, Precision: 10, Scale: 2}
	scope, rows := testTable(t)
	ctx := NewEvalContext(testEnv(datum.NewDouble(19.999), datum.NewText("2024-05-06")))
	for _, c := range []struct {
		text string
		typ  datum.Type
		want string
	}{
		{"1.005", money, "1.01"},
		{"i", money, "42.00"},
		{"$1", money, "20.00"},
		{"$2", datum.Of(datum.Timestamp), "2024-05-06 00:00:00"},
		{"NULL", money, "NULL"},
		{"'7'", datum.Of(datum.Int), "7"},
		{"now()", datum.Of(datum.Timestamp), "2023-11-14 22:13:20.123456"},
		{"t", datum.Of(datum.Int), `error invalid_statement: "Hello, wörld" is not a valid INT`},
		{"b", datum.Of(datum.Double), "error invalid_statement at 1:1: cannot convert a value of type BOOLEAN to DOUBLE"},
		{"12345678901", datum.Of(datum.Int), `error out_of_range at 1:1: "12345678901" is out of range for INT`},
		{"i + 2147483647", datum.Of(datum.Int), `error out_of_range: "2147483689" is out of range for INT`},
		{"uuid_v7()", datum.Of(datum.UUID), "018bcfe5-6800-7000-8000-000000000001"},
	} {
		e, err := BindAs(parseExpr(t, c.text), scope, Options{}, c.typ)
		got := ""
		if err == nil {
			var value datum.Datum
			value, err = e.Eval(ctx, rows["row"])
			got = value.String()
			if err == nil && e.Type() != c.typ && c.text != "NULL" {
				t.Errorf("%s as %s has type %s", c.text, c.typ, e.Type())
			}
		}
		if err != nil {
			got = describe(err)
		}
		if got != c.want {
			t.Errorf("%s as %s: %s, want %s", c.text, c.typ, got, c.want)
		}
	}
}

func TestPrepareComputesOnce(t *testing.T) {
	t.Parallel()
	scope, rows := testTable(t)
	e, err := BindCondition(parseExpr(t, "ts > $1 AND t LIKE $2 AND i IN ($3, $3 + 1) AND dt < now() AND snowflake_id() > 0"), scope, Options{})
	if err != nil {
		t.Fatal(err)
	}
	env := testEnv(datum.NewText("2024-01-01"), datum.NewText("Hel%"), datum.NewBigInt(41))
	env.NowMicros = 1_800_000_000_000_000
	ctx := NewEvalContext(env)
	prepared := Prepare(e, ctx)
	const want = `((ts#11 > '2024-01-01 00:00:00'::TIMESTAMP) AND (t#7 LIKE 'Hel%'::TEXT ESCAPE '\'::TEXT) AND (i#2 IN (41, 42)) AND ` +
		`(dt#12 < '2027-01-15 08:00:00+00'::DATETIME) AND (snowflake_id() > 0))`
	if prepared.String() != want {
		t.Errorf("prepared as\n%s\nwant\n%s", prepared, want)
	}
	for name, row := range rows {
		before, beforeErr := Test(e, ctx, row)
		if beforeErr != nil {
			t.Fatal(beforeErr)
		}
		after, afterErr := Test(prepared, ctx, row)
		if afterErr != nil || before != after || after != (name == "row") {
			t.Errorf("%s: %t before and %t after preparing, %v", name, before, after, afterErr)
		}
	}
	bad, err := BindCondition(parseExpr(t, "CASE WHEN i > 0 THEN true ELSE $1 / 0 = 1 END"), scope, Options{})
	if err != nil {
		t.Fatal(err)
	}
	zero := NewEvalContext(testEnv(datum.NewBigInt(1)))
	if ok, err := Test(Prepare(bad, zero), zero, rows["row"]); err != nil || !ok {
		t.Errorf("a branch that is not taken fails: %t, %v", ok, err)
	}
}

func TestColumnsAndIndependence(t *testing.T) {
	t.Parallel()
	scope, _ := testTable(t)
	e, err := Bind(parseExpr(t, "CASE WHEN i > si THEN lower(t) ELSE coalesce(j ->> 'a', $1) END"), scope, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int]bool{1: true, 2: true, 7: true, 8: true}, Columns(e, nil)); diff != "" {
		t.Errorf("columns read (-want +got):\n%s", diff)
	}
	for text, want := range map[string]bool{
		"1": true, "$1": true, "now()": true, "lower(current_user)": true, "uuid_v7()": true, "ulid()": false, "i": false, "i + $1": false,
		"snowflake_id()": false,
	} {
		e, err := Bind(parseExpr(t, text), scope, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if IsRowIndependent(e) != want {
			t.Errorf("%s: row-independent %t, want %t", text, !want, want)
		}
	}
}

func TestEvalDefault(t *testing.T) {
	t.Parallel()
	ctx := NewEvalContext(testEnv())
	for _, c := range []struct {
		kind schema.DefaultKind
		typ  datum.Type
		want string
	}{
		{schema.DefaultNone, datum.Of(datum.Int), "NULL"},
		{schema.DefaultNow, datum.Of(datum.Timestamp), "2023-11-14 22:13:20.123456"},
		{schema.DefaultNow, datum.Of(datum.Date), "2023-11-14"},
		{schema.DefaultSnowflake, datum.Of(datum.BigInt), "1001"},
		{schema.DefaultSnowflake, datum.Of(datum.Text), "1002"},
		{schema.DefaultUUIDv7, datum.Of(datum.UUID), "018bcfe5-6800-7000-8000-000000000003"},
		{schema.DefaultUUIDv7, datum.Of(datum.Text), "018bcfe5-6800-7000-8000-000000000004"},
		{schema.DefaultULID, datum.Of(datum.Text), "01HF7YAT000000000000000005"},
		{schema.DefaultCurrentUser, datum.Of(datum.Text), "alice"},
		{schema.DefaultULID, datum.Of(datum.Int), `error invalid_statement: default of column "c": "01HF7YAT000000000000000006" is not a valid INT`},
		{schema.DefaultKind(99), datum.Of(datum.Int), `error internal: column "c" has a default of unknown kind 99`},
	} {
		value, err := EvalDefault(&schema.Column{Name: "c", Type: c.typ, Default: schema.Default{Kind: c.kind}}, ctx)
		got := value.String()
		if err != nil {
			got = describe(err)
		}
		if got != c.want {
			t.Errorf("default %d as %s: %s, want %s", c.kind, c.typ, got, c.want)
		}
	}
	bare := NewEvalContext(&Env{})
	for _, kind := range []schema.DefaultKind{schema.DefaultSnowflake, schema.DefaultUUIDv7, schema.DefaultULID} {
		if _, err := EvalDefault(&schema.Column{Default: schema.Default{Kind: kind}}, bare); err == nil {
			t.Errorf("default %d without a generator succeeds", kind)
		}
	}
}

func TestBoundExpressionsAreShared(t *testing.T) {
	t.Parallel()
	scope, rows := testTable(t)
	e, err := BindCondition(parseExpr(t, "t LIKE $1 || '%' AND i IN (42, $2) AND json_length(j) = 3 AND uuid_v7() > 'a'"), scope, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			ctx := NewEvalContext(testEnv(datum.NewText("Hel"), datum.NewBigInt(1)))
			for range 200 {
				if ok, err := Test(e, ctx, rows["row"]); err != nil || ok {
					t.Errorf("%t, %v; want false", ok, err)
					return
				}
			}
		})
	}
	wait.Wait()
}

// FuzzBindEval: no expression makes binding or evaluating panic, and Prepare never changes a value.
func FuzzBindEval(f *testing.F) {
	for _, text := range []string{
		"i + $1 * 2", "t LIKE '%' || $2", "CASE i WHEN 1 THEN 'a' END", "substring(t, -5, 9223372036854775807)", "j -> 'a' ->> 0",
		"date_trunc('week', ts) + interval '1 month'", "round(m / 3, -2)", "i BETWEEN $1 AND NULL", "ARRAY[1,2][1] = ANY(ARRAY[i])",
		"count(DISTINCT i) + sum(m) FILTER (WHERE b)", "lpad(t, 100, $2)", "2.5 ^ 100", "e <=> '[1,2,3]'", "extract(epoch from da)",
		"j @? '$.a[*] ? (@ > 1)'", "jsonb_path_query_array(j, t, j, b)", "rank(i, $1) WITHIN GROUP (ORDER BY i, t DESC)",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		statement, err := parse.Parse("SELECT " + text)
		if err != nil {
			return
		}
		query, ok := statement.(*parse.Query)
		if !ok {
			return
		}
		body, ok := query.Body.(*parse.Select)
		if !ok || len(body.Items) == 0 {
			return
		}
		scope, rows := testTable(t)
		e, err := Bind(body.Items[0].Expr, scope, Options{})
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Fatalf("%s: %v", text, err)
			}
			return
		}
		for _, row := range rows {
			ctx := NewEvalContext(testEnv(datum.NewBigInt(3), datum.NewText("x")))
			value, err := e.Eval(ctx, row)
			if err != nil {
				if fault.KindOf(err) == fault.Internal {
					t.Fatalf("%s: %v", text, err)
				}
				continue
			}
			if !value.IsNull() && value.Kind() != e.Type().Kind {
				t.Fatalf("%s: a %s, declared %s", text, value.Kind(), e.Type())
			}
		}
	})
}

func BenchmarkFilter(b *testing.B) {
	scope, rows := testTable(b)
	e, err := BindCondition(parseExpr(b, "bi > 5 AND t = 'Hello, wörld' AND d < $1"), scope, Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx := NewEvalContext(testEnv(datum.NewDouble(100)))
	e = Prepare(e, ctx)
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := Test(e, ctx, rows["row"]); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}
