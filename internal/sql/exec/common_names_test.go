package exec_test

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// TestNamesOfWithAreNoTables: a query that WITH names like a table that the caller must not read is not that table; outside of
// its reach the name is the table's.
func TestNamesOfWithAreNoTables(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE SHARED TABLE open_rows (id INT PRIMARY KEY) WITH (ACCESS_LEVEL = 'public')")
	alice := caller("alice", session.RoleUser)
	inSystem := alice
	inSystem.Namespace = "system"
	for _, c := range []struct {
		as  session.Session
		sql string
	}{
		{inSystem, "WITH users AS (SELECT 1 AS id) SELECT id FROM users"},
		{inSystem, "WITH a AS (SELECT 1 AS id), users AS (SELECT id FROM a) SELECT (SELECT id FROM users) FROM a"},
		{inSystem, "WITH RECURSIVE users(id) AS (SELECT 1 UNION SELECT id FROM users) SELECT id FROM users"},
		{admin(), "EXECUTE AS USER 'alice' (WITH open_rows AS (SELECT 1 AS id) SELECT id FROM open_rows)"},
	} {
		if got := text(t, n.mustAs(t, c.as, c.sql)); got != "1\n" {
			t.Errorf("%s: %q", c.sql, got)
		}
	}
	for _, sql := range []string{
		"WITH a AS (SELECT user_id FROM users), users AS (SELECT 1 AS id) SELECT id FROM users",
		"WITH users AS (SELECT user_id FROM users) SELECT * FROM users",
		"SELECT * FROM (WITH users AS (SELECT 1 AS id) SELECT id FROM users) s, users",
		"WITH users AS (SELECT 1 AS id) SELECT id FROM system.users",
	} {
		if _, err := n.run(t, inSystem, sql); fault.KindOf(err) != fault.PermissionDenied {
			t.Errorf("%s: %v", sql, err)
		}
	}
	n.fails(t, exec.CodePermissionDenied, fault.PermissionDenied,
		"EXECUTE AS USER 'alice' (WITH a AS (SELECT id FROM open_rows), open_rows AS (SELECT 1 AS id) SELECT id FROM a)")
}
