package exec_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// shapes makes queries of the columns a, b and c: joins, set operations, groups, windows, views, common table expressions and
// subqueries over each other, with NULLs in all of them. Their rows are in no order of their own.
type shapes struct{ random *rand.Rand }

func (s shapes) one(of ...string) string { return of[s.random.IntN(len(of))] }

// query is deeper than its parts by at most depth.
func (s shapes) query(depth int) string {
	if depth == 0 {
		return s.one(
			"SELECT id AS a, age AS b, team AS c FROM people",
			"SELECT id AS a, age AS b, team AS c FROM grouped_people",
			"SELECT age AS a, team AS b, CASE WHEN id % 3 = 0 THEN NULL ELSE id END AS c FROM people WHERE id % 2 = 0",
			"SELECT column1 AS a, column2 AS b, column3 AS c FROM (VALUES (1, NULL, 2), (NULL, 3, 3), (4, 4, NULL), (4, 4, NULL)) v",
		)
	}
	part := func() string { return s.query(s.random.IntN(depth)) }
	equal := s.one("l.b = r.b", "l.c = r.c AND l.a = r.a", "l.b = r.a AND l.c <= r.b", "l.a + 1 = r.a", "l.c = r.b AND l.a > 3", "l.b = r.c AND r.a < 20")
	switch s.random.IntN(11) {
	case 0:
		return fmt.Sprintf("SELECT l.a, r.b, l.c FROM (%s) l %s JOIN (%s) r ON %s", part(), s.one("INNER", "LEFT", "RIGHT", "FULL"), part(), equal)
	case 1:
		return fmt.Sprintf("SELECT l.a, r.b, x.team AS c FROM (%s) l, (%s) r, people x WHERE %s AND x.id = r.a", part(), part(), equal)
	case 2:
		return fmt.Sprintf("SELECT * FROM (%s) l %s SELECT * FROM (%s) r", part(),
			s.one("UNION", "UNION ALL", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"), part())
	case 3:
		return fmt.Sprintf("SELECT b AS a, c AS b, CAST(COUNT(*) AS INT) AS c FROM (%s) g GROUP BY b, c%s", part(), s.one("", " HAVING COUNT(*) > 1"))
	case 4:
		return fmt.Sprintf("SELECT a, CAST(%s OVER (PARTITION BY c ORDER BY b, a) AS INT) AS b, c FROM (%s) w", s.one("RANK()", "COUNT(a)", "MAX(b)", "DENSE_RANK()"), part())
	case 5:
		return fmt.Sprintf("SELECT DISTINCT b AS a, c AS b, c FROM (%s) d", part())
	case 6:
		return fmt.Sprintf("WITH w AS %s(%s) SELECT x.a, x.b + 1 AS b, x.c FROM w x WHERE x.a > %d", s.one("", "MATERIALIZED "), part(), s.random.IntN(8))
	case 7:
		return fmt.Sprintf("WITH w AS (%s) SELECT l.a, r.b, r.c FROM w l JOIN w r ON %s", part(), equal)
	case 8:
		return fmt.Sprintf("SELECT a, (SELECT MAX(age) FROM people p WHERE p.team = s.c AND p.id > s.a) AS b, c FROM (%s) s", part())
	case 9:
		return fmt.Sprintf("SELECT s.a, t.age AS b, s.c FROM (%s) s %s JOIN LATERAL (SELECT age FROM people p WHERE p.team = s.c) t ON t.age > s.b",
			part(), s.one("INNER", "LEFT"))
	}
	return fmt.Sprintf("SELECT a, b, c FROM (%s) s WHERE %s", part(), s.condition(1))
}

// condition reads a, b and c.
func (s shapes) condition(depth int) string {
	column := s.one("a", "b", "c", "a + b", "COALESCE(b, c)")
	k := s.random.IntN(14)
	switch pick := s.random.IntN(9); {
	case pick == 0 && depth > 0:
		return "(" + s.condition(depth-1) + " AND " + s.condition(depth-1) + ")"
	case pick == 1 && depth > 0:
		return "(" + s.condition(depth-1) + " OR " + s.condition(depth-1) + ")"
	case pick == 2:
		return fmt.Sprintf("%s IN (%d, %d)", column, k, s.random.IntN(14))
	case pick == 3:
		return column + " IS NOT NULL"
	case pick == 4:
		return fmt.Sprintf("%s IN (SELECT age FROM people WHERE id < %d)", column, k)
	case pick == 5:
		return "a = b"
	}
	return fmt.Sprintf("%s %s %d", column, s.one("=", "<>", "<", ">=", "IS DISTINCT FROM"), k)
}

// number finds the literals of a condition.
var number = regexp.MustCompile(`\b\d+\b`)

// parameterized puts parameters in the place of the numbers of a condition.
func parameterized(condition string) (text string, params []datum.Datum) {
	text = number.ReplaceAllStringFunc(condition, func(word string) string {
		value, _ := strconv.ParseInt(word, 10, 64)
		params = append(params, datum.NewBigInt(value))
		return "$" + strconv.Itoa(len(params))
	})
	return text, params
}

// TestConditionsGoDownUnchanged compares a condition on the rows of a query with the same condition above an OFFSET, which
// nothing passes, with its three parts, and with parameters in the place of literals.
func TestConditionsGoDownUnchanged(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := shapes{rand.New(rand.NewPCG(seed, 9))}
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
	people(t, n, s.random, 25)
	n.must(t, "CREATE INDEX people_team ON people (team, age)")
	n.must(t, "CREATE VIEW grouped_people AS SELECT MAX(id) AS id, age, team FROM people GROUP BY age, team")
	rows := func(sql string, params ...datum.Datum) string { return sortedLines(text(t, n.must(t, sql, params...))) }
	for range 150 {
		query, condition := s.query(3), s.condition(2)
		whole := rows("SELECT * FROM (" + query + ") q OFFSET 0")
		var parts strings.Builder
		for _, form := range []string{"(%s)", "NOT (%s)", "(%s) IS NULL"} {
			where := fmt.Sprintf(form, condition)
			got := rows("SELECT * FROM (" + query + ") q WHERE " + where)
			if want := rows("SELECT * FROM (" + query + " OFFSET 0) q WHERE " + where); got != want {
				t.Fatalf("%s\nWHERE %s\ngives\n%s\nand above OFFSET 0\n%s", query, where, got, want)
			}
			bound, params := parameterized(where)
			if with := rows("SELECT * FROM ("+query+") q WHERE "+bound, params...); with != got {
				t.Fatalf("%s\nWHERE %s\ngives\n%s\nand with parameters\n%s", query, where, got, with)
			}
			parts.WriteString(got)
		}
		if together := sortedLines(parts.String()); together != whole {
			t.Fatalf("%s\n%s: the parts are\n%s\nand the whole is\n%s", query, condition, together, whole)
		}
	}
}

// TestJoinOrderChangesNoRows joins tables so large that they are put into another order, and compares with the written order,
// which derived tables behind OFFSET keep.
func TestJoinOrderChangesNoRows(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
	n.must(t, "CREATE TABLE fact (id INT PRIMARY KEY, k INT, d INT)")
	n.must(t, "CREATE TABLE mid (id INT PRIMARY KEY, k INT, name TEXT)")
	n.must(t, "CREATE TABLE small (id INT PRIMARY KEY, name TEXT)")
	n.must(t, "INSERT INTO fact SELECT i, i % 2000, i % 100 FROM generate_series(1, 20000) g(i)")
	n.must(t, "INSERT INTO mid SELECT i, i % 2500, 'm' || i FROM generate_series(1, 3000) g(i)")
	n.must(t, "INSERT INTO small SELECT i, 's' || i FROM generate_series(1, 5) g(i)")
	for _, test := range []struct{ written, kept, first string }{
		{
			"SELECT f.id, m.name, s.name FROM fact f JOIN mid m ON f.k = m.k JOIN small s ON s.id = f.d",
			"SELECT j.id, j.name, s.name FROM (SELECT f.id, f.d, m.name FROM fact f JOIN mid m ON f.k = m.k OFFSET 0) j JOIN small s ON s.id = j.d",
			"TableScan: app.small",
		},
		{
			"SELECT s.name, f.id FROM small s, mid m, fact f WHERE m.id = f.id AND f.d = s.id AND m.k + s.id > 10 AND s.name > 's2'",
			"SELECT s.name, j.id FROM (SELECT f.id, f.d, m.k FROM mid m JOIN fact f ON m.id = f.id OFFSET 0) j JOIN (SELECT * FROM small OFFSET 0) s ON j.d = s.id WHERE j.k + s.id > 10 AND s.name > 's2'",
			"TableScan: app.small",
		},
		{
			"SELECT m.name, f.id FROM mid m JOIN fact f ON m.id = f.id",
			"SELECT m.name, f.id FROM (SELECT * FROM mid OFFSET 0) m JOIN (SELECT * FROM fact OFFSET 0) f ON m.id = f.id",
			"TableScan: app.mid", // both come in the order of their keys: nothing is gained by another order
		},
	} {
		got, want := sortedLines(text(t, n.must(t, test.written))), sortedLines(text(t, n.must(t, test.kept)))
		if got != want || got == "" {
			t.Errorf("%s\ngives %d rows, want %d", test.written, strings.Count(got, "\n"), strings.Count(want, "\n"))
		}
		plan := text(t, n.must(t, "EXPLAIN "+test.written))
		_, scans, _ := strings.Cut(plan, "Join: ")
		if at := strings.Index(scans, "TableScan"); !strings.HasPrefix(scans[max(at, 0):], test.first) || !strings.Contains(plan, "Project: ") {
			t.Errorf("%s begins with another table than %s:\n%s", test.written, test.first, plan)
		}
	}
}
