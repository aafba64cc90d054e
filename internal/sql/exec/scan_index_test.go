package exec_test

import (
	cryptorand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// indexTwins drives a table with indexes and one without with the same statements; @ stands for the table.
type indexTwins struct {
	n  *node
	as session.Session
}

func (w indexTwins) both(t *testing.T, sql string) (indexed, plain string) {
	t.Helper()
	answers := [2]string{}
	for i, name := range []string{"indexed", "plain"} {
		response := w.n.mustAs(t, w.as, strings.ReplaceAll(sql, "@", name))
		answers[i] = rowsText(response.Results[0].Rows)
	}
	return answers[0], answers[1]
}

// write changes a random part of both tables.
func (w indexTwins) write(t *testing.T, random *rand.Rand) {
	t.Helper()
	id, other := random.IntN(200), random.IntN(200)
	switch random.IntN(6) {
	case 0:
		w.both(t, fmt.Sprintf("DELETE FROM @ WHERE id = %d", id))
	case 1:
		w.both(t, fmt.Sprintf("DELETE FROM @ WHERE a = %s AND id > %d", indexValue(random, 'a'), id))
	case 2:
		w.both(t, fmt.Sprintf("UPDATE @ SET a = %s, b = %s WHERE id BETWEEN %d AND %d",
			indexValue(random, 'a'), indexValue(random, 'b'), min(id, other), min(id, other)+5))
	case 3:
		w.both(t, "UPDATE @ SET c = c + 1 WHERE b = "+indexValue(random, 'b'))
	default:
		w.both(t, fmt.Sprintf("INSERT INTO @ VALUES (%d, %s, %s, %s) ON CONFLICT (id) DO UPDATE SET a = EXCLUDED.a, c = EXCLUDED.c",
			id, indexValue(random, 'a'), indexValue(random, 'b'), indexValue(random, 'c')))
	}
}

// indexValue draws a value of a column.
func indexValue(random *rand.Rand, column byte) string {
	k := random.IntN(9) - 2
	switch {
	case k == -2:
		return "NULL"
	case column == 'b':
		return fmt.Sprintf("'%s'", strings.Repeat("x", k+1))
	case column == 'c':
		return fmt.Sprintf("%d.5", k)
	}
	return strconv.Itoa(k)
}

// indexCondition draws a condition, often one that an index serves.
func indexCondition(random *rand.Rand, depth int) string {
	column := "aabc"[random.IntN(4)]
	value := func() string { return indexValue(random, column) }
	switch pick := random.IntN(12); {
	case pick < 5 && depth > 0:
		return fmt.Sprintf("(%s AND %s)", indexCondition(random, depth-1), indexCondition(random, depth-1))
	case pick == 5 && depth > 0:
		return fmt.Sprintf("(%s OR %s)", indexCondition(random, depth-1), indexCondition(random, depth-1))
	case pick == 6:
		return fmt.Sprintf("%c IN (%s, %s, %s)", column, value(), value(), value())
	case pick == 7:
		return fmt.Sprintf("id %s %d", []string{"<", ">=", "="}[random.IntN(3)], random.IntN(200))
	case pick == 8:
		return fmt.Sprintf("%c IS NULL", column)
	case pick == 9 && column != 'b':
		return fmt.Sprintf("%c > %d.25", column, random.IntN(6))
	}
	return fmt.Sprintf("%c %s %s", column, []string{"=", "=", "=", "<", "<=", ">", ">=", "<>"}[random.IntN(8)], value())
}

// TestIndexesChangeNoAnswer compares a table with indexes with one without: rows that were there before the index, rows that
// came, went and moved, NULLs, and those of another user, under random conditions and without an ORDER BY.
func TestIndexesChangeNoAnswer(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"SHARED", "USER"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 3))
			w := indexTwins{startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{} }), caller("admin", session.RoleDBA)}
			w.both(t, "CREATE "+kind+" TABLE @ (id INT PRIMARY KEY, a INT, b TEXT, c DOUBLE)")
			writeSome := func(count int) {
				users := []session.Session{w.as}
				if kind == "USER" {
					users = append(users, caller("other", session.RoleDBA))
				}
				for range count {
					indexTwins{w.n, users[random.IntN(len(users))]}.write(t, random)
				}
			}
			writeSome(150)
			w.n.must(t, "CREATE INDEX by_a ON indexed (a, b); CREATE INDEX by_b ON indexed (b)")
			writeSome(150)
			w.n.must(t, "CREATE INDEX by_c ON indexed (c, a)")
			for round := range 400 {
				if round%4 == 0 {
					writeSome(1)
				}
				sql := "SELECT id, a, b, c, _deleted FROM @ WHERE " + indexCondition(random, 2)
				switch round % 5 {
				case 0:
					sql += " LIMIT 3"
				case 1, 2:
					sql += indexOrdering(random)
				}
				if got, want := w.both(t, sql); got != want {
					t.Fatalf("%s\nwith indexes\n%swithout\n%s%s", sql, got, want,
						text(t, w.n.must(t, "EXPLAIN "+strings.ReplaceAll(sql, "@", "indexed"))))
				}
			}
			for _, join := range []string{
				"JOIN @ r ON l.a = r.id WHERE l.b = 'x' AND r.c > 0", "JOIN @ r ON l.id = r.a WHERE l.b = 'x'",
				"LEFT JOIN @ r ON l.a = r.a AND l.b = r.b AND r.id > 20", "LEFT JOIN @ r ON r.c = l.a WHERE l.id < 50",
				"RIGHT JOIN @ r ON l.a = r.a", "JOIN @ r ON r.b = l.b AND r.a = l.id WHERE r.a > 1", "JOIN @ r ON l.c = r.a WHERE l.a IS NULL",
			} {
				sql := "SELECT l.id, r.id FROM @ l " + join
				if got, want := w.both(t, sql); got != want {
					t.Errorf("%s gives\n%swant\n%s", sql, got, want)
				}
			}
		})
	}
}

// indexOrdering draws an ordering of which the first rows are wanted.
func indexOrdering(random *rand.Rand) string {
	keys := make([]string, 1+random.IntN(2))
	for i := range keys {
		keys[i] = string("aabcd"[random.IntN(4)]) + []string{"", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"}[random.IntN(5)]
	}
	return fmt.Sprintf(" ORDER BY %s LIMIT %d OFFSET %d", strings.Join(keys, ", "), random.IntN(12), random.IntN(4))
}

// explained says which index a query uses.
func explained(t *testing.T, n *node, sql string) string {
	t.Helper()
	_, found, _ := strings.Cut(text(t, n.must(t, "EXPLAIN "+sql)), " index=")
	found, _, _ = strings.Cut(found, " where=")
	return found
}

// TestQueriesReadIndexes takes the entries of an index away behind the engine's back: what reads the index finds
// nothing, and what must not read it finds everything.
func TestQueriesReadIndexes(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE SHARED TABLE t (id INT PRIMARY KEY, a INT, b INT); CREATE INDEX by_a ON t (a, b)")
	n.must(t, "INSERT INTO t VALUES (1, 5, 1), (2, 5, 2), (3, 6, 3), (4, NULL, 4)")
	found := n.catalog.Current().TablesIn("app")[0]
	purge := &commandv1.Command{Body: &commandv1.Command_PurgeIndex{PurgeIndex: &commandv1.PurgeIndex{
		TableId: uint64(found.ID), IndexId: found.Indexes[0].ID,
	}}}
	direct := executor.NewDirect(n, clock.NewManual(time.Unix(1, 0)), cryptorand.Reader, nil)
	if _, err := direct.Execute(t.Context(), shard.SharedShard(0), purge); err != nil {
		t.Fatal(err)
	}
	for where, index := range map[string]string{
		"a = 5": "by_a(a)", "a = 5 AND b >= 1": "by_a(a, b)", "a IN (5, 6) AND b IN (1, 2, 3)": "by_a(a, b)", "a > 1": "by_a(a)",
		"a = 5 AND id > 0": "by_a(a)", "a IS NULL": "by_a(a)", "a IS NULL AND b > 3": "by_a(a, b)",
	} {
		sql := "SELECT id FROM t WHERE " + where
		if got := explained(t, n, sql); got != index {
			t.Errorf("%s: EXPLAIN names the index %q, want %q", where, got, index)
		}
		if got := text(t, n.must(t, sql)); got != "" {
			t.Errorf("%s: found %q without the index", where, got)
		}
		if got := n.must(t, "BEGIN; "+sql+"; ROLLBACK"); len(got.Results[1].Rows) != 0 {
			t.Errorf("%s: a transaction does not read the index", where)
		}
	}
	for _, where := range []string{"b = 1", "id = 1 AND a = 5", "a > 1 AND id < 2", "a = 5 AND _deleted = false", "a = 5 OR b = 9", "b IS NULL OR a = 5"} {
		sql := "SELECT id FROM t WHERE " + where
		if got := explained(t, n, sql); got != "" {
			t.Errorf("%s: EXPLAIN names the index %q", where, got)
		}
		if got := text(t, n.must(t, sql)); got == "" {
			t.Errorf("%s: nothing found", where)
		}
	}
	for _, sql := range []string{"UPDATE t SET b = 7 WHERE a = 6 RETURNING id", "DELETE FROM t WHERE a = 6 RETURNING id"} {
		if got := n.must(t, sql); len(got.Results[0].Rows) != 0 {
			t.Errorf("%s does not read the index", sql)
		}
	}
}

// TestDroppedIndexIsNotRead drops an index after a query was planned with it and writes a row without it.
func TestDroppedIndexIsNotRead(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE SHARED TABLE t (id INT PRIMARY KEY, a INT); CREATE INDEX by_a ON t (a); INSERT INTO t VALUES (1, 5)")
	n.mu.Lock()
	n.atBarrier = func() { n.must(t, "DROP INDEX by_a; INSERT INTO t VALUES (2, 5)") }
	n.mu.Unlock()
	if got := text(t, n.must(t, "SELECT id FROM t WHERE a = 5")); got != "1\n2\n" {
		t.Errorf("found %q, want rows 1 and 2", got)
	}
}

// TestManyEntriesAreNotGathered: an index that finds very many rows gives way to the table.
func TestManyEntriesAreNotGathered(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Limits = exec.Limits{} })
	n.must(t, "CREATE SHARED TABLE t (id INT PRIMARY KEY, a INT); CREATE INDEX by_a ON t (a)")
	const rows, chunk = 17_000, 1_000
	for first := 0; first < rows; first += chunk {
		values := make([]string, chunk)
		for i := range values {
			values[i] = fmt.Sprintf("(%d, 1)", first+i)
		}
		n.must(t, "INSERT INTO t VALUES "+strings.Join(values, ", "))
	}
	if got, want := text(t, n.must(t, "SELECT count(*) FROM t WHERE a = 1")), fmt.Sprintln(rows); got != want {
		t.Errorf("counted %q, want %q", got, want)
	}
}
