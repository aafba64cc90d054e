package server

import (
	"errors"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/jobs"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestDeletionsGoWhenTheirTimeIsOver removes deletions by the age that their tables want: those of hot rows go, younger ones and those that hide a
// cold version stay, and what a query for live rows finds is the same before and after.
func TestDeletionsGoWhenTheirTimeIsOver(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, withShards(2, 1))
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE SHARED TABLE app.week (id BIGINT PRIMARY KEY, body TEXT)")
	root.sql("CREATE USER TABLE app.day (id BIGINT PRIMARY KEY, body TEXT) WITH (DELETED_RETENTION_HOURS = '24')")
	for _, table := range []string{"app.week", "app.day"} {
		root.sql("INSERT INTO " + table + " VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e')")
	}
	completed(t, n, root, "STORAGE FLUSH TABLE app.day") // its rows have cold versions
	for _, table := range []string{"app.week", "app.day"} {
		root.sql("INSERT INTO " + table + " VALUES (6, 'f'), (7, 'g')")
		root.sql("DELETE FROM " + table + " WHERE id IN (1, 2, 6)")
		root.sql("INSERT INTO " + table + " VALUES (2, 'again')")
	}
	wall := clock.NewManual(time.Now())
	start := func() { wall = clock.NewManual(time.Now()) }
	retain := func(want bool) {
		t.Helper()
		work := &jobs.Work{Job: &commandv1.Job{}}
		err := jobs.Retention(n.catalog, n.store, n.exec, n.cold, wall, n.clocksAgree).Run(t.Context(), work)
		if want && err != nil || !want && !errors.Is(err, jobs.ErrNothingToDo) {
			t.Errorf("retention: %v", err)
		}
	}
	deleted := func(table string) string {
		t.Helper()
		return root.grid("SELECT id FROM " + table + " WHERE _deleted = true ORDER BY id")
	}
	want := func(when, week, day string) {
		t.Helper()
		if got := deleted("app.week"); got != week {
			t.Errorf("%s: deletions of week: %q, want %q", when, got, week)
		}
		if got := deleted("app.day"); got != day {
			t.Errorf("%s: deletions of day: %q, want %q", when, got, day)
		}
		for _, table := range []string{"app.week", "app.day"} {
			if got := root.grid("SELECT count(*), min(id), max(body) FROM " + table + " WHERE id <> 7"); got != "4|2|e" {
				t.Errorf("%s: live rows of %s: %s", when, table, got)
			}
		}
	}
	retain(false) // marks the time
	want("at once", "1\n6", "1\n6")
	start() // the ages below are exact to the mark
	for _, table := range []string{"app.week", "app.day"} {
		root.sql("DELETE FROM " + table + " WHERE id = 7") // younger than the mark
	}
	wall.Advance(24 * time.Hour)
	retain(true)
	want("after a day", "1\n6\n7", "1\n7") // 1 of day hides its cold version, 6 has none
	wall.Advance(6 * 24 * time.Hour)
	retain(true)
	want("after a week", "7", "1")
	root.sql("INSERT INTO app.week VALUES (1, 'new')") // the key is free, as it was before
	if status, _ := root.ask("INSERT INTO app.week VALUES (1, 'newer')"); status == 200 {
		t.Error("a second row of a key was let in")
	}
}

// TestRestoredDeletions has the deletions of a table that wants none kept in a backup: they are restored, so that digests are equal, and go later.
func TestRestoredDeletions(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, withShards(1, 1))
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY) WITH (DELETED_RETENTION_HOURS = '0')")
	root.sql("INSERT INTO app.t VALUES (1), (2)")
	root.sql("DELETE FROM app.t WHERE id = 1")
	place := t.TempDir()
	completed(t, n, root, "BACKUP DATABASE TO '"+place+"'")
	fresh, there := oneNode(t, withShards(1, 1))
	job := completed(t, fresh, there, "RESTORE DATABASE FROM '"+place+"'")
	if job.GetRetries() != 0 {
		t.Errorf("the restore took %d retries: %s", job.GetRetries(), job.GetError())
	}
	if got := there.grid("SELECT id FROM app.t WHERE _deleted = true"); got != "1" {
		t.Errorf("restored deletions: %q", got)
	}
	wall := clock.NewManual(time.Now().Add(2 * time.Hour))
	if err := jobs.Retention(fresh.catalog, fresh.store, fresh.exec, fresh.cold, wall, fresh.clocksAgree).Run(t.Context(), &jobs.Work{Job: &commandv1.Job{}}); err != nil {
		t.Errorf("retention: %v", err)
	}
	if got := there.grid("SELECT count(*) FROM app.t WHERE _deleted = true"); got != "0" {
		t.Errorf("after retention of no time: %q", got)
	}
}

// TestDeletionsStayWhileAFlushIsUnderWay deletes a row of a table that keeps no deletions after a flush has read the row, and
// before the flush says so.
func TestDeletionsStayWhileAFlushIsUnderWay(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, withShards(1, 1))
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE = 'SHARED', DELETED_RETENTION_HOURS = '0')")
	root.sql("INSERT INTO app.t VALUES (1, 'a'), (2, 'b')")
	w := n.flusher()
	w.Step = func(at string) error {
		if at == "commit" {
			root.sql("DELETE FROM app.t WHERE id = 1")
			wall := clock.NewManual(time.Now().Add(time.Minute))
			err := jobs.Retention(n.catalog, n.store, n.exec, n.cold, wall, n.clocksAgree).Run(t.Context(), &jobs.Work{Job: &commandv1.Job{}})
			if err != nil && !errors.Is(err, jobs.ErrNothingToDo) {
				t.Error(err)
			}
		}
		return nil
	}
	if _, err := w.Table(t.Context(), mustTable(t, n, "app", "t"), nil); err != nil {
		t.Fatal(err)
	}
	if got := root.grid("SELECT id, body FROM app.t"); got != "2|b" {
		t.Errorf("after the flush: %q, want the deleted row to be gone", got)
	}
}
