package expr

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// TestPathsWithoutAStatementAreShort evaluates a path that goes over a million items, with a statement that could end it and without one.
func TestPathsWithoutAStatementAreShort(t *testing.T) {
	t.Parallel()
	statement, err := parse.Parse(`SELECT ('[' || repeat('1,', 999) || '1]')::json @? '$[*] ? (exists($[*] ? (@ == 2)))'`)
	if err != nil {
		t.Fatal(err)
	}
	node := statement.(*parse.Query).Body.(*parse.Select).Items[0].Expr //nolint:errcheck // it was written so
	e, err := Bind(node, NewScope(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = e.Eval(NewEvalContext(&Env{}), nil); fault.KindOf(err) != fault.LimitExceeded {
		t.Errorf("without a statement: %v", err)
	}
	found, err := e.Eval(NewEvalContext(&Env{Stopped: func() error { return nil }}), nil)
	if err != nil || found.Kind() != datum.Boolean || found.Bool() {
		t.Errorf("with a statement: %v %v", found, err)
	}
}
