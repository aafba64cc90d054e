package exec_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

const auditQuery = "SELECT actor_user_id, action, target, ip_address, subject_user_id FROM system.audit_log WHERE audit_id <> 'AU-1' ORDER BY length(audit_id), audit_id"

// TestAuditLog shows that changes of the catalog, acting as another user and refusals to, leave entries, and that
// refused statements leave none.
func TestAuditLog(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.AuditEntries = 100 })
	boss := admin()
	boss.ClientIP = "203.0.113.9"
	for _, sql := range []string{
		"CREATE NAMESPACE lab", "CREATE USER TABLE app.notes (id INT PRIMARY KEY)",
		"CREATE USER bob WITH PASSWORD 'correct horse' ROLE user", "ALTER USER bob SET EMAIL 'b@x.y'",
		"EXECUTE AS USER 'bob' (INSERT INTO app.notes VALUES (1))", "EXECUTE AS USER 'bob' (SELECT * FROM app.notes)",
		"DROP USER bob", "DROP TABLE app.notes",
	} {
		if _, err := n.run(t, boss, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if _, err := n.run(t, boss, "CREATE NAMESPACE lab"); err == nil {
		t.Error("a namespace was created twice")
	}
	mallory := caller("mallory", session.RoleUser)
	for range 3 {
		if _, err := n.run(t, mallory, "EXECUTE AS USER 'ann' (SELECT * FROM app.notes)"); exec.CodeOf(err) != exec.CodePermissionDenied {
			t.Fatalf("a user acted as another: %v", err)
		}
	}
	want := `admin|CREATE_NAMESPACE|lab|203.0.113.9|NULL
admin|CREATE_TABLE|app.notes|203.0.113.9|NULL
admin|CREATE_USER|bob|203.0.113.9|bob
admin|ALTER_USER|bob|203.0.113.9|bob
admin|EXECUTE_AS_USER|bob|203.0.113.9|bob
admin|DROP_USER|bob|203.0.113.9|bob
admin|DROP_TABLE|app.notes|203.0.113.9|NULL
mallory|EXECUTE_AS_USER_DENIED|ann|NULL|ann
`
	if got := text(t, n.must(t, auditQuery)); got != want {
		t.Errorf("the audit log is\n%swant\n%s", got, want)
	}
	if got := text(t, n.must(t, "SELECT details FROM system.audit_log WHERE action = 'CREATE_USER'")); strings.Contains(got, "horse") {
		t.Errorf("the audit log holds a password: %s", got)
	}
}

// TestAuditLogIsBounded shows that the oldest entries make room, also for a smaller bound than before.
func TestAuditLogIsBounded(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.AuditEntries = 5 })
	for i := range 12 {
		n.must(t, fmt.Sprintf("CREATE NAMESPACE n%d", i))
	}
	got := text(t, n.must(t, "SELECT audit_id, target FROM system.audit_log ORDER BY length(audit_id), audit_id"))
	if want := "AU-9|n7\nAU-10|n8\nAU-11|n9\nAU-12|n10\nAU-13|n11\n"; got != want {
		t.Errorf("the audit log keeps\n%swant\n%s", got, want)
	}
	snapshot := n.storage.NewSnapshot()
	defer snapshot.Close() //nolint:errcheck // it is only read
	entries, err := catalog.LoadAudit(snapshot)
	if err != nil || len(entries) != 5 {
		t.Errorf("%d entries are stored (%v), want 5", len(entries), err)
	}
}
