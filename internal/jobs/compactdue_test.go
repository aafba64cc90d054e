package jobs

import (
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// putManifest gives a scope of the table segments of one row each.
func (l *lab) putManifest(table *schema.Table, segments int, change func(s *commandv1.Segment)) {
	l.t.Helper()
	m := &commandv1.Manifest{Version: 1}
	for n := range uint64(segments) {
		s := &commandv1.Segment{
			Number: n, Rows: 1, MinKey: []byte{byte(n)}, MaxKey: []byte{byte(n)}, MinSeq: n + 1, MaxSeq: n + 1, CreatedMicros: l.wall.Now().UnixMicro(),
		}
		change(s)
		m.Segments = append(m.Segments, s)
	}
	value, err := manifest.Encode(m)
	l.must(err)
	batch := l.store.NewBatch()
	l.must(batch.SetRare(keys.Manifest(table.Group, table.ID, ""), value))
	l.must(l.store.Commit(batch))
	l.must(batch.Close())
}

// compactions counts the jobs that wait to merge segments; each is ended, so that the next look can make another.
func (l *lab) compactions() (found int) {
	l.t.Helper()
	jobs, err := catalog.LoadLiveJobs(l.store)
	l.must(err)
	for _, job := range jobs {
		if job.GetType() == applier.JobTypeCompact {
			found++
			l.run(&commandv1.Command{Body: &commandv1.Command_CancelJob{CancelJob: &commandv1.CancelJob{Id: catalog.JobID(job)}}})
		}
	}
	return found
}

// TestCompactionsStartByThemselves looks at segments in the periods of the leader's runner.
func TestCompactionsStartByThemselves(t *testing.T) {
	t.Parallel()
	l := newJobLab(t)
	l.run(&commandv1.Command{Body: &commandv1.Command_CreateNamespace{CreateNamespace: &commandv1.CreateNamespace{Name: "app"}}})
	l.run(&commandv1.Command{Body: &commandv1.Command_CreateTable{CreateTable: &commandv1.CreateTable{Table: catalog.TableToProto(&schema.Table{
		Namespace: "app", Name: "t", Kind: schema.KindShared, Version: 1, NextColumnID: 2, Options: map[string]string{schema.DeletedRetentionOption: "1"},
		Columns: []schema.Column{{ID: 1, Name: "id", Type: datum.Of(datum.BigInt), PrimaryKey: true}},
	})}}})
	table, ok := l.catalog.Current().Table("app", "t")
	if !ok {
		t.Fatal("no table")
	}
	r := l.runner(1, leads, 1)
	look := func(after time.Duration, what string, want int) {
		t.Helper()
		l.wall.Advance(after)
		l.must(r.keepHouse(t.Context(), nil))
		if got := l.compactions(); got != want {
			t.Errorf("%s: %d jobs, want %d", what, got, want)
		}
	}
	look(time.Hour, "no segments", 0)
	l.putManifest(table, 8, func(*commandv1.Segment) {})
	r.cfg.ByHand = true
	look(compactPeriod, "eight small segments, by hand", 0)
	r.cfg.ByHand = false
	l.putManifest(table, 7, func(*commandv1.Segment) {})
	look(compactPeriod, "seven small segments", 0)
	l.putManifest(table, 8, func(*commandv1.Segment) {})
	look(compactPeriod-time.Second, "before the next look", 0)
	look(time.Second, "eight small segments", 1)
	look(compactPeriod, "they are still there", 1)
	l.putManifest(table, 2, func(s *commandv1.Segment) { s.Deletions, s.FirstDeletion = 1, s.GetMinSeq() })
	look(compactPeriod, "young deletions", 0)
	look(time.Hour, "deletions that need not be kept any more", 1)
	look(compactPeriod, "a table does not forget all the time", 0)
	look(time.Hour/8, "but again later", 1)
}
