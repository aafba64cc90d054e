package live

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func gameLab(t *testing.T) *lab {
	t.Helper()
	l := newLab(t, changefeed.Config{})
	l.sql("admin", "CREATE NAMESPACE app")
	l.sql("admin", "CREATE TABLE app.g (id BIGINT PRIMARY KEY, team TEXT, score BIGINT) WITH (TYPE='SHARED', ACCESS_LEVEL='public')")
	l.sql("bot", "INSERT INTO app.g VALUES (1, 'red', 10), (2, 'blue', 20)")
	return l
}

func (l *lab) watchView(user, sql string, sink Sink) *Subscription {
	l.tb.Helper()
	sub, err := l.service.Subscribe(l.tb.Context(), callerOf(user), sink, Request{ID: user, SQL: sql, Initial: &Initial{}})
	l.must(err)
	_, err = sub.NextBatch(l.tb.Context())
	l.must(err)
	l.must(sub.Follow(l.tb.Context(), noPace))
	return sub
}

// TestWhatAResultIsToldAs: the exact messages.
func TestWhatAResultIsToldAs(t *testing.T) {
	t.Parallel()
	l := gameLab(t)
	sink := &tape{}
	sub, err := l.service.Subscribe(t.Context(), callerOf("alice"), sink, Request{
		ID: "top", SQL: "SELECT id, score FROM app.g ORDER BY score DESC LIMIT 2", Initial: &Initial{},
	})
	l.must(err)
	batch, err := sub.NextBatch(t.Context())
	l.must(err)
	seq := func(index, ordinal int) string { return strconv.Itoa(index<<16 | ordinal) }
	if want := `[{"id":"2","score":"20","_seq":"` + seq(1, 1) + `","_position":0},{"id":"1","score":"10","_seq":"` + seq(1, 1) + `","_position":1}]`; string(batch.Rows) != want {
		t.Errorf("initial rows %s, want %s", batch.Rows, want)
	}
	l.must(sub.Follow(t.Context(), noPace))
	if columns := sub.Schema(); len(columns) != 2 || columns[1].Name != "score" || columns[1].Type.WireName() == "" {
		t.Errorf("schema %+v", columns)
	}
	for _, step := range []struct{ sql, want string }{
		{
			"INSERT INTO app.g VALUES (3, 'red', 30)",
			`top: "change_type":"delete","old_values":[{"id":"1","score":"10","_seq":"` + seq(2, 0) + `","_position":1}],"has_more":true}
top: "change_type":"insert","rows":[{"id":"3","score":"30","_seq":"` + seq(2, 0) + `","_position":0}],"has_more":false}`,
		},
		{
			"UPDATE app.g SET score = 40 WHERE id = 2",
			`top: "change_type":"update","rows":[{"id":"2","score":"40","_seq":"` + seq(3, 0) + `","_position":0}],` +
				`"old_values":[{"id":"2","score":"20","_seq":"` + seq(2, 0) + `","_position":1}],"has_more":false}`,
		},
		{"UPDATE app.g SET score = 11 WHERE id = 1", ""},
		{"UPDATE app.g SET team = 'green' WHERE id = 2", ""},
	} {
		l.sql("bot", step.sql)
		l.settleViews()
		if got := sink.take(); got != step.want {
			t.Errorf("%s:\n%s\nwant\n%s", step.sql, got, step.want)
		}
	}
}

// TestOneRunForAll: those who ask for the same share one run, and changes in a burst share it too. When the last of
// them leaves, nothing runs any more.
func TestOneRunForAll(t *testing.T) {
	t.Parallel()
	l := gameLab(t)
	const sql = "SELECT team, COUNT(*) AS n FROM app.g WHERE score > 5 GROUP BY team"
	sinks := make([]*tape, 50)
	subs := make([]*Subscription, len(sinks))
	for i := range sinks {
		sinks[i] = &tape{}
		subs[i] = l.watchView([]string{"alice", "bob"}[i%2], sql, sinks[i])
	}
	mine := l.watchView("alice", "SELECT COUNT(*) AS n FROM app.g WHERE team = current_user()", &tape{})
	if looks := l.looks.Load(); looks != 2 {
		t.Errorf("%d runs for two queries without a change", looks)
	}
	mine.Close()
	for i := range 200 {
		l.sql("bot", fmt.Sprintf("INSERT INTO app.g VALUES (%d, 'red', 10)", i+10))
	}
	l.settleViews()
	if looks := l.looks.Load(); looks > 100 {
		t.Errorf("%d runs for 200 changes", looks)
	}
	for i, sink := range sinks {
		if got := sink.take(); !strings.Contains(got, `{"team":"red","n":"201"`) {
			t.Fatalf("subscription %d: %s", i, got)
		}
	}
	before := l.looks.Load()
	l.sql("bot", "UPDATE app.g SET score = 1, team = 'none' WHERE score = 1")
	l.sql("bot", "INSERT INTO app.g VALUES (1000, 'red', 5)")
	l.settleViews()
	if looks := l.looks.Load(); looks != before {
		t.Errorf("%d runs for rows that the condition does not see", looks-before)
	}
	for _, sub := range subs {
		sub.Close()
	}
	l.sql("bot", "INSERT INTO app.g VALUES (1001, 'red', 50)")
	l.settleViews()
	if looks := l.looks.Load(); looks != before || l.service.views != 0 {
		t.Errorf("%d runs for nobody, %d results are kept", looks-before, l.service.views)
	}
}

// TestResultsThatEnd: each with its code.
func TestResultsThatEnd(t *testing.T) {
	t.Parallel()
	l := gameLab(t)
	const counted = "SELECT COUNT(*) AS n FROM app.g"
	for _, c := range []struct{ name, sql, code string }{
		{"too many groups", "SELECT id, COUNT(*) AS n FROM app.g GROUP BY id", string(CodeTooLarge)},
		{"too many bytes", "SELECT string_agg(team, ',') AS all FROM app.g", string(CodeTooLarge)},
	} {
		sink := &tape{}
		l.watchView("alice", c.sql, sink)
		values := make([]string, 1500)
		for i := range values {
			values[i] = fmt.Sprintf("(%d, repeat('x', 200), 1)", 10_000+i)
		}
		l.sql("bot", "INSERT INTO app.g VALUES "+strings.Join(values, ","))
		l.settleViews()
		if got := sink.take(); !strings.Contains(got, "ended, "+c.code) {
			t.Errorf("%s: %.200s", c.name, got)
		}
		_, err := l.service.Subscribe(t.Context(), callerOf("alice"), sink, Request{ID: "again", SQL: c.sql, Initial: &Initial{}})
		if refused, ok := errors.AsType[*Error](err); !ok || string(refused.Code) != c.code {
			t.Errorf("%s, subscribing again: %v", c.name, err)
		}
		l.sql("bot", "DELETE FROM app.g WHERE id > 9999")
	}
	altered, counting, demoted, dropped := &tape{}, &tape{}, &tape{}, &tape{}
	l.watchView("alice", "SELECT * FROM app.g ORDER BY id LIMIT 3", altered)
	l.watchView("alice", counted, counting)
	l.watchView("bob", "SELECT MAX(id) AS m FROM app.g WHERE id > 0", demoted)
	l.sql("admin", "ALTER TABLE app.g ADD COLUMN note TEXT")
	_, err := l.direct.Execute(t.Context(), shard.Meta, &commandv1.Command{Body: &commandv1.Command_AlterUser{
		AlterUser: &commandv1.AlterUser{Id: "bob", Role: new(uint32(session.RoleService))},
	}})
	l.must(err)
	l.sql("bot", "INSERT INTO app.g VALUES (0, 'red', 1, 'note'), (77, 'red', 1, NULL)")
	l.settleViews()
	if got := altered.take(); !strings.Contains(got, "ended, "+string(CodeAltered)) {
		t.Errorf("another column for *: %s", got)
	}
	if got := demoted.take(); !strings.Contains(got, "ended, "+string(CodeUnauthorized)) {
		t.Errorf("another role: %s", got)
	}
	if got := counting.take(); !strings.Contains(got, `"n":"4"`) {
		t.Errorf("a count that the column does not concern: %s", got)
	}
	l.watchView("alice", "SELECT MIN(id) AS m FROM app.g", dropped)
	found, _ := l.catalog.Current().Table("app", "g")
	l.sql("admin", "DROP TABLE app.g")
	_, err = l.direct.Execute(t.Context(), found.Group, &commandv1.Command{Body: &commandv1.Command_PurgeTable{
		PurgeTable: &commandv1.PurgeTable{TableId: uint64(found.ID)},
	}})
	l.must(err)
	l.settlePurge()
	for _, sink := range []*tape{counting, dropped} {
		if got := sink.take(); !strings.Contains(got, "ended, "+string(CodeNotFound)) {
			t.Errorf("a dropped table: %s", got)
		}
	}
	if l.service.views != 0 {
		t.Errorf("%d results are kept", l.service.views)
	}
}

// TestResultsOfRoles: when a table is closed to one role, those of another go on.
func TestResultsOfRoles(t *testing.T) {
	t.Parallel()
	l := gameLab(t)
	const sql = "SELECT COUNT(*) AS n FROM app.g"
	alice, bot := &tape{}, &tape{}
	l.watchView("alice", sql, alice)
	l.watchView("bot", sql, bot)
	l.sql("admin", "ALTER TABLE app.g SET ACCESS LEVEL restricted")
	l.sql("bot", "INSERT INTO app.g VALUES (3, 'red', 1)")
	l.settleViews()
	if got := alice.take(); !strings.Contains(got, "ended, "+string(CodeNotFound)) {
		t.Errorf("who may not read the table any more is told %q", got)
	}
	if got := bot.take(); !strings.Contains(got, `"n":"3"`) || strings.Contains(got, "ended") {
		t.Errorf("who may is told %q", got)
	}
}
