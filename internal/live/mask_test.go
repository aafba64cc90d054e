package live

import (
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
)

// TestMaskedColumnsAreMaskedInLiveRows: what a query hides from a caller, no live query of his shows: neither the rows that are there nor their
// changes, and not beside an administrator who follows the same.
func TestMaskedColumnsAreMaskedInLiveRows(t *testing.T) {
	t.Parallel()
	l := newLab(t, changefeed.Config{})
	l.sql("admin", "CREATE NAMESPACE app")
	l.sql("admin", "CREATE TABLE app.accounts (id BIGINT PRIMARY KEY, password_hash TEXT, credentials JSON, n INT) WITH (ACCESS_LEVEL = 'public')")
	l.sql("admin", `INSERT INTO app.accounts VALUES (1, 'secret one', '{"secret": 1}', 1), (2, NULL, NULL, 2)`)
	for _, sql := range []string{"SELECT * FROM app.accounts", "SELECT n, password_hash, credentials FROM app.accounts"} {
		sinks := map[string]*tape{"admin": {}, "alice": {}, "bot": {}}
		for user, sink := range sinks {
			sub, err := l.service.Subscribe(t.Context(), callerOf(user), sink, Request{ID: "s", SQL: sql, Initial: &Initial{}})
			l.must(err)
			defer sub.Close()
			batch, err := sub.NextBatch(t.Context())
			l.must(err)
			sink.lines = append(sink.lines, string(batch.Rows))
			l.must(sub.Follow(t.Context(), noPace))
		}
		l.sql("admin", `INSERT INTO app.accounts VALUES (3, 'secret three', '{"secret": 3}', 3)`)
		l.sql("admin", "UPDATE app.accounts SET password_hash = 'secret four', n = 4 WHERE id = 3")
		l.sql("admin", "DELETE FROM app.accounts WHERE id = 3")
		l.settle()
		for user, sink := range sinks {
			got := sink.take()
			shown, masked := strings.Contains(got, "secret"), strings.Contains(got, `"password_hash":"***"`) && strings.Contains(got, `"credentials":"\"***\""`)
			if shown != (user == "admin") || masked == (user == "admin") || !strings.Contains(got, `"n":4`) {
				t.Errorf("%s is told by %s:\n%s", user, sql, got)
			}
		}
	}
}

// TestMaskedColumnsAreNoLiveResults: two values that look the same could not be told apart.
func TestMaskedColumnsAreNoLiveResults(t *testing.T) {
	t.Parallel()
	l := newLab(t, changefeed.Config{})
	l.sql("admin", "CREATE NAMESPACE app")
	l.sql("admin", "CREATE TABLE app.accounts (id BIGINT PRIMARY KEY, password_hash TEXT) WITH (ACCESS_LEVEL = 'public')")
	l.sql("admin", "INSERT INTO app.accounts VALUES (1, 'secret one'), (2, 'secret two')")
	for _, sql := range []string{
		"SELECT password_hash, COUNT(*) AS n FROM app.accounts GROUP BY password_hash",
		"SELECT MAX(id) AS credentials FROM app.accounts",
		"SELECT * FROM app.accounts ORDER BY id LIMIT 1",
	} {
		subscribe := func(user string) error {
			sub, err := l.service.Subscribe(t.Context(), callerOf(user), &tape{}, Request{ID: "s", SQL: sql, Initial: &Initial{}})
			if err == nil {
				t.Cleanup(sub.Close)
			}
			return err
		}
		l.must(subscribe("admin"))
		if err := subscribe("alice"); err == nil || !strings.Contains(err.Error(), "needs role dba or system") {
			t.Errorf("%s of a user: %v", sql, err)
		}
	}
}
