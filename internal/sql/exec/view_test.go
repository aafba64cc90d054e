package exec_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// viewNode has tables of every level with a view over each.
func viewNode(t *testing.T) *node {
	t.Helper()
	n := startNode(t, nil)
	for _, level := range []string{"public", "private", "restricted", "dba"} {
		n.must(t, fmt.Sprintf("CREATE SHARED TABLE %s_rows (id INT PRIMARY KEY, body TEXT) WITH (ACCESS_LEVEL = '%s')", level, level))
		n.must(t, fmt.Sprintf("INSERT INTO %s_rows VALUES (1, '%s')", level, level))
		n.must(t, fmt.Sprintf("CREATE VIEW %s_view AS SELECT body FROM %s_rows", level, level))
	}
	n.must(t, "CREATE USER TABLE own_rows (id INT PRIMARY KEY, body TEXT); CREATE VIEW own_view AS SELECT * FROM own_rows")
	n.must(t, "CREATE VIEW mixed_view AS SELECT o.id, d.body FROM own_view o JOIN dba_view d ON true")
	n.must(t, "CREATE VIEW accounts AS SELECT user_id, password_hash FROM system.users")
	n.must(t, "CREATE VIEW catalog_view AS SELECT table_name FROM information_schema.tables WHERE table_schema = 'app'")
	return n
}

// TestViewsGiveTheRightsOfTheReader: a view gives nobody a row, or the name of a table, that he could not read without it.
func TestViewsGiveTheRightsOfTheReader(t *testing.T) {
	t.Parallel()
	n := viewNode(t)
	all := []string{"public_view", "private_view", "restricted_view", "dba_view", "own_view", "mixed_view", "accounts", "catalog_view"}
	may := map[session.Role]string{
		session.RoleUser:    "public_view own_view catalog_view",
		session.RoleService: "public_view private_view restricted_view own_view catalog_view",
		session.RoleDBA:     strings.Join(all, " "),
		session.RoleSystem:  strings.Join(all, " "),
	}
	for role, visible := range may {
		as := caller("alice", role)
		for _, view := range all {
			_, err := n.run(t, as, "SELECT * FROM "+view)
			_, missing := n.run(t, as, "SELECT * FROM no_such_view")
			seen := strings.Contains(" "+visible+" ", " "+view+" ")
			switch {
			case seen && err != nil:
				t.Errorf("%s: %s: %v", role, view, err)
			case !seen && (err == nil || fault.KindOf(err) != fault.TableNotFound):
				t.Errorf("%s: %s: %v, want what a missing table gives", role, view, err)
			case !seen && strings.ReplaceAll(err.Error(), view, "no_such_view") != missing.Error():
				t.Errorf("%s: %s tells more than a missing table: %q, %q", role, view, err, missing)
			}
			if _, err := n.run(t, as, "DESCRIBE TABLE "+view); (err == nil) != seen {
				t.Errorf("%s: DESCRIBE TABLE %s: %v", role, view, err)
			}
		}
		for _, list := range []string{
			"SHOW VIEWS", "SELECT table_name FROM information_schema.views", "SELECT table_name FROM information_schema.columns",
			"SELECT relname FROM pg_catalog.pg_class", "SELECT table_name FROM catalog_view",
		} {
			got := text(t, n.mustAs(t, as, list))
			for _, view := range all {
				if seen := strings.Contains(" "+visible+" ", " "+view+" "); strings.Contains(got, view) != seen {
					t.Errorf("%s: %s shows %s: %v, want %v\n%s", role, list, view, !seen, seen, got)
				}
			}
		}
	}
	for _, role := range []session.Role{session.RoleUser, session.RoleService} {
		for _, sql := range []string{"CREATE VIEW v AS SELECT 1 AS one", "DROP VIEW public_view", "CREATE OR REPLACE VIEW public_view AS SELECT 1 AS one"} {
			if _, err := n.run(t, caller("alice", role), sql); fault.KindOf(err) != fault.PermissionDenied {
				t.Errorf("%s: %s: %v", role, sql, err)
			}
		}
	}
}

// TestViewsKeepTheScopeOfUsers: private rows seen through a view are those of the reader, whoever made the view.
func TestViewsKeepTheScopeOfUsers(t *testing.T) {
	t.Parallel()
	n := viewNode(t)
	for _, user := range []string{"alice", "bob", "admin"} {
		n.mustAs(t, caller(user, session.RoleUser), fmt.Sprintf("INSERT INTO own_rows VALUES (1, 'of %s')", user))
	}
	for range 2 { // planned, then from the cache
		for _, as := range []session.Session{caller("alice", session.RoleUser), caller("bob", session.RoleService), admin()} {
			if got, want := text(t, n.mustAs(t, as, "SELECT body FROM own_view")), fmt.Sprintf("of %s\n", as.User); got != want {
				t.Errorf("%s sees %q", as.User, got)
			}
		}
	}
	if got := text(t, n.must(t, "EXECUTE AS USER 'bob' (SELECT body FROM own_view)")); got != "of bob\n" {
		t.Errorf("as bob: %q", got)
	}
	// As another user no SHARED table is read, through a view neither.
	n.fails(t, exec.CodePermissionDenied, fault.PermissionDenied, "EXECUTE AS USER 'bob' (SELECT * FROM public_view)")
	response := n.must(t, "BEGIN; INSERT INTO own_rows VALUES (2, 'second'); SELECT body FROM own_view WHERE id = 2; ROLLBACK")
	if got := rowsText(response.Results[1].Rows); got != "second\n" {
		t.Errorf("a view in a transaction: %q", got)
	}
}

// TestCachedPlansFollowViews: a query that was planned with a view's old text is planned again.
func TestCachedPlansFollowViews(t *testing.T) {
	t.Parallel()
	n := viewNode(t)
	ask := func(want string) {
		t.Helper()
		for range 3 {
			if got := text(t, n.must(t, "SELECT * FROM public_view")); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	ask("public\n")
	n.must(t, "CREATE OR REPLACE VIEW public_view AS SELECT id, upper(body) AS loud FROM public_rows")
	ask("1|PUBLIC\n")
	n.must(t, "DROP VIEW public_view")
	n.fails(t, exec.CodeExecution, fault.TableNotFound, "SELECT * FROM public_view")
	// Names without a namespace are those of the namespace in which the view was made.
	n.must(t, "CREATE NAMESPACE elsewhere")
	n.must(t, "CREATE TABLE elsewhere.private_rows (id INT PRIMARY KEY, body TEXT); INSERT INTO elsewhere.private_rows VALUES (1, 'wrong')")
	there := admin()
	there.Namespace = "elsewhere"
	if got := text(t, n.mustAs(t, there, "SELECT body FROM app.private_view")); got != "private\n" {
		t.Errorf("from another namespace: %q", got)
	}
}

// TestConditionsSeeNoRowThatAViewHides divides by a value that is zero in the rows for which the condition of a view is false or
// unknown only.
func TestConditionsSeeNoRowThatAViewHides(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE t (id INT PRIMARY KEY, x INT, hidden BOOLEAN)")
	n.must(t, "INSERT INTO t VALUES (1, 0, NULL), (2, 5, false), (3, 0, true), (4, 2, false), (5, 20, false)")
	n.must(t, "CREATE VIEW shown AS SELECT id, x FROM t WHERE NOT hidden")
	for _, query := range []string{
		"SELECT id FROM shown WHERE 10 / x > 1 ORDER BY id",
		"SELECT id FROM (SELECT id, x FROM shown WHERE id > 0) s WHERE 10 / x > 1 ORDER BY id",
		"WITH s AS (SELECT id, x FROM t WHERE NOT hidden) SELECT id FROM s WHERE 10 / x > 1 ORDER BY id",
		"SELECT id FROM t WHERE NOT hidden AND (id > 0 AND 10 / x > 1) ORDER BY id",
	} {
		if got := strings.Fields(text(t, n.must(t, query))); fmt.Sprint(got) != "[2 4]" {
			t.Errorf("%s gives %v", query, got)
		}
	}
}
