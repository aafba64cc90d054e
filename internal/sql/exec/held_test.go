package exec_test

import (
	"context"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

// TestLookReadsNoIndex looks at a picture of the store from before an index, with a catalog that has it.
func TestLookReadsNoIndex(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE app.t (id INT PRIMARY KEY, a INT); INSERT INTO app.t VALUES (1, 5), (2, 5), (3, 6)")
	snapshot := n.storage.NewSnapshot()
	n.must(t, "CREATE INDEX by_a ON app.t (a)")
	query := parsedQuery(t, "SELECT count(*) FROM app.t WHERE a = 5")
	result, err := n.engine.Look(t.Context(), admin(), query, snapshot, 10)
	if err != nil || len(result.Rows) != 1 || result.Rows[0][0].Int() != 2 {
		t.Errorf("got %+v, %v, want 2", result.Rows, err)
	}
	if err := snapshot.Close(); err != nil {
		t.Error(err)
	}
}

// weakExecutor is one whose barriers wait for nothing.
type weakExecutor struct{ executor.CommandExecutor }

func (weakExecutor) Weak(context.Context) bool { return true }

// TestWeakReadsReadNoIndex runs a query where the catalog may be younger than the rows: it must go through the table.
func TestWeakReadsReadNoIndex(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Executor = weakExecutor{deps.Executor} })
	n.must(t, "CREATE TABLE app.t (id INT PRIMARY KEY, a INT); INSERT INTO app.t VALUES (1, 5), (2, 5), (3, 6)")
	n.must(t, "CREATE INDEX by_a ON app.t (a)")
	if got := text(t, n.must(t, "SELECT id FROM app.t WHERE a = 5 ORDER BY id")); got != "1\n2\n" {
		t.Errorf("got %q", got)
	}
	if got := text(t, n.must(t, "EXPLAIN ANALYZE SELECT id FROM app.t WHERE a = 5")); strings.Contains(got, "by=index") {
		t.Errorf("an index was read: %s", got)
	}
}

// TestRestoreNeedsTheRoleSystem refuses a backup to an administrator: it may bring accounts along that can do more than he.
func TestRestoreNeedsTheRoleSystem(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	if _, err := n.run(t, admin(), "RESTORE DATABASE FROM '/b'"); fault.KindOf(err) != fault.PermissionDenied {
		t.Errorf("a dba: %v", err)
	}
	if _, err := n.run(t, caller("root", session.RoleSystem), "RESTORE DATABASE FROM '/b'"); fault.KindOf(err) == fault.PermissionDenied {
		t.Errorf("system: %v", err)
	}
}

func parsedQuery(t *testing.T, text string) *parse.Query {
	t.Helper()
	batch, err := parse.ParseBatch(text)
	if err != nil {
		t.Fatal(err)
	}
	query, ok := batch[0].Statement.(*parse.Query)
	if !ok {
		t.Fatalf("%s is %T", text, batch[0].Statement)
	}
	return query
}
