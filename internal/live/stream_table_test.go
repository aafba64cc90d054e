package live

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/jobs"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// query runs a statement and prints the first value of each row; an error is printed too.
func (l *lab) query(user, text string) string {
	l.tb.Helper()
	response, err := l.engine.Execute(l.tb.Context(), exec.Request{SQL: text, Session: callerOf(user)})
	if err != nil {
		return err.Error()
	}
	var values []string
	for _, row := range response.Results[0].Rows {
		values = append(values, row[0].String())
	}
	return strings.Join(values, " ")
}

// stored counts the versions of a table in the store, tombstones included.
func (l *lab) stored(name string) int {
	l.tb.Helper()
	found, ok := l.catalog.Current().Table("app", name)
	if !ok {
		l.tb.Fatalf("no table %s", name)
	}
	it, err := l.store.Scan(keys.TableSpan(shard.UserShard(0), found.ID))
	l.must(err)
	count := 0
	for ok := it.First(); ok; ok = it.Next() {
		count++
	}
	l.must(it.Close())
	return count
}

// TestStreamTable: rows cease to exist when their time is over, to the microsecond; removing them comes later, is
// seen by live queries as a delete, and leaves nothing in the store.
func TestStreamTable(t *testing.T) {
	wall := clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	l := newLabAt(t, changefeed.Config{}, wall)
	runner := jobs.New(jobs.Config{
		Executor: l.direct, Store: l.store, Catalog: l.catalog, Clock: wall, Logger: slog.New(slog.DiscardHandler),
		Node: func() ident.NodeID { return 1 }, Leadership: func() jobs.Leadership { return jobs.Leadership{Term: 1, Leading: true} },
		Kinds: []jobs.Kind{jobs.StreamEviction(l.catalog, l.store, l.direct, wall)},
	})
	defer runner.Wait()
	step := func() {
		t.Helper()
		l.must(runner.Step(t.Context())) // makes the job
		l.must(runner.Step(t.Context())) // claims it
		runner.Wait()
		l.settle()
	}
	l.sql("admin", "CREATE NAMESPACE app")
	l.sql("admin", "CREATE STREAM TABLE app.typing (who TEXT, room BIGINT) WITH (TTL_SECONDS = 10)")
	l.sql("admin", "CREATE TABLE app.here (id BIGINT PRIMARY KEY, mood TEXT) WITH (TYPE = 'STREAM', TTL_SECONDS = 10)")
	step()

	l.sql("alice", "INSERT INTO app.typing VALUES ('a', 1), ('b', 2)")
	l.sql("alice", "INSERT INTO app.here VALUES (1, 'good')")
	l.sql("bob", "INSERT INTO app.typing VALUES ('c', 1)")
	sink := &tape{}
	sub, err := l.service.Subscribe(t.Context(), callerOf("alice"), sink, Request{ID: "s", SQL: "SELECT who FROM app.typing", Initial: &Initial{}})
	l.must(err)
	defer sub.Close()
	batch, err := sub.NextBatch(t.Context())
	l.must(err)
	if batch.Count != 2 || !strings.Contains(string(batch.Rows), `"who":"a"`) {
		t.Errorf("initial rows: %s", batch.Rows)
	}
	l.must(sub.Follow(t.Context(), noPace))

	expect := func(what, got, want string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	contains := func(got, want string) {
		t.Helper()
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
	wall.Advance(6 * time.Second)
	l.sql("alice", "INSERT INTO app.typing VALUES ('d', 1)")
	contains(l.query("alice", "INSERT INTO app.here VALUES (1, 'again')"), "Primary key violation")
	contains(l.query("alice", "UPDATE app.here SET mood = 'bad' WHERE id = 1"), "cannot be updated")
	expect("before the end", l.query("alice", "SELECT who FROM app.typing ORDER BY who"), "a b d")
	wall.Advance(4*time.Second - time.Microsecond)
	step()
	expect("a microsecond before", l.query("alice", "SELECT who FROM app.typing ORDER BY who"), "a b d")
	wall.Advance(time.Microsecond)
	expect("at the end", l.query("alice", "SELECT who FROM app.typing ORDER BY who"), "d")
	expect("nobody else's", l.query("bob", "SELECT who FROM app.typing"), "")
	if got := l.stored("typing"); got != 4 {
		t.Errorf("%d rows are stored before anybody removed them, want 4", got)
	}
	expect("a free key", l.query("alice", "INSERT INTO app.here VALUES (1, 'new')"), "")
	l.settle()
	contains(sink.take(), `"who":"d"`)

	wall.Advance(3 * time.Second)
	step()
	if typing, here := l.stored("typing"), l.stored("here"); typing != 1 || here != 1 {
		t.Errorf("%d and %d rows are stored, want the living ones, 1 and 1", typing, here)
	}
	told := sink.take()
	contains(told, `"change_type":"delete","old_values":[{"who":"a"`)
	contains(told, `"change_type":"delete","old_values":[{"who":"b"`)
	expect("the new row", l.query("alice", "SELECT mood FROM app.here"), "new")
	contains(l.query("alice", "BEGIN; DELETE FROM app.typing WHERE room = 1; COMMIT"), "cannot be used in a transaction")
	l.sql("alice", "DELETE FROM app.typing WHERE room = 1")
	if got := l.stored("typing"); got != 0 {
		t.Errorf("%d rows are stored after DELETE, want 0", got)
	}
	l.settle()
	contains(sink.take(), `"change_type":"delete","old_values":[{"who":"d"`)

	// The fence of an alteration does not keep the rows that are there for ever.
	l.sql("alice", "INSERT INTO app.typing VALUES ('e', 1)")
	l.sql("admin", "ALTER TABLE app.typing ALTER COLUMN room SET NOT NULL")
	wall.Advance(11 * time.Second)
	step()
	if got := l.stored("typing"); got != 0 {
		t.Errorf("%d rows are stored behind an alteration and the end of their time, want 0", got)
	}
}
