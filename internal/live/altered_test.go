package live

import (
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
)

// TestTableAlteredBeforeReady: a table is altered, and rows are written that only its new definition can read, while the rows that were there are fetched.
// The changes behind them come as they do for a live query that has begun: with the columns that there are now.
func TestTableAlteredBeforeReady(t *testing.T) {
	t.Parallel()
	l := newLab(t, changefeed.Config{})
	l.sql("admin", "CREATE NAMESPACE app; CREATE TABLE app.t (id BIGINT PRIMARY KEY, a TEXT) WITH (TYPE='USER')")
	l.sql("alice", "INSERT INTO app.t VALUES (1, 'x'), (2, 'y'), (3, 'z')")
	sink := &tape{}
	begin := func(id, sql string) *Subscription {
		t.Helper()
		sub, err := l.service.Subscribe(t.Context(), callerOf("alice"), sink, Request{ID: id, SQL: sql, Initial: &Initial{BatchSize: 2}})
		l.must(err)
		_, err = sub.NextBatch(t.Context())
		l.must(err)
		return sub
	}
	all, some := begin("all", "SELECT * FROM app.t"), begin("some", "SELECT id FROM app.t WHERE a <> 'q'")
	gone := begin("gone", "SELECT a FROM app.t")
	l.sql("admin", "ALTER TABLE app.t ADD COLUMN note TEXT")
	l.sql("alice", "INSERT INTO app.t VALUES (4, 'v', 'new'); UPDATE app.t SET note = 'late' WHERE id = 1")
	l.settle()
	for _, sub := range []*Subscription{all, some} {
		batch, err := sub.NextBatch(t.Context())
		if err != nil || batch.Count != 1 || batch.HasMore {
			t.Errorf("%s: %+v, %v", sub.ID, batch, err)
		}
		l.must(sub.Follow(t.Context(), noPace))
	}
	told := withSeqs(sink.take())
	for _, want := range []string{
		`all: "change_type":"insert","rows":[{"id":"4","a":"v","note":"new",`, `all: "change_type":"update","rows":[{"id":"1","a":"x","note":"late",`,
		`some: "change_type":"insert","rows":[{"id":"4",`, `some: "change_type":"update","rows":[{"id":"1",`,
	} {
		if !strings.Contains(told, want) {
			t.Errorf("%s is missing in\n%s", want, told)
		}
	}
	l.sql("admin", "ALTER TABLE app.t DROP COLUMN a")
	l.sql("alice", "INSERT INTO app.t VALUES (5, 'last')")
	l.settle()
	_, err := gone.NextBatch(t.Context())
	l.must(err)
	if err = gone.Follow(t.Context(), noPace); err == nil || !strings.Contains(err.Error(), string(CodeInvalidSQL)) {
		t.Errorf("a column that is gone: %v", err)
	}
	for _, sub := range []*Subscription{all, some, gone} {
		sub.Close()
	}
}
