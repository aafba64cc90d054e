package exec_test

import (
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/session"
)

// TestSecretColumnsAreMasked: what a column of such a name holds is shown to administrators alone, whatever kind of statement gives it, and is
// worked with all the same.
func TestSecretColumnsAreMasked(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE app.accounts (id BIGINT PRIMARY KEY, password_hash TEXT, credentials TEXT) WITH (ACCESS_LEVEL = 'public'); "+
		"CREATE USER TABLE app.keys (id BIGINT PRIMARY KEY, credentials TEXT UNIQUE, n INT); INSERT INTO app.accounts VALUES (1, 'secret h', 'secret c'), (2, NULL, NULL)")
	for _, user := range []session.Session{
		caller("ann", session.RoleUser), caller("svc", session.RoleService), caller("admin", session.RoleDBA), caller("root", session.RoleSystem),
	} {
		for _, c := range []struct{ sql, masked, plain string }{
			{"SELECT * FROM accounts WHERE id = 1", "1|***|***|65536|f\n", "1|secret h|secret c|65536|f\n"},
			{"SELECT password_hash FROM accounts ORDER BY id", "***\n***\n", "secret h\nNULL\n"},
			{"SELECT id FROM accounts WHERE password_hash = 'secret h'", "1\n", "1\n"},
			{"SELECT length(x) AS credentials FROM (SELECT password_hash AS x FROM accounts WHERE id = 1) AS a", "NULL\n", "8\n"},
			{"SELECT 'a' AS password_hash UNION ALL SELECT 'a'", "***\n***\n", "a\na\n"},
			{"WITH a AS (SELECT credentials FROM accounts WHERE id = 1) SELECT * FROM a", "***\n", "secret c\n"},
			{"INSERT INTO keys VALUES (1, 'secret k', 1) RETURNING *", "1|***|1\n", "1|secret k|1\n"},
			{"UPDATE keys SET credentials = credentials || '!' WHERE credentials = 'secret k' RETURNING credentials, n", "***|1\n", "secret k!|1\n"},
			{"WITH w AS (UPDATE keys SET n = 2 WHERE id = 1 RETURNING credentials) SELECT *, length(credentials) AS l FROM w", "***|9\n", "secret k!|9\n"},
			{"INSERT INTO keys VALUES (2, 'secret k!', 1) ON CONFLICT (credentials) DO UPDATE SET n = 3 RETURNING id, credentials", "1|***\n", "1|secret k!\n"},
			{"DELETE FROM keys WHERE true RETURNING credentials", "***\n", "secret k!\n"},
		} {
			want := c.masked
			if user.Role.IsAdmin() {
				want = c.plain
			}
			for range 2 { // planned, then from the cache; by an administrator and by others
				if got := text(t, n.mustAs(t, user, c.sql)); got != want {
					t.Errorf("%s of %s gives %q, want %q", c.sql, user.Role, got, want)
				}
				if !strings.HasPrefix(c.sql, "SELECT") {
					break
				}
			}
		}
	}
	as := n.must(t, "EXECUTE AS USER 'ann' (SELECT 'secret' AS credentials)")
	if got := text(t, as); got != "***\n" {
		t.Errorf("as a user an administrator is shown %q", got)
	}
}
