package live

import (
	"errors"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
)

// TestNothingForWhoMayNotAnyMore: a connection outlives the role of its caller, its account and what a table allows. From then on it is given neither
// rows that were there, nor changes that it missed, nor results, and can begin nothing.
func TestNothingForWhoMayNotAnyMore(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		user string
		sql  []string
		code Code
	}{
		"a role that was taken away":          {"bot", []string{"ALTER USER bot SET ROLE user"}, CodeUnauthorized},
		"an account that is gone":             {"bot", []string{"DROP USER bot"}, CodeUnauthorized},
		"another account of the same name":    {"bot", []string{"DROP USER bot", "CREATE USER bot WITH PASSWORD 'Passw0rd!x' ROLE service"}, CodeUnauthorized},
		"a table that was closed":             {"alice", []string{"ALTER TABLE app.t SET ACCESS LEVEL restricted"}, CodeNotFound},
		"a table that was dropped":            {"alice", []string{"DROP TABLE app.t"}, CodeNotFound},
		"a table that was made and is not it": {"alice", []string{"DROP TABLE app.t", "CREATE TABLE app.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')"}, CodeNotFound},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, changefeed.Config{})
			l.sql("admin", "CREATE NAMESPACE app; CREATE TABLE app.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED', ACCESS_LEVEL='public')")
			l.sql("admin", "INSERT INTO app.t VALUES (1), (2), (3)")
			refused := func(step string, err error) {
				t.Helper()
				if known, ok := errors.AsType[*Error](err); !ok || known.Code != c.code {
					t.Errorf("%s: %v, want %s", step, err, c.code)
				}
			}
			sink := &tape{}
			begin := func(id, sql string, initial *Initial) *Subscription {
				t.Helper()
				sub, err := l.service.Subscribe(t.Context(), callerOf(c.user), sink, Request{ID: id, SQL: sql, Initial: initial})
				l.must(err)
				return sub
			}
			const sql, sum = "SELECT id FROM app.t", "SELECT COUNT(*) AS n FROM app.t"
			paged, given := begin("paged", sql, &Initial{BatchSize: 2}), begin("given", sql, &Initial{})
			result, whole := begin("result", sum, &Initial{}), begin("whole", sum, &Initial{})
			cut, failed, err := l.service.SubscribeCut(t.Context(), callerOf(c.user), sink, []Request{{ID: "cut", SQL: sql, Initial: &Initial{}}})
			if err != nil {
				t.Fatal(failed, err)
			}
			first := []*Subscription{paged, given, whole, cut.Subscriptions()[0]}
			for _, sub := range first {
				_, err = sub.NextBatch(t.Context())
				l.must(err)
			}
			l.sql("admin", "INSERT INTO app.t VALUES (4)") // what has still to be caught up with
			for _, text := range c.sql {
				l.sql("admin", text)
			}
			_, err = paged.NextBatch(t.Context())
			refused("the next batch", err)
			_, err = result.NextBatch(t.Context())
			refused("a result", err)
			refused("what was missed", given.Follow(t.Context(), noPace))
			refused("what became of a result", whole.Follow(t.Context(), noPace))
			cut.Done(cut.Subscriptions()[0])
			refused("what was missed in a cut", errors.Join(cut.CatchUp(t.Context(), noPace), cut.Follow(t.Context(), noPace)))
			if told := sink.take(); told != "" {
				t.Errorf("it was told %s", told)
			}
			for _, sub := range append(first, result) {
				sub.Close()
			}
		})
	}
}

// TestNothingBeginsForWhoMayNot: who may not any more begins nothing on a connection that stands.
func TestNothingBeginsForWhoMayNot(t *testing.T) {
	t.Parallel()
	l := newLab(t, changefeed.Config{})
	l.sql("admin", "CREATE NAMESPACE app; CREATE TABLE app.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED', ACCESS_LEVEL='restricted')")
	l.sql("admin", "ALTER USER bot SET ROLE user; DROP USER bob")
	for _, user := range []string{"bot", "bob"} {
		for _, sql := range []string{"SELECT id FROM app.t", "SELECT COUNT(*) AS n FROM app.t"} {
			_, err := l.service.Subscribe(t.Context(), callerOf(user), &tape{}, Request{ID: "a", SQL: sql, Initial: &Initial{}})
			if known, ok := errors.AsType[*Error](err); !ok || known.Code != CodeUnauthorized {
				t.Errorf("%s begins %s: %v", user, sql, err)
			}
			_, _, err = l.service.SubscribeCut(t.Context(), callerOf(user), &tape{}, []Request{{ID: "a", SQL: sql, Initial: &Initial{}}})
			if known, ok := errors.AsType[*Error](err); !ok || known.Code != CodeUnauthorized {
				t.Errorf("%s begins a cut of %s: %v", user, sql, err)
			}
		}
	}
	if count := l.service.Count(); count != 0 {
		t.Errorf("%d subscriptions are left", count)
	}
}
