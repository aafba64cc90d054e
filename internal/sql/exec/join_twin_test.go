package exec_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// sortedLines puts the rows of a result into an order of their own.
func sortedLines(text string) string {
	lines := strings.SplitAfter(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// TestJoinsEqualFilteredProducts compares every kind of join with the product of its sides and the rows
// that outer joins add to it, for conditions that can be hashed and conditions that cannot.
func TestJoinsEqualFilteredProducts(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
	people(t, n, random, 60)
	n.must(t, "CREATE SHARED TABLE other (id BIGINT PRIMARY KEY, age INT, team INT)")
	n.must(t, "INSERT INTO other SELECT id + 7, age, team + 1 FROM people WHERE id % 2 = 0")
	rows := func(sql string) string { return sortedLines(text(t, n.must(t, sql))) }
	for range 40 {
		on := []string{
			"a.age = b.age", "a.id = b.id AND a.team < b.team", "a.team = b.team AND a.age = b.age", "a.age < b.id",
			"a.age + 1 = b.age OR a.id = b.id", "a.team = b.team AND a.age = 3", "b.age IS NULL", "a.age = b.age AND b.id % 3 = 0",
		}[random.IntN(8)]
		where := fmt.Sprintf("(a.id > %d OR b.team = %d OR b.id IS NULL)", random.IntN(60), random.IntN(5))
		both := "SELECT a.id, a.age, b.id, b.age FROM people a, other b WHERE " + on
		leftOnly := "SELECT a.id, a.age, NULL, NULL FROM people a WHERE NOT EXISTS (SELECT 1 FROM other b WHERE " + on + ")"
		rightOnly := "SELECT NULL, NULL, b.id, b.age FROM other b WHERE NOT EXISTS (SELECT 1 FROM people a WHERE " + on + ")"
		for kind, twin := range map[string]string{
			"INNER": both,
			"LEFT":  both + " UNION ALL " + leftOnly,
			"RIGHT": both + " UNION ALL " + rightOnly,
			"FULL":  both + " UNION ALL " + leftOnly + " UNION ALL " + rightOnly,
		} {
			join := "SELECT a.id, a.age, b.id, b.age FROM people a " + kind + " JOIN other b ON " + on
			if got, want := rows(join), rows(twin); got != want {
				t.Fatalf("%s\ngives\n%s\n%s\ngives\n%s", join, got, twin, want)
			}
			// A condition above a join equals the same condition over its rows.
			filtered := rows(join + " WHERE " + where)
			derived := rows("SELECT j.ai, j.aa, j.bi, j.ba FROM (SELECT a.id AS ai, a.age AS aa, b.id AS bi, b.age AS ba, " + where +
				" AS keep FROM people a " + kind + " JOIN other b ON " + on + " OFFSET 0) j WHERE j.keep")
			if filtered != derived {
				t.Fatalf("%s WHERE %s\ngives\n%s\nwant\n%s", join, where, filtered, derived)
			}
		}
	}
}

// TestSetOperationsKeepTheirLaws checks sizes and identities of set operations over random tables.
func TestSetOperationsKeepTheirLaws(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 3))
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
	people(t, n, random, 80)
	rows := func(sql string) string { return sortedLines(text(t, n.must(t, sql))) }
	for range 30 {
		k := random.IntN(60)
		a := fmt.Sprintf("SELECT age, team FROM people WHERE id < %d", k)
		b := fmt.Sprintf("SELECT age, team FROM people WHERE id >= %d AND team <> 1", k/2)
		for left, right := range map[string]string{
			a + " UNION " + b:         "SELECT DISTINCT * FROM (" + a + " UNION ALL " + b + ") u",
			a + " INTERSECT " + b:     b + " INTERSECT " + a,
			a + " INTERSECT ALL " + b: a + " EXCEPT ALL (" + a + " EXCEPT ALL " + b + ")",
			a + " EXCEPT " + b: "SELECT DISTINCT * FROM (" + a + ") x WHERE NOT EXISTS (SELECT 1 FROM (" + b +
				") y WHERE y.age IS NOT DISTINCT FROM x.age AND y.team = x.team)",
			a: "(" + a + " EXCEPT ALL " + b + ") UNION ALL (" + a + " INTERSECT ALL " + b + ")",
		} {
			if got, want := rows(left), rows(right); got != want {
				t.Fatalf("%s\ngives\n%s\n%s\ngives\n%s", left, got, right, want)
			}
		}
	}
}

// TestConcurrentUpserts counts with INSERT … ON CONFLICT from many goroutines: none is lost, and the first
// of them finds the key free or taken but never fails.
func TestConcurrentUpserts(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) {
		deps.Clock = clock.Real{}
		deps.Limits.ConflictAttempts = 1000
	})
	n.must(t, "CREATE TABLE hits (page TEXT PRIMARY KEY, n BIGINT NOT NULL)")
	const workers, rounds = 4, 25
	done := make(chan error, workers)
	for range workers {
		go func() {
			for range rounds {
				if _, err := n.run(t, admin(), "INSERT INTO hits VALUES ('home', 1) ON CONFLICT (page) DO UPDATE SET n = hits.n + excluded.n"); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if got, want := text(t, n.must(t, "SELECT n FROM hits")), fmt.Sprintln(workers*rounds); got != want {
		t.Fatalf("counted %s, want %s", got, want)
	}
}
