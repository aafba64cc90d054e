package expr

import (
	"errors"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// A fraction where a whole number is wanted is an error at the place of the argument: of a constant before anything runs, of
// a column when its row is read.
func TestFractionsAreNoCounts(t *testing.T) {
	t.Parallel()
	scope, rows := testTable(t)
	for _, c := range []struct {
		text         string
		early        bool
		line, column int
		want         string // where the row's value is taken
	}{
		{text: "substr('abcdef', 2.7)", early: true, line: 1, column: 25},
		{text: "substr(t, 2.0)", want: "ello, wörld"},
		{text: "substr(t, d)", line: 1, column: 18},
		{text: "substr(t, d * 4 - 7)", want: "ello, wörld"},
		{text: "left(t, m)", line: 1, column: 16},
		{text: "left(t, CAST('nan' AS double))", early: true, line: 1, column: 16},
		{text: "left(t, NULL::decimal) IS NULL", want: "t"},
		{text: "left(t, si)", want: "Hello, "},
	} {
		e, err := Bind(parseExpr(t, c.text), scope, Options{})
		if (err != nil) != c.early {
			t.Errorf("%s: Bind says %v, want an error: %v", c.text, err, c.early)
			continue
		}
		var value datum.Datum
		if err == nil {
			value, err = e.Eval(&EvalContext{}, rows["row"])
		}
		var judged *fault.Error
		switch {
		case c.line == 0 && (err != nil || value.String() != c.want):
			t.Errorf("%s = %s, %v, want %s", c.text, value, err, c.want)
		case c.line != 0 && (!errors.As(err, &judged) || judged.Line != c.line || judged.Column != c.column):
			t.Errorf("%s: %v, want an error at %d:%d", c.text, err, c.line, c.column)
		}
	}
}
