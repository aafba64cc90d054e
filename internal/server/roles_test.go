package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// What a caller of each role meets.
const (
	allowed = 'y' // the statement runs, or fails for another reason than who asks
	denied  = 'n' // 403 PERMISSION_DENIED
	absent  = 'a' // the object is answered like one that is not there
)

// roleNames are the columns of the matrix. The user of a role is called like it, behind r_.
func roleNames() []string { return []string{"user", "service", "dba", "system"} }

// roleMatrix lists statements with what happens to a user, a service, a dba and a system user; # stands for the
// caller. Callers without a token get nothing at all.
func roleMatrix() []struct{ sql, outcomes string } {
	return []struct{ sql, outcomes string }{
		// Own rows.
		{"INSERT INTO app.mine VALUES (1, 'of #')", "yyyy"},
		{"SELECT * FROM app.mine", "yyyy"},
		{"UPDATE app.mine SET body = 'new' WHERE id = 1", "yyyy"},
		{"DELETE FROM app.mine WHERE id = 1", "yyyy"},
		{"INSERT INTO app.flow VALUES (1)", "yyyy"},
		{"SELECT * FROM app.flow", "yyyy"},
		{"DELETE FROM app.flow WHERE id = 1", "yyyy"},
		// Shared rows.
		{"SELECT * FROM app.s_public", "yyyy"},
		{"SELECT * FROM app.s_private", "ayyy"},
		{"SELECT * FROM app.s_restricted", "ayyy"},
		{"SELECT * FROM app.s_dba", "aayy"},
		{"INSERT INTO app.s_public (body) VALUES ('#')", "nyyy"},
		{"UPDATE app.s_public SET body = 'x' WHERE body = '#'", "nyyy"},
		{"DELETE FROM app.s_public WHERE body = '#'", "nyyy"},
		{"INSERT INTO app.s_private (body) VALUES ('#')", "ayyy"},
		{"UPDATE app.s_restricted SET body = 'x' WHERE body = '#'", "ayyy"},
		{"DELETE FROM app.s_dba WHERE body = '#'", "aayy"},
		{"INSERT INTO app.s_dba (body) VALUES ('#')", "aayy"},
		// Tables.
		{"CREATE USER TABLE app.new_mine_# (id INT PRIMARY KEY)", "yyyy"},
		{"CREATE STREAM TABLE app.new_flow_# (id INT) WITH (TTL_SECONDS = 60)", "yyyy"},
		{"CREATE SHARED TABLE app.new_shared_# (id INT PRIMARY KEY)", "nyyy"},
		{"CREATE TABLE app.new_plain_# (id INT PRIMARY KEY)", "nyyy"},
		{"ALTER TABLE app.mine ADD COLUMN of_# INT", "yyyy"},
		{"ALTER TABLE app.flow ADD COLUMN of_# INT", "yyyy"},
		{"ALTER TABLE app.s_public ADD COLUMN of_# INT", "nyyy"},
		{"ALTER TABLE app.s_private ADD COLUMN of_# INT", "ayyy"},
		{"ALTER TABLE app.s_dba ADD COLUMN of_# INT", "aayy"},
		{"ALTER TABLE app.s_public SET ACCESS LEVEL public", "nyyy"},
		{"DROP TABLE IF EXISTS app.new_mine_#", "nnyy"},
		{"DROP TABLE app.absent", "nnyy"},
		{"CREATE VIEW app.view_# AS SELECT id FROM app.mine", "nnyy"},
		{"DROP VIEW IF EXISTS app.view_#", "nnyy"},
		// What only administrators do.
		{"CREATE NAMESPACE of_#", "nnyy"},
		{"ALTER NAMESPACE app SET OPTIONS (k = '#')", "nnyy"},
		{"DROP NAMESPACE IF EXISTS of_#", "nnyy"},
		{"CREATE USER child_of_# WITH PASSWORD 'Secret-of-child-1' ROLE user", "nnyy"},
		{"CREATE USER system_of_# WITH PASSWORD 'Secret-of-child-1' ROLE system", "nnny"},
		{"ALTER USER # SET EMAIL '#@example.org'", "nnyy"}, // not even one's own
		{"ALTER USER rising SET ROLE system", "nnny"},
		{"ALTER USER root SET EMAIL 'root@example.org'", "nnny"},
		{"DROP USER IF EXISTS child_of_#", "nnyy"},
		{"DROP USER IF EXISTS system_of_r_system", "nnny"},
		{"CREATE STORAGE of_# TYPE filesystem PATH '/nowhere/#'", "nnyy"},
		{"ALTER STORAGE local SET NAME 'of #'", "nnyy"},
		{"DROP STORAGE IF EXISTS of_#", "nnyy"},
		{"STORAGE CHECK local", "nnyy"},
		{"CREATE TOPIC app.of_#", "nnyy"},
		{"CLUSTER SNAPSHOT", "nnyy"},
		{"CLUSTER REBALANCE", "nnyy"},
		{"KILL JOB 'FL-0'", "nnyy"},
		{"KILL QUERY 'none'", "nnyy"},
		{"KILL LIVE QUERY 'none'", "nnyy"},
		{"BACKUP DATABASE TO 'relative'", "nnyy"},
		{"RESTORE DATABASE FROM 'relative'", "nnny"}, // a backup brings accounts of any role along
		{"EXPLAIN SELECT 1", "nnyy"},
		{"SET timezone = 'UTC'", "nnyy"},
		{"SHOW ALL", "nnyy"},
		{"SHOW COLUMNS FROM app.mine", "nnyy"},
		{"SHOW USERS", "nnyy"},
		{"SHOW STORAGES", "nnyy"},
		{"SHOW JOBS", "nnyy"},
		{"SHOW CLUSTER", "nnyy"},
		{"SHOW LIVE QUERIES", "nnyy"},
		{"SHOW MANIFEST", "nnyy"}, // it tells of every user's rows
		{"SHOW MANIFEST FOR TABLE app.mine", "nnyy"},
		{"SELECT * FROM system.tables", "nnyy"},
		{"SELECT * FROM system.manifest", "nnyy"},
		{"SELECT t.table_name FROM app.mine m JOIN system.tables t ON TRUE", "nnyy"},
		{"WITH t AS (SELECT * FROM system.users) SELECT * FROM t", "nnyy"},
		{"DELETE FROM system.users WHERE TRUE", "nnnn"},
		// What is open.
		{"SHOW TABLES", "yyyy"},
		{"SHOW NAMESPACES", "yyyy"},
		{"SHOW VIEWS IN app", "yyyy"},
		{"SHOW STATS FOR TABLE app.mine", "yyyy"},
		{"DESCRIBE TABLE app.mine", "yyyy"},
		{"SELECT * FROM information_schema.tables", "yyyy"},
		{"SELECT * FROM pg_catalog.pg_class", "yyyy"},
		{"USE app", "yyyy"},
		{"SUBSCRIBE TO app.mine", "yyyy"},
		{"SUBSCRIBE TO app.s_private", "ayyy"},
		{"SUBSCRIBE TO system.jobs", "nnyy"},
		{"BEGIN; SELECT * FROM app.mine; COMMIT", "yyyy"},
		// Moving rows.
		{"STORAGE FLUSH TABLE app.mine", "nyyy"},
		{"STORAGE FLUSH ALL", "nyyy"},
		{"STORAGE COMPACT TABLE app.mine", "nyyy"},
		// In another's name.
		{"EXECUTE AS USER '#' (SELECT * FROM app.mine)", "yyyy"},
		{"EXECUTE AS USER 'r_user' (SELECT * FROM app.mine)", "yyyy"},
		{"EXECUTE AS USER 'child' (SELECT * FROM app.mine)", "nyyy"},
		{"EXECUTE AS USER 'nobody' (SELECT * FROM app.mine)", "nyyy"},
		{"EXECUTE AS USER 'r_service' (SELECT * FROM app.mine)", "nyyy"},
		{"EXECUTE AS USER 'r_dba' (SELECT * FROM app.mine)", "nnyy"},
		{"EXECUTE AS USER 'r_system' (SELECT * FROM app.mine)", "nnny"},
		{"EXECUTE AS USER 'child' (SELECT * FROM app.s_public)", "nnnn"}, // never on shared tables
		{"EXECUTE AS USER 'child' (INSERT INTO app.s_public (body) VALUES ('x'))", "nnnn"},
		{"EXECUTE AS USER 'child' (SELECT * FROM system.users)", "nnnn"}, // it runs with the role user
		{"EXECUTE AS USER 'child' (DROP TABLE app.mine)", "nnnn"},
	}
}

// rolesNode is a node with a user of every role, tables of every kind, and rows of somebody else in them.
func rolesNode(t *testing.T) (n *Node, root client, callers []client) {
	t.Helper()
	n = openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, n)
	root = login(t, n, "root", rootPassword)
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE USER TABLE app.mine (id INT PRIMARY KEY, body TEXT)")
	root.sql("CREATE STREAM TABLE app.flow (id INT) WITH (TTL_SECONDS = 600)")
	for _, level := range []string{"public", "private", "restricted", "dba"} {
		root.sql("CREATE SHARED TABLE app.s_" + level + " (id TEXT PRIMARY KEY DEFAULT ULID(), body TEXT) WITH (ACCESS_LEVEL = '" + level + "')")
	}
	root.sql("CREATE USER child WITH PASSWORD 'Secret-of-child-1' ROLE user")
	root.sql("CREATE USER rising WITH PASSWORD 'Secret-of-child-2' ROLE user")
	login(t, n, "child", "Secret-of-child-1").sql("INSERT INTO app.mine VALUES (1, 'secret of child'), (7, 'secret of child')")
	for _, role := range roleNames() {
		root.sql(fmt.Sprintf("CREATE USER r_%s WITH PASSWORD 'Secret-of-%s-1' ROLE %s", role, role, role))
		callers = append(callers, login(t, n, "r_"+role, "Secret-of-"+role+"-1"))
	}
	return n, root, callers
}

// TestRoleMatrix lets every role say every kind of statement.
func TestRoleMatrix(t *testing.T) {
	t.Parallel()
	_, _, callers := rolesNode(t)
	nobody := client{t: t, url: callers[0].url}
	for _, line := range roleMatrix() {
		for i, role := range roleNames() {
			sql := strings.ReplaceAll(line.sql, "#", "r_"+role)
			status, a := callers[i].ask(sql)
			if got := outcomeFor(status, a); got != rune(line.outcomes[i]) {
				t.Errorf("%s, role %s: %c, want %c: %d %+v", sql, role, got, line.outcomes[i], status, a.Error)
			}
			if strings.Contains(fmt.Sprint(a.Results), "secret of child") && !strings.HasPrefix(sql, "EXECUTE AS") {
				t.Errorf("%s, role %s: shows another user's rows: %v", sql, role, a.Results)
			}
		}
		if status, a := nobody.ask(line.sql); status != http.StatusUnauthorized || a.Error.Code != "MISSING_AUTHORIZATION" {
			t.Errorf("%s without a token: %d %+v", line.sql, status, a.Error)
		}
	}
}

// outcomeFor says how an answer looks to the matrix.
func outcomeFor(status int, a answer) rune {
	switch {
	case a.Error == nil && status == http.StatusOK:
		return allowed
	case a.Error == nil:
		return '?'
	case status == http.StatusForbidden && a.Error.Code == "PERMISSION_DENIED":
		return denied
	case strings.Contains(a.Error.Message, "not found or access denied") || hiddenMessage(a.Error.Message):
		return absent
	case status >= http.StatusInternalServerError:
		return '?'
	}
	return allowed
}

// hiddenMessage reports whether a message is the one that stands for those that a user may not read.
func hiddenMessage(message string) bool {
	return strings.HasPrefix(message, "The statement could not be executed")
}

// TestAdministratorsSeeTheirOwnRowsAlone: no role sees or changes what another user has in a private table.
func TestAdministratorsSeeTheirOwnRowsAlone(t *testing.T) {
	t.Parallel()
	_, root, callers := rolesNode(t)
	for _, c := range append(slices.Clone(callers), root) {
		if got := c.grid("SELECT count(*) FROM app.mine"); got != "0" {
			t.Errorf("somebody sees %s of another's rows", got)
		}
		c.sql("UPDATE app.mine SET body = 'stolen' WHERE TRUE")
		c.sql("DELETE FROM app.mine WHERE id > 0")
	}
	if got, want := callers[2].grid("EXECUTE AS USER 'child' (SELECT id, body FROM app.mine ORDER BY id)"), "1|secret of child\n7|secret of child"; got != want {
		t.Errorf("afterwards the user has\n%s\nwant\n%s", got, want)
	}
}

// TestLiveQueriesTellOwnRowsAlone: callers of every role follow a private table, some with conditions that try to reach further, while
// another user writes. Each is told of his own row and of nothing before it.
func TestLiveQueriesTellOwnRowsAlone(t *testing.T) {
	t.Parallel()
	n, _, callers := rolesNode(t)
	child := login(t, n, "child", "Secret-of-child-1")
	for i, condition := range []string{"", " WHERE body LIKE '%'", " WHERE CURRENT_USER() <> 'child' OR TRUE", " WHERE id >= 0 OR body = 'child'"} {
		follower := watch(t, n, callers[i])
		follower.send(fmt.Sprintf(`{"type":"subscribe","subscription":{"id":"s","sql":"SELECT * FROM app.mine%s","options":{}}}`, condition))
		for f := follower.next(); f.Control == nil || f.Control.Status != "ready" || f.Type != "initial_data_batch"; f = follower.next() {
			if f.Type == "error" || len(f.Rows) > 0 {
				t.Fatalf("%q gives %+v", condition, f)
			}
		}
		child.sql(fmt.Sprintf("INSERT INTO app.mine VALUES (%d, 'secret of child'); UPDATE app.mine SET body = 'secret of child again' WHERE id = 1; "+
			"DELETE FROM app.mine WHERE id = 7", 100+i))
		callers[i].sql("INSERT INTO app.mine VALUES (500, 'own')")
		if f := follower.next(); f.ChangeType != "insert" || len(f.Rows) != 1 || f.Rows[0]["body"] != "own" {
			t.Errorf("%q, role %s: the first change is %+v", condition, roleNames()[i], f)
		}
	}
}

// TestAccountsOfEveryKind: the words of roles, accounts without a password, and what a request leaves behind.
func TestAccountsOfEveryKind(t *testing.T) {
	t.Parallel()
	_, root, callers := rolesNode(t)
	for word, role := range map[string]string{
		"dba": "dba", "admin": "dba", "service": "service", "developer": "service", "analyst": "service", "user": "user", "viewer": "user",
		"readonly": "user", "system": "system",
	} {
		root.sql("CREATE USER as_" + word + " WITH PASSWORD 'Secret-of-word-1' ROLE " + word + " EMAIL '" + word + "@example.org'")
		if got, want := root.grid("SELECT role, email, auth_type FROM system.users WHERE user_id = 'as_"+word+"'"), role+"|"+word+"@example.org|password"; got != want {
			t.Errorf("ROLE %s gives %s, want %s", word, got, want)
		}
	}
	root.sql(`CREATE USER outside WITH OAUTH '{"provider":"google","subject":"abc"}' ROLE user`)
	root.sql("CREATE USER inside WITH INTERNAL ROLE service")
	got := root.grid("SELECT user_id, auth_type, auth_data FROM system.users WHERE user_id IN ('inside', 'outside') ORDER BY user_id")
	if want := `inside|internal|null` + "\n" + `outside|oauth|{"provider":"google","subject":"abc"}`; got != want {
		t.Errorf("accounts without a password:\n%s\nwant\n%s", got, want)
	}
	for _, user := range []string{"inside", "outside"} {
		for _, word := range []string{"", "x"} {
			if status, body := root.post("/v1/api/auth/login", map[string]any{"user": user, "password": word}); status != http.StatusUnauthorized {
				t.Errorf("%s logs in with %q: %d %s", user, word, status, body)
			}
		}
	}
	callers[0].sql("USE app")
	if status, a := callers[0].ask("SELECT * FROM mine"); status != http.StatusBadRequest {
		t.Errorf("USE outlives its request: %d %v", status, a.Results)
	}
	callers[0].sql("USE app; SELECT count(*) FROM mine")
	root.wantError(statement("STORAGE FLUSH TABLE app.flow"), http.StatusBadRequest, "SQL_EXECUTION_ERROR", true)
}
