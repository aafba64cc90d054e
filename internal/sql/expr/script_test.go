package expr

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// parseExpr reads one expression.
func parseExpr(tb testing.TB, text string) parse.Expr {
	tb.Helper()
	statement, err := parse.Parse("SELECT " + text)
	if err != nil {
		tb.Fatalf("parse %q: %v", text, err)
	}
	query, isQuery := statement.(*parse.Query)
	if !isQuery {
		tb.Fatalf("%q is a %T", text, statement)
	}
	body, isSelect := query.Body.(*parse.Select)
	if !isSelect || len(body.Items) != 1 {
		tb.Fatalf("%q is not one expression", text)
	}
	return body.Items[0].Expr
}

// testTable has one column of every kind, and a row without and one with NULLs.
func testTable(tb testing.TB) (scope *Scope, rows map[string][]datum.Datum) {
	tb.Helper()
	definitions := []struct{ name, typ, value string }{
		{"b", "boolean", "true"},
		{"si", "smallint", "7"},
		{"i", "int", "42"},
		{"bi", "bigint", "9000000000"},
		{"f", "float", "1.5"},
		{"d", "double", "2.25"},
		{"m", "decimal(10,2)", "12.34"},
		{"t", "text", "Hello, wörld"},
		{"j", "json", `{"a":{"b":[1,"x",null]},"n":1.5,"k":true}`},
		{"by", "bytes", `\x00ff`},
		{"u", "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{"ts", "timestamp", "2024-02-29 13:14:15.678901"},
		{"dt", "datetime", "2024-02-29T13:14:15Z"},
		{"da", "date", "2024-02-29"},
		{"ti", "time", "13:14:15"},
		{"e", "embedding(3)", "[1,2,3]"},
	}
	var columns []Column
	rows = map[string][]datum.Datum{}
	for i, d := range definitions {
		cast, isCast := parseExpr(tb, "NULL::"+d.typ).(*parse.Cast)
		if !isCast {
			tb.Fatalf("%s is not a type", d.typ)
		}
		resolved, err := resolveTypeName(&cast.Type)
		if err != nil {
			tb.Fatal(err)
		}
		value, err := datum.ParseText(d.value, resolved)
		if err != nil {
			tb.Fatal(err)
		}
		columns = append(columns, Column{Namespace: "app", Table: "x", Name: d.name, Type: resolved, Position: i})
		rows["row"] = append(rows["row"], value)
		rows["nulls"] = append(rows["nulls"], datum.Datum{})
	}
	return NewScope(columns...), rows
}

func testEnv(params ...datum.Datum) *Env {
	n := int64(0)
	next := func() int64 { n++; return n }
	return &Env{
		NowMicros: 1_700_000_000_123_456, User: "alice", Role: session.RoleUser, Params: params,
		Snowflake: func() int64 { return 1000 + next() },
		UUIDv7:    func() string { return fmt.Sprintf("018bcfe5-6800-7000-8000-%012d", next()) },
		ULID:      func() string { return fmt.Sprintf("01HF7YAT00%016d", next()) },
	}
}

// describe prints an error as kind, place and message.
func describe(err error) string {
	var e *fault.Error
	if !errors.As(err, &e) {
		return "untyped error: " + err.Error()
	}
	place := ""
	if e.Line != 0 {
		place = fmt.Sprintf(" at %d:%d", e.Line, e.Column-len("SELECT "))
	}
	return "error " + e.Kind.String() + place + ": " + e.Message
}

// TestScripts evaluates the expressions of testdata, one per line. The command names the row; params gives
// values for $1 and on, typed when "hints" is present.
func TestScripts(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				t.Helper()
				scope, rows := testTable(t)
				var params []datum.Datum
				options := Options{}
				for _, arg := range d.CmdArgs {
					for _, text := range arg.Vals {
						if arg.Key == "params" {
							value, err := ConstOf(parseExpr(t, strings.ReplaceAll(text, "_", " ")))
							if err != nil {
								t.Fatal(err)
							}
							params = append(params, value)
						}
					}
				}
				if d.HasArg("hints") {
					for _, p := range params {
						options.ParamTypes = append(options.ParamTypes, datum.Of(p.Kind()))
					}
				}
				var out strings.Builder
				for line := range strings.SplitSeq(d.Input, "\n") {
					out.WriteString(evalLine(t, line, scope, options, testEnv(params...), rows[d.Cmd]) + "\n")
				}
				return out.String()
			})
		})
	}
}

// ConstOf evaluates an expression without names.
func ConstOf(node parse.Expr) (datum.Datum, error) {
	e, err := Bind(node, nil, Options{})
	if err != nil {
		return datum.Datum{}, err
	}
	return e.Eval(NewEvalContext(testEnv()), nil)
}

// evalLine also checks that Prepare changes neither the value nor the error, and that the value is of the
// declared type.
func evalLine(t *testing.T, line string, scope *Scope, options Options, env *Env, row []datum.Datum) string {
	t.Helper()
	e, err := Bind(parseExpr(t, line), scope, options)
	if err != nil {
		return describe(err)
	}
	value, err := e.Eval(NewEvalContext(env), row)
	ctx := NewEvalContext(env)
	if IsRowIndependent(e) || !strings.Contains(line, "lid") {
		prepared, preparedErr := Prepare(e, ctx).Eval(ctx, row)
		if (err == nil) != (preparedErr == nil) || err == nil && !datum.Equal(value, prepared) && !strings.Contains(line, "_v7") && !strings.Contains(line, "snowflake") {
			t.Errorf("%s: %s, %v; prepared %s, %v", line, value, err, prepared, preparedErr)
		}
	}
	if err != nil {
		return "eval " + describe(err)
	}
	if !value.IsNull() && value.Kind() != e.Type().Kind {
		t.Errorf("%s: value %s of kind %s, declared %s", line, value, value.Kind(), e.Type())
	}
	return e.Type().String() + " " + value.String()
}
