package server

import (
	"net/http"
	"strings"
	"testing"
)

// TestStatementThatTheLogCannotHold writes more at once than an entry of the log may have. The statement is refused, and
// the node lives.
func TestStatementThatTheLogCannotHold(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	n := openNode(t, cfg, Options{})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, body TEXT)")
	large := strings.Repeat("x", int(cfg.Raft.LogSegmentBytes/4))
	status, answer := c.post("/v1/api/sql", map[string]any{"sql": "INSERT INTO app.t VALUES ($1, $2)", "params": []any{1, large}})
	if status != http.StatusBadRequest || !strings.Contains(string(answer), "writes too much at once") {
		t.Errorf("%d %s", status, answer)
	}
	c.sql("INSERT INTO app.t VALUES (2, 'small')")
	if got := c.sql("SELECT id FROM app.t"); !strings.Contains(got, `"rows":[["2"]]`) {
		t.Errorf("the table has %s, want the small row alone", got)
	}
}
