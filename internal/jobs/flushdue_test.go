package jobs

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// tableWith makes a shared table with a policy.
func (l *lab) tableWith(name, policy string) *schema.Table {
	l.t.Helper()
	l.run(&commandv1.Command{Body: &commandv1.Command_CreateTable{CreateTable: &commandv1.CreateTable{Table: catalog.TableToProto(&schema.Table{
		Namespace: "app", Name: name, Kind: schema.KindShared, Version: 1, NextColumnID: 2, Options: map[string]string{schema.FlushPolicyOption: policy},
		Columns: []schema.Column{{ID: 1, Name: "id", Type: datum.Of(datum.BigInt), PrimaryKey: true}},
	})}}})
	table, ok := l.catalog.Current().Table("app", name)
	if !ok {
		l.t.Fatal("no table")
	}
	return table
}

// hot gives a table so many rows in the row store, and no others.
func (l *lab) hot(table *schema.Table, rows int) {
	l.t.Helper()
	batch := l.store.NewBatch()
	l.must(batch.DeleteRange(keys.TableSpan(table.Group, table.ID)))
	for n := range rows {
		l.must(batch.Set(keys.Row(table.Group, table.ID, "", []byte{byte(n)}), rowvalue.Append(nil, 1, false, nil)))
	}
	l.must(l.store.Commit(batch))
	l.must(batch.Close())
}

// flushesMade names the tables whose flush waits in a job; each job is ended, so that the next look can make another.
func (l *lab) flushesMade() string {
	l.t.Helper()
	jobs, err := catalog.LoadLiveJobs(l.store)
	l.must(err)
	var names []string
	for _, job := range jobs {
		if job.GetType() != applier.JobTypeFlush {
			continue
		}
		for _, table := range l.catalog.Current().Tables() {
			if job.GetIdempotencyKey() == applier.NewFlushJob(uint64(table.ID), "").GetIdempotencyKey() {
				names = append(names, table.Name)
			}
		}
		l.run(&commandv1.Command{Body: &commandv1.Command_CancelJob{CancelJob: &commandv1.CancelJob{Id: catalog.JobID(job)}}})
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// TestFlushesStartByThemselves looks at tables of every policy in the periods of the leader's runner: as soon as there are so many rows, that often when
// there is any, whichever comes first, or never.
func TestFlushesStartByThemselves(t *testing.T) {
	t.Parallel()
	l := newJobLab(t)
	l.run(&commandv1.Command{Body: &commandv1.Command_CreateNamespace{CreateNamespace: &commandv1.CreateNamespace{Name: "app"}}})
	rows, interval := l.tableWith("rows", "rows:3"), l.tableWith("interval", "interval:60")
	both, never := l.tableWith("both", "rows:3,interval:60"), l.tableWith("never", "")
	r := l.runner(1, leads, 1)
	look := func(after time.Duration, what, want string) {
		t.Helper()
		l.wall.Advance(after)
		l.must(r.keepHouse(t.Context(), nil))
		if got := l.flushesMade(); got != want {
			t.Errorf("%s: jobs for %q, want %q", what, got, want)
		}
	}
	fill := func(n int, tables ...*schema.Table) {
		t.Helper()
		for _, table := range tables {
			l.hot(table, n)
		}
	}
	look(0, "no rows", "")
	fill(2, rows, interval, both, never)
	look(flushPeriod, "two rows", "")
	fill(3, rows, interval, both, never)
	look(flushPeriod-time.Second, "three rows, before the next look", "")
	look(time.Second, "three rows", "both rows") // 20 s are over
	look(flushPeriod, "they are still there", "both rows")
	fill(0, rows, both)
	look(20*time.Second, "50 s are over", "")
	look(10*time.Second, "60 s are over", "interval") // the time of both began anew with its flush, 30 s ago
	fill(0, interval)
	fill(1, both)
	look(20*time.Second, "50 s after the flush of both", "")
	look(10*time.Second, "60 s after it", "both")
	fill(0, both)
	look(time.Hour, "nothing is left to flush", "")
	fill(1, interval)
	look(50*time.Second, "a row came; intervals begin when a table was looked at, flushed or not", "")
	look(10*time.Second, "60 s later", "interval")
	l.run(&commandv1.Command{Body: &commandv1.Command_DropTable{DropTable: &commandv1.DropTable{Namespace: "app", Name: "interval"}}})
	look(time.Hour, "a table was dropped", "")
}

// TestFlushesThatFailRest: while a storage is down, a policy makes jobs at growing distances, and soon again once one has succeeded.
func TestFlushesThatFailRest(t *testing.T) {
	t.Parallel()
	l := newJobLab(t)
	l.run(&commandv1.Command{Body: &commandv1.Command_CreateNamespace{CreateNamespace: &commandv1.CreateNamespace{Name: "app"}}})
	l.hot(l.tableWith("t", "rows:3"), 3)
	r := l.runner(1, leads, 1)
	// ended ends the job that waits, if one does.
	ended := func(failed bool) (there bool) {
		t.Helper()
		jobs, err := catalog.LoadLiveJobs(l.store)
		l.must(err)
		for _, job := range jobs {
			if job.GetType() != applier.JobTypeFlush {
				continue
			}
			there = true
			l.run(&commandv1.Command{Body: &commandv1.Command_ClaimJob{ClaimJob: &commandv1.ClaimJob{
				Number: job.GetNumber(), NodeId: 1, Term: 1, Leader: true, HoldMicros: 1_000_000,
			}}})
			claim := l.job(job.GetNumber()).GetClaim()
			if failed {
				l.run(&commandv1.Command{Body: &commandv1.Command_FailJob{FailJob: &commandv1.FailJob{
					Claim: claim, Error: "the bucket is down", Final: true,
				}}})
			} else {
				l.run(&commandv1.Command{Body: &commandv1.Command_CompleteJob{CompleteJob: &commandv1.CompleteJob{Claim: claim}}})
			}
		}
		return there
	}
	// looks makes so many looks and returns at which of them, from 1 on, a job was made.
	looks := func(n int, failed bool) (at []int) {
		t.Helper()
		for i := range n {
			l.wall.Advance(flushPeriod)
			l.must(r.keepHouse(t.Context(), nil))
			if ended(failed) {
				at = append(at, i+1)
			}
		}
		return at
	}
	// Rests of one, two, four and eight minutes.
	if got, want := looks(100, true), []int{1, 7, 19, 43, 91}; !slices.Equal(got, want) {
		t.Errorf("jobs that fail are made at looks %v, want %v", got, want)
	}
	if got, want := looks(100, false), []int{87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100}; !slices.Equal(got, want) {
		t.Errorf("jobs that succeed are made at looks %v, want %v", got, want)
	}
	if got, want := looks(20, true), []int{1, 7, 19}; !slices.Equal(got, want) {
		t.Errorf("after that, jobs that fail are made at looks %v, want %v", got, want)
	}
}
