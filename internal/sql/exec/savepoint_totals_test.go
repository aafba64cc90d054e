package exec_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestTotalsForgetWhatIsUndone: the counts of a request are those of what it leaves.
func TestTotalsForgetWhatIsUndone(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE t (id INT PRIMARY KEY, v INT) WITH (TYPE = 'USER'); INSERT INTO t VALUES (1, 0), (2, 0)")
	add := 10
	insert := func() string {
		add++
		return fmt.Sprintf("INSERT INTO t VALUES (%d, 1); ", add)
	}
	const update = "UPDATE t SET v = v + 1 WHERE id IN (1, 2); "
	for _, test := range []struct{ sql, want string }{
		{"BEGIN; SAVEPOINT a; " + update + "ROLLBACK TO SAVEPOINT a; COMMIT", ""},
		{"BEGIN; " + insert() + "SAVEPOINT a; " + update + "ROLLBACK TO SAVEPOINT a; COMMIT", "Inserted 1 row(s)"},
		{"BEGIN; SAVEPOINT a; " + update + "ROLLBACK TO SAVEPOINT a; " + update + "COMMIT", "Updated 2 row(s)"},
		{"BEGIN; SAVEPOINT a; " + update + "SAVEPOINT b; " + insert() + "ROLLBACK TO SAVEPOINT b; " + insert() + "ROLLBACK TO SAVEPOINT b; COMMIT", "Updated 2 row(s)"},
		{"BEGIN; SAVEPOINT a; " + update + "SAVEPOINT b; " + insert() + "ROLLBACK TO SAVEPOINT a; COMMIT", ""},
		{"BEGIN; SAVEPOINT a; " + update + "SAVEPOINT a; " + insert() + "ROLLBACK TO SAVEPOINT a; COMMIT", "Updated 2 row(s)"},
		{"BEGIN; SAVEPOINT a; " + insert() + "SAVEPOINT a; " + update + "RELEASE SAVEPOINT a; ROLLBACK TO SAVEPOINT a; COMMIT", ""},
		{"BEGIN; SAVEPOINT a; " + insert() + "RELEASE SAVEPOINT a; " + update + "COMMIT", "Inserted 1 row(s), Updated 2 row(s)"},
		{update + "BEGIN; SAVEPOINT a; " + insert() + "ROLLBACK TO SAVEPOINT a; COMMIT", "Updated 2 row(s)"},
		{insert() + "BEGIN; SAVEPOINT a; " + update + "COMMIT; BEGIN; SAVEPOINT b; " + update + "ROLLBACK TO SAVEPOINT b; COMMIT", "Inserted 1 row(s), Updated 2 row(s)"},
		{insert() + "BEGIN; SAVEPOINT a; " + update + "ROLLBACK TO SAVEPOINT a; ROLLBACK", "Inserted 1 row(s)"},
	} {
		var told []string
		for _, result := range n.must(t, test.sql).Results {
			if strings.Contains(result.Message, "row(s)") {
				told = append(told, result.Message)
			}
		}
		if got := strings.Join(told, ", "); got != test.want {
			t.Errorf("%s\ntells %q, want %q", test.sql, got, test.want)
		}
	}
}

// TestTotalsAcrossRequests: a savepoint of an earlier request undoes all that this one has counted.
func TestTotalsAcrossRequests(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE t (id INT PRIMARY KEY) WITH (TYPE = 'USER')")
	c := n.begin(t)
	c.must("INSERT INTO t VALUES (1)")
	c.must("SAVEPOINT a")
	c.must("INSERT INTO t VALUES (2)")
	for _, result := range c.must("INSERT INTO t VALUES (3); ROLLBACK TO SAVEPOINT a; SELECT 1").Results {
		if strings.Contains(result.Message, "row(s)") {
			t.Errorf("told %q of what was undone", result.Message)
		}
	}
	c.must("COMMIT")
	if got := text(t, n.must(t, "SELECT id FROM t")); got != "1\n" {
		t.Errorf("left: %q", got)
	}
}
