package server

import (
	"net/http"
	"strings"
	"testing"
)

// TestAccountsThatCannotBe: what is no password and what names no subject is refused.
func TestAccountsThatCannotBe(t *testing.T) {
	t.Parallel()
	_, root, _ := rolesNode(t)
	for _, sql := range []string{
		"CREATE USER e1 WITH PASSWORD '' ROLE user", "ALTER USER child SET PASSWORD ''", "CREATE USER e2 WITH OAUTH '{bad' ROLE user",
		"CREATE USER e3 WITH OAUTH '{}' ROLE user", `CREATE USER e4 WITH OAUTH '{"provider":"google"}' ROLE user`,
		`CREATE USER e5 WITH OAUTH '{"provider":"google","subject":""}' ROLE user`, `CREATE USER e6 WITH OAUTH '{"provider":"google","subject":7}' ROLE user`,
		`CREATE USER e7 WITH OAUTH '["google","a"]' ROLE user`, `CREATE USER e8 WITH OAUTH 'null' ROLE user`,
	} {
		if status, a := root.ask(sql); status != http.StatusBadRequest {
			t.Errorf("%s: %d %+v", sql, status, a)
		}
	}
	if status, body := root.post("/v1/api/auth/login", map[string]any{"user": "child", "password": ""}); status != http.StatusUnauthorized {
		t.Errorf("an empty password: %d %s", status, body)
	}
	const subject = `WITH OAUTH '{"provider":"google","subject":"a"}' ROLE user`
	root.sql("CREATE USER o1 " + subject)
	if status, a := root.ask("CREATE USER o2 " + subject); status != http.StatusBadRequest || !strings.Contains(a.Error.Message, "already exists") {
		t.Errorf("a subject of two users: %d %+v", status, a)
	}
	root.sql("CREATE USER IF NOT EXISTS o1 " + subject)
	root.sql(`CREATE USER o3 WITH OAUTH '{"provider":"google","subject":"b"}' ROLE user`)
	root.sql("DROP USER o1")
	root.sql("CREATE USER o2 " + subject)
	root.sql("CREATE USER o4 WITH OAUTH ROLE user")
}
