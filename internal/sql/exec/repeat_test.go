package exec_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// repeat runs a request under a key and prints what it gives.
func (n *node) repeat(t *testing.T, as session.Session, key string, age time.Duration, sql string, params ...datum.Datum) string {
	t.Helper()
	response, err := n.engine.Execute(t.Context(), exec.Request{
		SQL: sql, Params: params, Session: as, RepeatKey: key, RepeatAge: age,
	})
	if err != nil {
		return fault.KindOf(err).String() + ": " + err.Error()
	}
	var b strings.Builder
	for _, result := range response.Results {
		b.WriteString(result.Message + rowsText(result.Rows))
	}
	return b.String()
}

// TestRepeatedChangeRunsOnce: whatever a change gave the first time, it gives the second time, and nothing is
// done again.
func TestRepeatedChangeRunsOnce(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE r (id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), n BIGINT NOT NULL) WITH (TYPE='SHARED')")
	n.must(t, "INSERT INTO r VALUES (1, 10), (2, 20)")
	for key, test := range map[string]struct {
		sql    string
		first  string // "" accepts anything
		params []datum.Datum
	}{
		"insert":         {sql: "INSERT INTO r VALUES (3, 30)", first: "Inserted 1 row(s)"},
		"generated":      {sql: "INSERT INTO r (n) VALUES (50) RETURNING id, n"},
		"do nothing":     {sql: "INSERT INTO r VALUES (4, 40) ON CONFLICT DO NOTHING", first: "Inserted 1 row(s)"},
		"counted":        {sql: "UPDATE r SET n = n + 1 WHERE id = $1", first: "Updated 1 row(s)", params: []datum.Datum{datum.NewBigInt(1)}},
		"moved away":     {sql: "UPDATE r SET n = 21 WHERE n = 20", first: "Updated 1 row(s)"},
		"nothing found":  {sql: "UPDATE r SET n = 1 WHERE id = 77", first: "Updated 0 row(s)"},
		"deleted":        {sql: "DELETE FROM r WHERE id = 3 RETURNING n", first: "30\n"},
		"wrong":          {sql: "INSERT INTO r VALUES (9, NULL)", first: "not null"},
		"two statements": {sql: "UPDATE r SET n = n * 2 WHERE id = 1; UPDATE r SET n = n + 1 WHERE id = 1"},
	} {
		if key == "deleted" {
			continue // below, once its row is there
		}
		first := n.repeat(t, admin(), key, 0, test.sql, test.params...)
		if !strings.Contains(strings.ToLower(first), strings.ToLower(test.first)) {
			t.Errorf("%s: %q, want %q", key, first, test.first)
		}
		before := text(t, n.must(t, "SELECT id, n FROM r ORDER BY id"))
		if again := n.repeat(t, admin(), key, time.Millisecond, test.sql, test.params...); again != first {
			t.Errorf("%s: first %q, then %q", key, first, again)
		}
		if after := text(t, n.must(t, "SELECT id, n FROM r ORDER BY id")); after != before {
			t.Errorf("%s ran again: %q became %q", key, before, after)
		}
	}
	first := n.repeat(t, admin(), "deleted", 0, "DELETE FROM r WHERE id = 3 RETURNING n")
	if again := n.repeat(t, admin(), "deleted", time.Second, "DELETE FROM r WHERE id = 3 RETURNING n"); first != "30\n" || again != first {
		t.Errorf("DELETE RETURNING: first %q, then %q", first, again)
	}
}

// TestRepeatBelongsToItsSender: the same key of another user, or with another text, is another request.
func TestRepeatBelongsToItsSender(t *testing.T) {
	t.Parallel()
	n := startNode(t, nil)
	n.must(t, "CREATE TABLE r (id BIGINT PRIMARY KEY, n BIGINT) WITH (TYPE='SHARED')")
	n.must(t, "INSERT INTO r VALUES (1, 0)")
	const plus = "UPDATE r SET n = n + 1 WHERE id = 1"
	other := caller("other", session.RoleDBA)
	for range 2 {
		n.repeat(t, admin(), "k", 0, plus)
		n.repeat(t, other, "k", 0, plus)
		n.repeat(t, admin(), "k", 0, "UPDATE r SET n = n + 10 WHERE id = 1")
		n.repeat(t, admin(), "l", 0, plus)
	}
	if got := text(t, n.must(t, "SELECT n FROM r")); got != "13\n" {
		t.Errorf("n = %s, want 13: each of four requests once", got)
	}
}

// TestRepeatFollowsItsConflicts: a change that met a conflict and ran again is found by its repeat.
func TestRepeatFollowsItsConflicts(t *testing.T) {
	t.Parallel()
	n := startNode(t, func(deps *exec.Deps) { deps.Clock = clock.Real{} }) // a conflict is followed by a pause
	n.must(t, "CREATE TABLE r (id BIGINT PRIMARY KEY, n BIGINT) WITH (TYPE='SHARED')")
	n.must(t, "INSERT INTO r VALUES (1, 0)")
	n.mu.Lock()
	n.before = func() { n.must(t, "UPDATE r SET n = n + 100 WHERE id = 1") }
	n.mu.Unlock()
	const plus = "UPDATE r SET n = n + 1 WHERE id = 1"
	for _, age := range []time.Duration{0, time.Second} {
		if got := n.repeat(t, admin(), "k", age, plus); got != "Updated 1 row(s)" {
			t.Errorf("age %v: %s", age, got)
		}
	}
	if got := text(t, n.must(t, "SELECT n FROM r")); got != "101\n" {
		t.Errorf("n = %s, want 101", got)
	}
}
