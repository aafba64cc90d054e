package exec_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// person is a row of the naive twin; negative ages stand for NULL.
type person struct{ id, age, team int }

// people fills a table with n rows whose ages and teams repeat, in random order of keys.
func people(t *testing.T, n *node, random *rand.Rand, rows int) []person {
	t.Helper()
	n.must(t, "CREATE TABLE people (id INT PRIMARY KEY, age INT, team INT NOT NULL)")
	list := make([]person, rows)
	values := make([]string, rows)
	for i, id := range random.Perm(rows) {
		list[i] = person{id: id, age: random.IntN(12) - 2, team: random.IntN(4)}
		age := "NULL"
		if list[i].age >= 0 {
			age = strconv.Itoa(list[i].age)
		}
		values[i] = fmt.Sprintf("(%d, %s, %d)", id, age, list[i].team)
	}
	n.must(t, "INSERT INTO people VALUES "+strings.Join(values, ", "))
	slices.SortFunc(list, func(a, b person) int { return cmp.Compare(a.id, b.id) })
	return list
}

func ids(list []person) string {
	var b strings.Builder
	for _, p := range list {
		fmt.Fprintf(&b, "%d\n", p.id)
	}
	return b.String()
}

// TestOrderByLimitMeansWhatItSays compares sorted and cut results with a sort of the whole table: the
// result is not sorted again by primary key, and no row is lost to a cap below the LIMIT.
func TestOrderByLimitMeansWhatItSays(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
	list := people(t, n, random, 300)
	number := func(p person) int { // NULL is greatest
		if p.age < 0 {
			return 1 << 20
		}
		return p.age
	}
	orders := map[string]func(a, b person) int{
		"":                  func(a, b person) int { return cmp.Compare(a.id, b.id) },
		"ORDER BY age, id":  func(a, b person) int { return cmp.Or(cmp.Compare(number(a), number(b)), cmp.Compare(a.id, b.id)) },
		"ORDER BY age DESC": func(a, b person) int { return cmp.Or(cmp.Compare(number(b), number(a)), cmp.Compare(a.id, b.id)) },
		"ORDER BY team, age DESC": func(a, b person) int {
			return cmp.Or(cmp.Compare(a.team, b.team), cmp.Compare(number(b), number(a)), cmp.Compare(a.id, b.id))
		},
		"ORDER BY id DESC":       func(a, b person) int { return cmp.Compare(b.id, a.id) },
		"ORDER BY team * -1, id": func(a, b person) int { return cmp.Or(cmp.Compare(b.team, a.team), cmp.Compare(a.id, b.id)) },
	}
	for order, compare := range orders {
		sorted := slices.Clone(list)
		slices.SortStableFunc(sorted, compare)
		for range 10 {
			limit, offset := random.IntN(320), random.IntN(320)
			first := min(offset, len(sorted))
			want := ids(sorted[first:min(first+limit, len(sorted))])
			sql := fmt.Sprintf("SELECT id FROM people %s LIMIT %d OFFSET %d", order, limit, offset)
			if got := text(t, n.must(t, sql)); got != want {
				t.Fatalf("%s\ngot\n%swant\n%s", sql, got, want)
			}
		}
	}
}

// TestPagesHoldEveryRowOnce reads a table page by page under the default limits.
func TestPagesHoldEveryRowOnce(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	list := people(t, n, rand.New(rand.NewPCG(1, 2)), 2500)
	var read strings.Builder
	for offset := 0; offset < 3000; offset += 1000 {
		read.WriteString(text(t, n.must(t, fmt.Sprintf("SELECT id FROM people ORDER BY id LIMIT 1000 OFFSET %d", offset))))
	}
	if got, want := read.String(), ids(list); got != want {
		t.Errorf("the pages hold %d rows, want %d", strings.Count(got, "\n"), len(list))
	}
}

// TestPartsOfAQueryAreTheWhole checks that the rows where a condition holds, where it does not and where
// it is unknown are together all rows, each once, with and without key bounds.
func TestPartsOfAQueryAreTheWhole(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
	whole := ids(people(t, n, random, 100))
	for range 200 {
		condition := randomCondition(random, 3)
		var parts []string
		for _, form := range []string{"(%s)", "NOT (%s)", "(%s) IS NULL"} {
			sql := "SELECT id FROM people WHERE " + fmt.Sprintf(form, condition)
			parts = append(parts, strings.SplitAfter(text(t, n.must(t, sql)), "\n")...)
		}
		parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
		slices.SortFunc(parts, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
		if got := strings.Join(parts, ""); got != whole {
			t.Fatalf("%s: the parts hold %d rows, want %d", condition, len(parts), strings.Count(whole, "\n"))
		}
	}
}

func randomCondition(random *rand.Rand, depth int) string {
	column := []string{"id", "id", "age", "team", "age + team"}[random.IntN(5)]
	k, l := random.IntN(110)-5, random.IntN(12)
	switch pick := random.IntN(9); {
	case pick == 0 && depth > 0:
		return "(" + randomCondition(random, depth-1) + " AND " + randomCondition(random, depth-1) + ")"
	case pick == 1 && depth > 0:
		return "(" + randomCondition(random, depth-1) + " OR " + randomCondition(random, depth-1) + ")"
	case pick == 2 && depth > 0:
		return "NOT " + "(" + randomCondition(random, depth-1) + ")"
	case pick == 3:
		return fmt.Sprintf("%s IN (%d, %d, NULL)", column, k, l)
	case pick == 4:
		return fmt.Sprintf("%s BETWEEN %d AND %d", column, l, k)
	case pick == 5:
		return fmt.Sprintf("%d.5 %s %s", k, []string{"<", ">="}[random.IntN(2)], column)
	case pick == 6:
		return column + " IS NULL"
	}
	return fmt.Sprintf("%s %s %d", column, []string{"=", "<>", "<", "<=", ">", ">="}[random.IntN(6)], k)
}
