package exec_test

import (
	"strings"
	"testing"
)

// TestFirstRowsByIndexInsideTransactions: a transaction finds the first rows of an ordering by an index, with what it has written laid
// over them, and depends on the part of the index that it went through and on nothing behind it.
func TestFirstRowsByIndexInsideTransactions(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) (*node, *conversation, *conversation) {
		t.Helper()
		n := startNode(t, nil)
		n.must(t, "CREATE TABLE app.items (id INT PRIMARY KEY, rank INT, name TEXT)")
		n.must(t, "INSERT INTO app.items SELECT i, 10 * i, 'n' || i FROM generate_series(1, 900) g(i)")
		n.must(t, "CREATE INDEX by_rank ON app.items (rank)")
		return n, n.begin(t), n.begin(t)
	}
	const first, last = "SELECT id FROM app.items ORDER BY rank LIMIT 4", "SELECT id FROM app.items ORDER BY rank DESC LIMIT 3"
	for name, c := range map[string]struct {
		inside, query, want string
		outside             string
		conflicts           bool
	}{
		"nothing written":     {"", first, "1 2 3 4", "UPDATE app.items SET rank = 20000 WHERE id = 500", false},
		"behind the rows":     {"", last, "900 899 898", "UPDATE app.items SET rank = 5 WHERE id = 500", false},
		"inserted":            {"INSERT INTO app.items VALUES (1000, 25, 'new')", first, "1 2 1000 3", "DELETE FROM app.items WHERE id = 700", false},
		"deleted":             {"DELETE FROM app.items WHERE id IN (1, 3)", first, "2 4 5 6", "DELETE FROM app.items WHERE id = 700", false},
		"moved":               {"UPDATE app.items SET rank = 1 WHERE id = 800", first, "800 1 2 3", "DELETE FROM app.items WHERE id = 700", false},
		"moved away":          {"UPDATE app.items SET rank = 5000 WHERE id = 2", first, "1 3 4 5", "DELETE FROM app.items WHERE id = 700", false},
		"moved to the end":    {"UPDATE app.items SET rank = 99999 WHERE id = 2", last, "2 900 899", "DELETE FROM app.items WHERE id = 300", false},
		"a row comes first":   {"", first, "1 2 3 4", "INSERT INTO app.items VALUES (1001, 15, 'x')", true},
		"a row comes among":   {"", last, "900 899 898", "UPDATE app.items SET rank = 8995 WHERE id = 5", true},
		"a row of them goes":  {"", first, "1 2 3 4", "DELETE FROM app.items WHERE id = 4", true},
		"a row of them moves": {"", last, "900 899 898", "UPDATE app.items SET rank = 1 WHERE id = 899", true},
		"another value":       {"", first, "1 2 3 4", "UPDATE app.items SET name = 'y' WHERE id = 2", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, a, _ := start(t)
			if c.inside != "" {
				a.must(c.inside)
			}
			if got := a.text(c.query); got != c.want {
				t.Errorf("%s gives %s, want %s", c.query, got, c.want)
			}
			a.must("UPDATE app.items SET name = 'changed' WHERE id = 450")
			n.must(t, c.outside)
			if c.conflicts {
				a.conflicts()
				return
			}
			a.must("COMMIT")
			if got := strings.ReplaceAll(strings.TrimSpace(text(t, n.must(t, c.query))), "\n", " "); got != c.want {
				t.Errorf("after the commit %s gives %s, want %s", c.query, got, c.want)
			}
		})
	}
}
