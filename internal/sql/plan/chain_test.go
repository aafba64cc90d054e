package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// chain is a query of so many common table expressions, each of which is made of the one before it, named @ in the form.
func chain(form string, links int) string {
	var text strings.Builder
	text.WriteString("WITH t0 AS (SELECT id, name FROM items)")
	for i := 1; i < links; i++ {
		fmt.Fprintf(&text, ", t%d AS (%s)", i, strings.ReplaceAll(form, "@", fmt.Sprintf("t%d", i-1)))
	}
	fmt.Fprintf(&text, " SELECT * FROM t%d", links-1)
	return text.String()
}

// TestChainsArePlannedOnce: there are more ways through a chain of queries of which each reads the one before it twice than there is time to
// go them all. What is done for a link, and what is printed of it, is done once; and a condition stays above what it would grow in.
func TestChainsArePlannedOnce(t *testing.T) {
	t.Parallel()
	const links = 60
	for _, form := range []string{
		"SELECT id, name FROM @ UNION ALL SELECT id, name FROM @",
		"SELECT a.id, b.name FROM @ a JOIN @ b ON a.id = b.id",
		"SELECT a.id, b.name FROM @ a LEFT JOIN @ b ON a.id = b.id AND b.name > 'x' WHERE a.id > 3",
		"SELECT a.id, b.name FROM @ a, @ b, items c WHERE a.id = c.id AND b.id = c.id AND b.name = 'x'",
		"SELECT id, name FROM @ WHERE id IN (SELECT id FROM @)",
		"SELECT id, (SELECT max(p.name) FROM @ p WHERE p.id = q.id) AS name FROM @ q",
		"SELECT a.id, b.name FROM @ a, LATERAL (SELECT p.name FROM @ p WHERE p.id = a.id) b",
		"SELECT id + id AS id, name || name AS name FROM @ WHERE id > 5",
		"SELECT CASE WHEN id > 3 THEN id ELSE -id END AS id, CASE name WHEN 'x' THEN name ELSE name || id END AS name FROM @ WHERE id > 5 AND name > 'x'",
		"SELECT id, max(name) AS name FROM (SELECT * FROM @ EXCEPT SELECT * FROM @) d GROUP BY id ORDER BY id LIMIT 5",
	} {
		env := environment("svc", "service")
		env.Sizes = sizes{"items": 1000}
		statement, err := parse.Parse(chain(form, links))
		if err != nil {
			t.Fatal(err)
		}
		bound, err := plan.Build(env, statement)
		if err != nil {
			t.Errorf("%s: %v", form, err)
			continue
		}
		text := plan.Print(bound)
		if lines := strings.Count(text, "\n"); lines > 40*links || len(text) > 1<<20 {
			t.Errorf("%s: the plan has %d lines and %d bytes", form, lines, len(text))
		}
		if scans := strings.Count(text, "TableScan: shop.items"); scans < 1 || scans > 2*links {
			t.Errorf("%s: the plan reads the table in %d places", form, scans)
		}
	}
}
