package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestUsersSeeOnlyTheirOwnRows lets two users and a dba use one USER table through all nodes.
func TestUsersSeeOnlyTheirOwnRows(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.diary (id INT PRIMARY KEY, body TEXT) WITH (TYPE = 'USER')")
	root.must(t, "CREATE TABLE app.board (id INT PRIMARY KEY, body TEXT) WITH (TYPE = 'SHARED', ACCESS_LEVEL = 'public')")
	root.must(t, "CREATE TABLE app.vault (id INT PRIMARY KEY, body TEXT) WITH (TYPE = 'SHARED')")
	root.must(t, "INSERT INTO app.board (id, body) VALUES (1, 'for all')")
	users := map[string]*client{}
	for i, user := range []string{"ann", "bob", "dora"} {
		role := map[string]string{"dora": "dba"}[user]
		if role == "" {
			role = "user"
		}
		root.must(t, fmt.Sprintf("CREATE USER %s WITH PASSWORD 'password-of-%s' ROLE %s", user, user, role))
		users[user] = c.nodes[i].login(t, user, "password-of-"+user)
	}
	for user, session := range users {
		session.must(t, "INSERT INTO app.diary (id, body) VALUES (1, $1)", "of "+user)
	}
	wantOwn := func(when string) {
		t.Helper()
		for user, session := range users {
			for _, n := range c.nodes {
				for _, query := range []string{
					"SELECT body FROM app.diary", "SELECT body FROM app.diary WHERE 1 = 1 OR id > 0",
					"SELECT body FROM app.diary WHERE id = 1", "SELECT MAX(body) FROM app.diary",
				} {
					if got := fmt.Sprint(session.at(n).must(t, query).rows()); got != "[[of "+user+"]]" {
						t.Errorf("%s: %s at %v sees %s with %s", when, user, n, got, query)
					}
				}
			}
		}
		for _, n := range c.nodes {
			if count := root.at(n).number(t, "SELECT COUNT(*) FROM app.diary"); count != 0 {
				t.Errorf("%s: root at %v sees %d private rows of others", when, n, count)
			}
		}
	}
	wantOwn("at first")
	ann, bob := users["ann"], users["bob"]
	bob.must(t, "INSERT INTO app.diary (id, body) VALUES (2, 'more')")
	if got := ann.must(t, "UPDATE app.diary SET body = 'stolen' WHERE id = 2"); got.Results[0].RowCount != 0 {
		t.Errorf("ann changed a row of bob: %v", got)
	}
	if got := ann.must(t, "DELETE FROM app.diary WHERE id = 2 OR id > 1"); got.Results[0].RowCount != 0 {
		t.Errorf("ann deleted a row of bob: %v", got)
	}
	bob.must(t, "DELETE FROM app.diary WHERE id = 2")
	wantOwn("after attempts on rows of others")

	if got := fmt.Sprint(ann.must(t, "SELECT body FROM app.board").rows()); got != "[[for all]]" {
		t.Errorf("ann reads %s from a public table", got)
	}
	for _, statement := range []string{
		"INSERT INTO app.board (id, body) VALUES (2, 'x')", "UPDATE app.board SET body = 'x' WHERE id = 1",
		"DELETE FROM app.board WHERE id = 1", "SELECT * FROM system.users", "SELECT * FROM system.cluster",
		"SELECT * FROM system.table_digests", "CREATE NAMESPACE mine", "DROP TABLE app.diary", "DROP NAMESPACE app",
		"CREATE USER eve WITH PASSWORD 'password-of-eve' ROLE dba", "ALTER USER ann SET ROLE dba", "DROP USER bob",
	} {
		got, err := ann.sql(t.Context(), statement)
		if err != nil || got.HTTP != http.StatusForbidden || got.Error == nil || got.Error.Code != "PERMISSION_DENIED" {
			t.Errorf("ann may run %s: %v, %v; want 403 PERMISSION_DENIED", statement, got, err)
		}
	}
	// A table that a role may not read is not even admitted to exist.
	for _, statement := range []string{
		"SELECT * FROM app.vault", "INSERT INTO app.vault (id, body) VALUES (1, 'x')", "SELECT * FROM app.nothing",
	} {
		got, err := ann.sql(t.Context(), statement)
		if err != nil || got.HTTP != http.StatusBadRequest || got.Error == nil || got.Error.Code != "SQL_EXECUTION_ERROR" ||
			strings.Contains(string(got.Raw), "vault") {
			t.Errorf("ann may run %s: %v, %v; want 400 SQL_EXECUTION_ERROR that does not name the table", statement, got, err)
		}
	}
	wantOwn("after attempts on what is not theirs")
}

// TestTokensFollowTheAccount changes and drops users on one node and uses their tokens on others.
func TestTokensFollowTheAccount(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	root.must(t, "CREATE USER ann WITH PASSWORD 'password-of-ann' ROLE dba")
	root.must(t, "CREATE USER bob WITH PASSWORD 'password-of-bob' ROLE user")
	ann, bob := c.nodes[1].login(t, "ann", "password-of-ann"), c.nodes[2].login(t, "bob", "password-of-bob")
	ann.must(t, "SELECT user_id FROM system.users")
	root.must(t, "ALTER USER ann SET ROLE user")
	root.at(c.nodes[1]).must(t, "DROP USER bob")
	for user, session := range map[string]*client{"ann": ann, "bob": bob} {
		for _, n := range c.nodes {
			eventually(t, fmt.Sprintf("%v refuses the old token of %s", n, user), func() error {
				got, err := session.at(n).sql(t.Context(), "SELECT 1")
				if err != nil {
					return err
				}
				if got.HTTP != http.StatusUnauthorized {
					return fmt.Errorf("%v", got)
				}
				return nil
			})
		}
	}
	again := c.nodes[2].login(t, "ann", "password-of-ann")
	if got, err := again.sql(t.Context(), "SELECT user_id FROM system.users"); err != nil || got.HTTP != http.StatusForbidden {
		t.Errorf("ann reads system.users as a user: %v, %v", got, err)
	}
}
