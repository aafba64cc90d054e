package exec_test

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// TestConflictsSeeTheTransaction inserts with ON CONFLICT where the transaction itself has taken, or given up, a value of a
// unique index.
func TestConflictsSeeTheTransaction(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE app.u (id INT PRIMARY KEY, v INT UNIQUE); INSERT INTO app.u VALUES (1, 1), (2, 2), (3, 3)")
	c := n.begin(t)
	c.must("INSERT INTO app.u VALUES (10, 7)")
	c.must("INSERT INTO app.u VALUES (11, 7) ON CONFLICT DO NOTHING") // its own row has 7
	c.must("DELETE FROM app.u WHERE id = 1")
	c.must("INSERT INTO app.u VALUES (12, 1) ON CONFLICT DO NOTHING") // 1 was given up
	c.must("UPDATE app.u SET v = 20 WHERE id = 2")
	c.must("INSERT INTO app.u VALUES (13, 2), (14, 20) ON CONFLICT DO NOTHING") // 2 was given up, 20 was taken
	c.must("INSERT INTO app.u VALUES (15, 3) ON CONFLICT DO NOTHING")           // the snapshot's row has 3
	c.must("COMMIT")
	if got, want := text(t, n.must(t, "SELECT id, v FROM app.u ORDER BY id")), "2|20\n3|3\n10|7\n12|1\n13|2\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestCommitsTellKeysFromOtherValues: a transaction whose key was taken meanwhile may run again and sees the row. One that wants another unique
// value, at which it has never looked, would want it again.
func TestCommitsTellKeysFromOtherValues(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE app.u (id BIGINT PRIMARY KEY, v TEXT UNIQUE)")
	c := n.begin(t)
	c.must("INSERT INTO app.u VALUES (1, 'mine')")
	n.must(t, "INSERT INTO app.u VALUES (1, 'theirs')")
	c.conflicts()
	c = n.begin(t)
	c.must("INSERT INTO app.u VALUES (2, 'Primary key violation: theirs')")
	n.must(t, "INSERT INTO app.u VALUES (3, 'Primary key violation: theirs')")
	if _, err := c.run("COMMIT"); fault.KindOf(err) != fault.DuplicateKey || exec.CodeOf(err) != exec.CodeExecution {
		t.Errorf("COMMIT with a taken value: %v (%s, %s)", err, fault.KindOf(err), exec.CodeOf(err))
	}
}
