package exec_test

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// indexedRows starts a node with a table whose rows are found by an index.
func indexedRows(t *testing.T) *node {
	t.Helper()
	// A conflict is followed by a pause, for which time must pass.
	n := startNode(t, func(deps *exec.Deps) { deps.Clock = clock.Real{} })
	n.must(t, "CREATE SHARED TABLE t (id INT PRIMARY KEY, a INT, b INT); CREATE INDEX by_a ON t (a)")
	n.must(t, "INSERT INTO t VALUES (1, 5, 1), (2, 5, 2), (3, 6, 3), (4, NULL, 4), (9, 9, 9)")
	return n
}

// TestTransactionDependsOnWhatTheIndexFound: a transaction that read by an index conflicts with every change of what it would
// find, and with nothing else.
func TestTransactionDependsOnWhatTheIndexFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, read, other string
		conflict          bool
	}{
		{"another value comes", "a = 5", "INSERT INTO t VALUES (7, 6, 0)", false},
		{"another value changes", "a = 5", "UPDATE t SET b = 0 WHERE id = 3", false},
		{"another value goes", "a = 5", "DELETE FROM t WHERE id = 3", false},
		{"beside a range", "a BETWEEN 5 AND 6", "INSERT INTO t VALUES (7, 7, 0)", false},
		{"beside NULL", "a IS NULL", "INSERT INTO t VALUES (7, 7, 0)", false},
		{"a row comes", "a = 5", "INSERT INTO t VALUES (7, 5, 0)", true},
		{"a row comes into a range", "a BETWEEN 5 AND 6", "INSERT INTO t VALUES (7, 6, 0)", true},
		{"a row comes where there was none", "a = 70", "INSERT INTO t VALUES (7, 70, 0)", true},
		{"a NULL comes", "a IS NULL", "INSERT INTO t VALUES (7, NULL, 0)", true},
		{"a row goes", "a = 5", "DELETE FROM t WHERE id = 1", true},
		{"a row moves away", "a = 5", "UPDATE t SET a = 8 WHERE id = 1", true},
		{"a row moves here", "a = 5", "UPDATE t SET a = 5 WHERE id = 3", true},
		{"a row changes", "a = 5", "UPDATE t SET b = 0 WHERE id = 1", true},
		{"one goes and one comes", "a = 5", "UPDATE t SET a = 11 - a WHERE id IN (1, 3)", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := indexedRows(t)
			tx := n.begin(t)
			tx.must("SELECT id FROM t WHERE " + c.read)
			tx.must("UPDATE t SET b = 10 WHERE id = 9")
			n.must(t, c.other)
			if c.conflict {
				tx.conflicts()
				return
			}
			tx.must("COMMIT")
		})
	}
}

// TestTransactionThatReadADroppedIndexConflicts: after an index is dropped rows come without it, so nothing that was read by
// it can be checked.
func TestTransactionThatReadADroppedIndexConflicts(t *testing.T) {
	t.Parallel()
	for name, ddl := range map[string]string{
		"dropped": "DROP INDEX by_a", "dropped with its column": "ALTER TABLE t DROP COLUMN a", "made anew": "DROP INDEX by_a; CREATE INDEX by_a ON t (a)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := indexedRows(t)
			n.must(t, "CREATE SHARED TABLE written (id INT PRIMARY KEY)")
			tx := n.begin(t)
			if got := tx.text("SELECT count(*) FROM t WHERE a = 70"); got != "0" {
				t.Fatalf("counted %s, want 0", got)
			}
			tx.must("INSERT INTO written VALUES (1)")
			n.must(t, ddl)
			if name != "dropped with its column" {
				n.must(t, "INSERT INTO t VALUES (7, 70, 0)")
			}
			tx.conflicts()
		})
	}
}

// TestTransactionReadsNoYoungerIndex: an index that was made after the snapshot has none of its rows.
func TestTransactionReadsNoYoungerIndex(t *testing.T) {
	t.Parallel()
	n := indexedRows(t)
	tx := n.begin(t)
	tx.must("SELECT id FROM t WHERE id = 1")
	n.must(t, "CREATE INDEX by_b ON t (b)")
	if got := tx.text("SELECT id FROM t WHERE b = 3"); got != "3" {
		t.Errorf("found %q by an index that is younger than the snapshot, want row 3", got)
	}
	tx.must("ROLLBACK")
}

// TestChangesByIndexDependOnItsRangeAlone counts the commands that an UPDATE and a DELETE take while another statement comes
// between reading and writing.
func TestChangesByIndexDependOnItsRangeAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, change, other, want string
		commands                  uint64
	}{
		{"beside it", "UPDATE t SET b = 0 WHERE a = 5", "INSERT INTO t VALUES (7, 6, 7)", "1|0\n2|0\n3|3\n4|4\n7|7\n9|9\n", 2},
		{"within it", "UPDATE t SET b = 0 WHERE a = 5", "INSERT INTO t VALUES (7, 5, 7)", "1|0\n2|0\n3|3\n4|4\n7|0\n9|9\n", 3},
		{"deleted beside", "DELETE FROM t WHERE a = 5", "UPDATE t SET a = 7 WHERE id = 3", "3|3\n4|4\n9|9\n", 2},
		{"deleted within", "DELETE FROM t WHERE a = 5", "UPDATE t SET a = 5 WHERE id = 3", "4|4\n9|9\n", 3},
		{"no longer there", "DELETE FROM t WHERE a = 5 AND b > 1", "UPDATE t SET a = 7 WHERE id = 1", "1|1\n3|3\n4|4\n9|9\n", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := indexedRows(t)
			group := shard.SharedShard(0)
			before := n.Applied(group)
			n.mu.Lock()
			n.before = func() { n.must(t, c.other) }
			n.mu.Unlock()
			n.must(t, c.change)
			if got := n.Applied(group) - before; got != c.commands {
				t.Errorf("%d commands, want %d", got, c.commands)
			}
			if got := text(t, n.must(t, "SELECT id, b FROM t ORDER BY id")); got != c.want {
				t.Errorf("left %q, want %q", got, c.want)
			}
		})
	}
}

// TestRowsOfANewIndexAreOfALaterVersion: statements that do not know an index cannot overwrite rows that have an entry in it, since these are of
// a later version.
func TestRowsOfANewIndexAreOfALaterVersion(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE SHARED TABLE t (id INT PRIMARY KEY, a INT)")
	version := func() uint32 {
		for _, found := range n.catalog.Current().Tables() {
			if found.Name == "t" {
				return found.Version
			}
		}
		t.Fatal("there is no table")
		return 0
	}
	before := version()
	n.must(t, "CREATE INDEX by_a ON t (a)")
	if now := version(); now <= before {
		t.Errorf("the version went from %d to %d with a new index", before, now)
	}
}
