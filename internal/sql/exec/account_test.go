package exec_test

import (
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

// TestRevokedRoleHoldsForStatementsThatWereLetIn runs statements for callers that were let in before their account was
// changed, as a node does that has not heard of the change: the role that is theirs no more is good for nothing.
func TestRevokedRoleHoldsForStatementsThatWereLetIn(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE things (id INT PRIMARY KEY); INSERT INTO things VALUES (1)")
	n.must(t, "CREATE USER carl WITH PASSWORD 'correct horse' ROLE dba")
	carl := caller("carl", session.RoleDBA)
	carl.Account = true
	statements := []string{"SELECT id FROM things", "INSERT INTO things VALUES (2)", "DROP TABLE things", "SELECT id FROM system.settings"}
	n.mustAs(t, carl, statements[0])
	n.must(t, "ALTER USER carl SET ROLE user")
	refused := func(why string) {
		t.Helper()
		for _, sql := range append(statements, statements[0]) { // the last one has a plan
			if _, err := n.run(t, carl, sql); fault.KindOf(err) != fault.PermissionDenied {
				t.Errorf("%s, %s gave %v", why, sql, err)
			}
		}
	}
	refused("with the role before")
	carl.Role = session.RoleUser
	n.mustAs(t, carl, "SELECT 1")
	n.must(t, "ALTER USER carl SET ROLE dba")
	carl.Role = session.RoleDBA
	carl.Password = session.Hash(strings.TrimSpace(text(t, n.must(t, "SELECT password_hash FROM system.users WHERE user_id = 'carl'"))))
	n.mustAs(t, carl, statements[0])
	n.must(t, "ALTER USER carl SET PASSWORD 'another horse'")
	refused("with the password before")
	carl.Password = ""
	n.must(t, "DROP USER carl")
	refused("after the account was dropped")
	if got := text(t, n.must(t, "SELECT id FROM things")); got != "1\n" {
		t.Errorf("rows are %q", got)
	}
}
