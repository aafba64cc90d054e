package server

import (
	"net/http"
	"strings"
	"testing"
)

// TestViewsAndUniqueOverHTTP: a violated UNIQUE is told to everybody, and a view over a table that the caller must not read
// answers as a missing one does.
func TestViewsAndUniqueOverHTTP(t *testing.T) {
	t.Parallel()
	_, root, ann := systemNode(t)
	for _, sql := range []string{
		"CREATE USER TABLE app.codes (id INT PRIMARY KEY, code TEXT UNIQUE)",
		"CREATE VIEW app.over_hidden AS SELECT * FROM app.hidden",
		"CREATE VIEW app.my_codes AS SELECT code FROM app.codes",
	} {
		if status, a := root.ask(sql); status != http.StatusOK {
			t.Fatalf("%s: %d %+v", sql, status, a.Error)
		}
	}
	if status, a := ann.ask("INSERT INTO app.codes VALUES (1, 'x')"); status != http.StatusOK {
		t.Fatalf("first row: %d %+v", status, a.Error)
	}
	status, a := ann.ask("INSERT INTO app.codes VALUES (2, 'x')")
	if status != http.StatusBadRequest || a.Error.Code != "SQL_EXECUTION_ERROR" || !strings.Contains(a.Error.Message, "Unique violation") {
		t.Errorf("second row: %d %+v", status, a.Error)
	}
	if got := ann.grid("SELECT code FROM app.my_codes"); got != "x" {
		t.Errorf("a view of her rows: %q", got)
	}
	if got := root.grid("SELECT count(*) FROM app.my_codes"); got != "0" {
		t.Errorf("a view of root's rows: %q", got)
	}
	missingStatus, missing := ann.ask("SELECT * FROM app.no_such")
	status, a = ann.ask("SELECT * FROM app.over_hidden")
	if status != missingStatus || a.Error == nil || *a.Error != *missing.Error {
		t.Errorf("a view over a hidden table: %d %+v, a missing one %d %+v", status, a.Error, missingStatus, missing.Error)
	}
}
