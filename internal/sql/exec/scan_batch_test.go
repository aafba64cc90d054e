package exec_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// TestConditionsOnColumnsAreThoseOnRows asks the same of rows that are hot in one table and, in another, cold in segments that lie over each other
// with hot ones between: conditions on whole numbers, times and NULL, of which columns answer a part before rows are looked at.
func TestConditionsOnColumnsAreThoseOnRows(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(21, 22))
	var f *flusher
	n := startNode(t, func(deps *exec.Deps) {
		deps.Limits = exec.Limits{}
		f = withColdRows(t, deps)
	})
	const columns = " (id BIGINT PRIMARY KEY, a INT, b BIGINT, d DATE, s SMALLINT, x DOUBLE, f BOOLEAN, note TEXT)"
	n.must(t, "CREATE SHARED TABLE cold"+columns)
	n.must(t, "CREATE SHARED TABLE hot"+columns)
	null := func(text string) string {
		if r.IntN(8) == 0 {
			return "NULL"
		}
		return text
	}
	both := func(sql string) {
		t.Helper()
		n.must(t, strings.ReplaceAll(sql, "#", "cold"))
		n.must(t, strings.ReplaceAll(sql, "#", "hot"))
	}
	insert := func(step, rows int) {
		values := make([]string, rows)
		for i := range values {
			values[i] = fmt.Sprintf("(%d, %s, %s, %s, %s, %s, %s, %s)", i*step+step, null(strconv.Itoa(r.IntN(20)-10)), null(strconv.FormatInt(r.Int64()-1<<62, 10)),
				null(fmt.Sprintf("DATE '2026-01-%02d'", 1+r.IntN(28))), null(strconv.Itoa(r.IntN(5))), null(fmt.Sprint(r.NormFloat64())), null("true"),
				null(fmt.Sprintf("'note %d'", r.IntN(30))))
		}
		both("INSERT INTO # VALUES " + strings.Join(values, ",") + " ON CONFLICT (id) DO UPDATE SET a = EXCLUDED.a, b = EXCLUDED.b, note = EXCLUDED.note")
	}
	f.rounds = 1 // no compaction
	for round, step := range []int{1, 3, 7} {
		insert(step, 600)
		both(fmt.Sprintf("DELETE FROM # WHERE id %% 29 = %d", round))
		if f.flushOf(t, "cold") == 0 {
			t.Fatal("no row became cold")
		}
	}
	insert(11, 40) // hot rows between cold ones
	atoms := []func() string{
		func() string { return fmt.Sprintf("a = %d", r.IntN(20)-10) },
		func() string { return fmt.Sprintf("a > %d AND a <= %d", r.IntN(20)-10, r.IntN(20)-10) },
		func() string { return fmt.Sprintf("a IN (%d, %d, %d)", r.IntN(20)-10, r.IntN(20)-10, r.IntN(20)-10) },
		func() string { return "a IN (1, 2, 3, 4, 5, 6, 7, 8, 9, -1)" },
		func() string { return fmt.Sprintf("b < %d", r.Int64()-1<<62) },
		func() string { return "b > -9223372036854775807" },
		func() string { return fmt.Sprintf("d BETWEEN '2026-01-05' AND '2026-01-%d'", 10+r.IntN(15)) },
		func() string { return fmt.Sprintf("s >= %d.5", r.IntN(5)) },
		func() string { return fmt.Sprintf("s = %d", 40000*r.IntN(2)) },
		func() string { return "x < 0.3" },
		func() string { return "f" },
		func() string { return "a IS NULL" },
		func() string { return "a = NULL" },
		func() string { return fmt.Sprintf("note = 'note %d'", r.IntN(30)) },
		func() string { return fmt.Sprintf("id > %d", r.IntN(2000)) },
	}
	for range 150 {
		condition := atoms[r.IntN(len(atoms))]()
		for range r.IntN(3) {
			condition = "(" + condition + []string{") AND (", ") AND (", ") OR ("}[r.IntN(3)] + atoms[r.IntN(len(atoms))]() + ")"
		}
		for _, sql := range []string{
			"SELECT id, a, b, d, s, x, f, note FROM # WHERE " + condition + " ORDER BY id", "SELECT id, a FROM # WHERE " + condition + fmt.Sprintf(" ORDER BY id LIMIT %d", 1+r.IntN(40)),
			"SELECT COUNT(*), SUM(a), MAX(b), MIN(d), MAX(x), COUNT(note) FROM # WHERE " + condition, "SELECT s, COUNT(*), SUM(a) FROM # WHERE " + condition + " GROUP BY s ORDER BY s",
		} {
			cold := n.must(t, strings.ReplaceAll(sql, "#", "cold")).Results[0].Rows
			hot := n.must(t, strings.ReplaceAll(sql, "#", "hot")).Results[0].Rows
			if fmt.Sprint(cold) != fmt.Sprint(hot) {
				t.Fatalf("%s\ncold: %d rows, %.200s\nhot: %d rows, %.200s", sql, len(cold), fmt.Sprint(cold), len(hot), fmt.Sprint(hot))
			}
		}
	}
}
