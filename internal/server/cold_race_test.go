package server

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// interrupted is an executor that does something else between a write and its command, once.
type interrupted struct {
	executor.CommandExecutor
	first func()
}

func (i *interrupted) Execute(ctx context.Context, group shard.GroupID, cmd *commandv1.Command) (*commandv1.Response, error) {
	if do := i.first; do != nil && cmd.GetWriteRows() != nil {
		i.first = nil
		do()
	}
	return i.CommandExecutor.Execute(ctx, group, cmd)
}

// TestInsertOfAKeyThatIsFlushedMeanwhile has an INSERT look while the row with its key is hot, and be applied when it is
// cold: the key is taken all the same.
func TestInsertOfAKeyThatIsFlushedMeanwhile(t *testing.T) {
	t.Parallel()
	n := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, name TEXT)")
	c.sql("INSERT INTO app.t VALUES (0, 'first')")
	flushTable(t, c, n, "app.t") // from now on an INSERT says what it knows of cold rows
	c.sql("INSERT INTO app.t VALUES (1, 'mine')")
	direct := *n.exec.current.Load()
	flusher := n.flusher()
	flusher.Executor = direct
	n.exec.set(&interrupted{direct, func() {
		if _, err := flusher.Table(t.Context(), mustTable(t, n, "app", "t"), nil); err != nil {
			t.Error(err)
		}
	}})
	status, answer := c.post("/v1/api/sql", map[string]any{"sql": "INSERT INTO app.t VALUES (1, 'thief')"})
	if status == http.StatusOK || !strings.Contains(string(answer), "Primary key violation") {
		t.Errorf("an INSERT of a key that exists: %d %s", status, answer)
	}
	if got := c.sql("SELECT name FROM app.t WHERE id = 1"); !strings.Contains(got, "mine") {
		t.Errorf("the row is now %s", got)
	}
	if hot := hotVersions(t, n, "t"); hot != 0 {
		t.Errorf("%d rows are hot: the flush did not come between", hot)
	}
}

// TestColdReadWithAnOldDescriptorIsAltered reads a cold row with the descriptor of a statement that was planned before
// ALTER TABLE. The statement is to be planned again.
func TestColdReadWithAnOldDescriptorIsAltered(t *testing.T) {
	t.Parallel()
	n := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, name TEXT)")
	old, _ := n.catalog.Current().TableByID(mustTable(t, n, "app", "t"))
	c.sql("ALTER TABLE app.t ADD COLUMN x INT")
	c.sql("INSERT INTO app.t VALUES (1, 'one', 1)")
	flushTable(t, c, n, "app.t")
	scope := table.SharedScope(old)
	scope.Cold = n.cold
	snapshot := n.store.NewSnapshot()
	_, err := scope.LiveSeq(snapshot, datum.AppendKey(nil, datum.NewBigInt(1)))
	if fault.KindOf(err) != fault.Altered {
		t.Errorf("kind %v: %v, want Altered", fault.KindOf(err), err)
	}
	if err := snapshot.Close(); err != nil {
		t.Error(err)
	}
}

// TestFlushOfAUserWithALongName flushes the rows of a user whose name, escaped, is longer than a directory may be.
func TestFlushOfAUserWithALongName(t *testing.T) {
	t.Parallel()
	n := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE='USER')")
	for _, user := range []string{strings.Repeat("%", 100), strings.Repeat("%", 99) + "x", "short"} {
		c.sql("CREATE USER '" + user + "' WITH PASSWORD 'Secret-123456' ROLE user")
		c.sql("EXECUTE AS USER '" + user + "' (INSERT INTO app.t VALUES (1, '" + user + "'))")
	}
	flushTable(t, c, n, "app.t")
	if hot := hotVersions(t, n, "t"); hot != 0 {
		t.Errorf("%d of 3 rows are still hot", hot)
	}
	for _, user := range []string{strings.Repeat("%", 100), strings.Repeat("%", 99) + "x", "short"} {
		if got := c.sql("EXECUTE AS USER '" + user + "' (SELECT name FROM app.t)"); !strings.Contains(got, user) {
			t.Errorf("%s reads %s", user, got)
		}
	}
}
