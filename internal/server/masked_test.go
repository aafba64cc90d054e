package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestMaskedColumnsOfEveryType: a column of a masked name has values of its own type in every answer, and a table with such a column can be used.
func TestMaskedColumnsOfEveryType(t *testing.T) {
	t.Parallel()
	_, root, callers := rolesNode(t)
	user := callers[0]
	for i, test := range []struct{ kind, value, want string }{
		{"JSON", `'{"key": 1}'`, `"***"`},
		{"INT", "1", "null"},
		{"BIGINT", "1", "null"},
		{"TEXT", "'kept'", "***"},
		{"BOOLEAN", "TRUE", "null"},
		{"TIMESTAMP", "NOW()", "null"},
		{"UUID", "'6ba7b810-9dad-11d1-80b4-00c04fd430c8'", "null"},
		{"DECIMAL(5, 2)", "1.5", "null"},
		{"EMBEDDING(2)", "'[1, 2]'", "null"},
		{"BYTES", "'x'", "null"},
		{"DATE", "'2024-05-01'", "null"},
	} {
		name := "app.m" + string(rune('a'+i))
		root.sql("CREATE USER TABLE " + name + " (id INT PRIMARY KEY, credentials " + test.kind + ", password_hash " + test.kind + ")")
		values := test.value + ", " + test.value
		if got, want := user.grid("INSERT INTO "+name+" VALUES (1, "+values+") RETURNING *"), "1|"+test.want+"|"+test.want; got != want {
			t.Errorf("%s, RETURNING: %s, want %s", test.kind, got, want)
		}
		if got, want := user.grid("SELECT id, credentials, password_hash FROM "+name), "1|"+test.want+"|"+test.want; got != want {
			t.Errorf("%s, SELECT: %s, want %s", test.kind, got, want)
		}
		if got := user.grid("SELECT * FROM " + name + " WHERE credentials IS NOT NULL"); !strings.HasPrefix(got, "1|"+test.want+"|"+test.want+"|") {
			t.Errorf("%s, SELECT *: %s", test.kind, got)
		}
	}
}

// TestNoNameShowsSecretsOfTheSystem: whoever is no administrator reads no masked column of a system table, under whatever name.
func TestNoNameShowsSecretsOfTheSystem(t *testing.T) {
	t.Parallel()
	_, root, callers := rolesNode(t)
	columns := root.rows("SELECT table_schema, table_name, column_name FROM information_schema.columns " +
		"WHERE column_name IN ('password_hash', 'credentials') AND table_schema <> 'app' LIMIT 1000")
	if len(columns) < 2 {
		t.Fatalf("the masked columns of system tables are %v, want those of users and storages at least", columns)
	}
	root.sql("CREATE VIEW app.hashes AS SELECT user_id, password_hash AS x FROM system.users")
	for i, role := range roleNames() {
		if role == "dba" || role == "system" {
			continue
		}
		statements := []string{"SELECT x FROM app.hashes", "SELECT upper(x) FROM app.hashes"}
		for _, c := range columns {
			source, column := fmt.Sprintf("%v.%v", c[0], c[1]), fmt.Sprint(c[2])
			statements = append(statements, "SELECT "+column+" AS x FROM "+source, "SELECT concat("+column+") AS x FROM "+source,
				"SELECT x FROM (SELECT "+column+" AS x FROM "+source+") AS d", "WITH w(x) AS (SELECT "+column+" FROM "+source+") SELECT x FROM w",
				"SELECT max("+column+") AS x FROM "+source, "SELECT (SELECT "+column+" FROM "+source+" LIMIT 1) AS x",
				"SELECT a.z FROM "+source+" AS a(z)", "SELECT to_json(a) AS x FROM "+source+" AS a")
		}
		for _, sql := range statements {
			if status, a := callers[i].ask(sql); status == http.StatusOK || a.Error == nil {
				t.Errorf("%s, role %s: %d", sql, role, status)
			}
		}
	}
}
