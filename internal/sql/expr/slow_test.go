package expr

import (
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// TestNoFunctionHoldsUpItsStatement evaluates every kind of function on texts of a megabyte and more. A statement is looked at
// between two evaluations, and within those that take longer. What each goes on for without a look is logged; the bound is that of a
// busy machine, and finds what takes more than its share for each byte.
func TestNoFunctionHoldsUpItsStatement(t *testing.T) {
	text := strings.Repeat("Añb, ", 1<<18)
	list := `["` + strings.Repeat(`a","`, 1<<18) + `a"]`
	object := `{"k":{"a":[` + strings.Repeat(`1.5,`, 1<<18) + `1]}}`
	many := make([]datum.Datum, 99_000)
	for i := range many {
		many[i] = datum.NewText("element")
	}
	columns := []Column{
		{Name: "t", Type: datum.Of(datum.Text), Position: 0},
		{Name: "l", Type: datum.Of(datum.JSON), Position: 1},
		{Name: "o", Type: datum.Of(datum.JSON), Position: 2},
		{Name: "a", Type: datum.Type{Kind: datum.Array, Elem: datum.Text}, Position: 3},
		{Name: "b", Type: datum.Of(datum.Bytes), Position: 4},
	}
	row := []datum.Datum{
		datum.NewText(text), datum.NewString(datum.JSON, list), datum.NewString(datum.JSON, object), datum.NewArray(many),
		datum.NewString(datum.Bytes, text),
	}
	for _, source := range []string{
		"upper(t)", "lower(t)", "initcap(t)", "reverse(t)", "length(t)", "translate(t, 'Añ', 'xy')", "replace(t, 'A', '')", "md5(t)", "trim(t, 'A')",
		"substr(t, 1000000, 3)", "left(t, -5)", "right(t, 5)", "lpad('', 1000000, 'ab')", "repeat('ab', 1000000)", "split_part(t, ',', 200000)",
		"strpos(t, 'zz')", "ltrim(t, repeat('é', 200000) || 'Añb, ')", "rtrim(t, repeat('é', 200000) || 'Añb, ')", "overlay(t PLACING 'x' FROM 900000)", "t LIKE '%zz%y'", "t LIKE '%A_b_ A_b_ x%'", "t ILIKE '%ZZ%'", "t || 'x' IS NULL", "t = t || ''",
		"string_to_array(t, 'zz')", "array_to_string(a, ',')", "array_position(a, 'x')", "array_remove(a, 'x')", "a || 'x'::text IS NULL", "a = a",
		"encode(b, 'hex') IS NULL", "encode(b, 'base64') IS NULL", "l->>5", "l->'x'", "o->'k'->'b'", "o #>> '{k,a,5}'", "json_length(l)", "json_typeof(o)",
		"json_contains(l, 'zz')", "to_json(t)", "t::json IS NULL", "o::text IS NULL", "t::bytea IS NULL", "concat(t, 'x') IS NULL", "ascii(t)", "t < 'Añ'",
		"regexp_replace(t, 'zz', 'y', 'g')", "regexp_count(t, 'A.b')", "t ~ '(A|ñ)+$'", "regexp_split_to_array(t, 'zz')",
	} {
		bound, err := Bind(parseExpr(t, source), NewScope(columns...), Options{})
		if err != nil {
			t.Logf("%-45s %v", source, err)
			continue
		}
		last, longest := time.Now(), time.Duration(0)
		look := func() error {
			longest = max(longest, time.Since(last))
			last = time.Now()
			return nil
		}
		_, err = bound.Eval(NewEvalContext(&Env{Stopped: look}), row)
		_ = look()
		t.Logf("%-45s %8s %v", source, longest.Round(time.Millisecond/10), err)
		if longest > time.Second {
			t.Errorf("%s goes on for %s without a look at its statement", source, longest)
		}
	}
}
