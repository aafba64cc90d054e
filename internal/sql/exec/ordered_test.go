package exec_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// TestLastRowsAreReadFromTheEnd orders by the key from its end, outside and inside of a transaction that has added, changed and
// deleted rows there, and compares with the whole table in another order.
func TestLastRowsAreReadFromTheEnd(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 4))
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
	n.must(t, "CREATE TABLE t (id INT PRIMARY KEY, v INT)")
	n.must(t, "INSERT INTO t SELECT i * 2, i % 7 FROM generate_series(1, 2000) g(i)")
	n.must(t, "DELETE FROM t WHERE id > 3990")
	for range 40 {
		where := []string{"", " WHERE v = 3", " WHERE id < 1999", " WHERE id > 3900 AND v <> 1", " WHERE v > 6"}[random.IntN(5)]
		bounds := fmt.Sprintf(" LIMIT %d OFFSET %d", random.IntN(40), random.IntN(5))
		// Another key in front keeps the order, and nothing reads it from the end.
		query := "SELECT id, v FROM t" + where + " ORDER BY id DESC, v" + bounds
		twin := "SELECT id, v FROM t" + where + " ORDER BY id + 0 DESC" + bounds
		change := ""
		if random.IntN(2) == 0 {
			k := 3900 + random.IntN(100)
			change = fmt.Sprintf("UPDATE t SET v = 3 WHERE id = %d; DELETE FROM t WHERE id > %d; INSERT INTO t VALUES (%d, 3), (5001, 3)",
				k-2, k+20, 4001+2*random.IntN(40))
		}
		both := n.must(t, "BEGIN; "+change+"; "+query+"; "+twin+"; ROLLBACK").Results
		tables := slices.DeleteFunc(both, func(r exec.Result) bool { return !r.HasRows })
		if got, want := fmt.Sprint(tables[0].Rows), fmt.Sprint(tables[1].Rows); got != want {
			t.Fatalf("after %q %s\ngives %s\nwant  %s", change, query, got, want)
		}
		if got, want := text(t, n.must(t, query)), text(t, n.must(t, twin)); got != want {
			t.Fatalf("%s\ngives\n%s\nwant\n%s", query, got, want)
		}
	}
	plan := text(t, n.must(t, "EXPLAIN ANALYZE SELECT id FROM t ORDER BY id DESC LIMIT 5"))
	if !strings.Contains(plan, "Sort top: id#0 DESC NULLS FIRST from the end") || !strings.Contains(plan, "columns=[id] (rows=5 ") {
		t.Errorf("more rows are read than are wanted:\n%s", plan)
	}
	// A transaction depends on what it read from the end, and on nothing before it.
	for _, test := range []struct {
		change  string
		refused bool
	}{
		{"UPDATE t SET v = 100 WHERE id = 2", false},
		{"UPDATE t SET v = 100 WHERE id = 3990", true},
		{"INSERT INTO t VALUES (9000, 1)", true},
	} {
		c := n.begin(t)
		c.must("SELECT id FROM t ORDER BY id DESC LIMIT 3")
		c.must("INSERT INTO t VALUES (1, 1)")
		n.must(t, test.change)
		_, err := c.run("COMMIT")
		if (err != nil) != test.refused {
			t.Errorf("%s meanwhile: %v", test.change, err)
		}
		if err == nil {
			n.must(t, "DELETE FROM t WHERE id = 1")
		}
	}
}

// TestMergeJoins compares joins of tables by their keys, which are gone through side by side, with the same joins of rows that are
// in no order.
func TestMergeJoins(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 6))
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
	for _, name := range []string{"l", "r", "s"} {
		n.must(t, "CREATE TABLE "+name+" (id BIGINT PRIMARY KEY, v INT)")
		var values []string
		for _, id := range random.Perm(6000)[:3000] {
			values = append(values, fmt.Sprintf("(%d, %d)", id-1000, random.IntN(50)))
		}
		n.must(t, "INSERT INTO "+name+" VALUES "+strings.Join(values, ", "))
		n.must(t, fmt.Sprintf("DELETE FROM %s WHERE v = %d", name, random.IntN(50)))
	}
	for from, way := range map[string]string{
		"%[1]s l JOIN %[2]s r ON l.id = r.id":                                           "InnerJoin: merge",
		"%[1]s l LEFT JOIN %[2]s r ON l.id = r.id AND l.v < r.v":                        "LeftJoin: merge",
		"%[1]s l LEFT JOIN %[2]s r ON r.id = l.id AND r.v > 7":                          "LeftJoin: merge",
		"%[1]s l LEFT JOIN %[2]s r ON l.id = r.id LEFT JOIN %[3]s s ON s.id = l.id":     "LeftJoin: merge",
		"(SELECT v, id FROM %[1]s WHERE v > 3) l JOIN %[2]s r ON l.id = r.id":           "InnerJoin: merge",
		"%[1]s l RIGHT JOIN %[2]s r ON l.id = r.id":                                     "RightJoin: hash",
		"%[1]s l JOIN %[2]s r ON l.id = r.id AND l.v = r.v":                             "InnerJoin: hash",
		"%[1]s l JOIN %[2]s r ON l.id = r.v":                                            "InnerJoin: hash",
		"(SELECT v, id FROM %[1]s ORDER BY v LIMIT 2500) l JOIN %[2]s r ON l.id = r.id": "InnerJoin: hash",
	} {
		query := "SELECT l.id, l.v, r.id, r.v FROM " + fmt.Sprintf(from, "l", "r", "s")
		unordered := func(name string) string { return "(SELECT id + 0 AS id, v FROM " + name + ")" }
		twin := "SELECT l.id, l.v, r.id, r.v FROM " + fmt.Sprintf(from, unordered("l"), unordered("r"), unordered("s"))
		if strings.Contains(from, "ORDER BY") {
			twin = strings.Replace(twin, "ORDER BY v", "ORDER BY v, id", 1)
			query = strings.Replace(query, "ORDER BY v", "ORDER BY v, id", 1)
		}
		got, want := text(t, n.must(t, query)), text(t, n.must(t, twin))
		if got != want || strings.Count(got, "\n") < 5 {
			t.Errorf("%s gives %d rows, want %d", query, strings.Count(got, "\n"), strings.Count(want, "\n"))
		}
		if plan := text(t, n.must(t, "EXPLAIN "+query)); !strings.Contains(plan, way) {
			t.Errorf("%s is not planned as %s:\n%s", query, way, plan)
		}
	}
}

// TestFirstRowsWithEveryLimit asks for as many rows as can be counted behind an OFFSET, by the key from its end and by an index.
func TestFirstRowsWithEveryLimit(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
	n.must(t, "CREATE TABLE t (id INT PRIMARY KEY, v INT); CREATE INDEX t_v ON t (v); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3), (4, 4)")
	for order, want := range map[string]string{"id DESC": "2\n1", "v": "3\n4", "v DESC": "2\n1"} {
		query := "SELECT id FROM t ORDER BY " + order + " LIMIT 9223372036854775807 OFFSET 2"
		if got := strings.TrimSpace(text(t, n.must(t, query))); got != want {
			t.Errorf("%s gives %q, want %q", query, got, want)
		}
	}
}
