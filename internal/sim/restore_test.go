package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// This file lets seeds restore what they backed up: when the first cluster of a run is whole again it makes a last backup, and a second, empty
// cluster of another shape restores it, under faults of its own. Every row must be in the second one in the end.

// legacy is what the first cluster of a run leaves to the second.
type legacy struct {
	original
	rows map[rowName]string
}

// bequeath makes the last backup of a cluster that is whole and has no traffic.
func (w *world) bequeath(c *clients) *legacy {
	l := &lab{world: w, c: c}
	number := l.order(applier.JobTypeBackup, bucketName)
	l.whole()
	l.ends(l.carryOut(w.nodes[0], number, nil), w.nodes[0])
	if _, state := l.jobState(w.nodes[0], number); state != catalog.JobCompleted {
		w.fail("the last backup is %s, and nothing has disturbed it", state)
	}
	objects := maps.Clone(w.bucket.objects)
	for name := range w.inBucket() {
		delete(objects, name)
	}
	columns := maps.Clone(w.sqlIDs) // tables whose rows are columns
	for _, table := range []uint64{c.live.shared, c.live.private} {
		columns[table] = true
	}
	return &legacy{
		original: original{objects: objects, users: c.users, private: c.private, shared: c.shared, sqlIDs: columns}, rows: w.contents(columns),
	}
}

// inBucket names the segments of this cluster that lie in the bucket.
func (w *world) inBucket() map[string]bool {
	named := make(map[string]bool)
	for _, g := range w.dataGroups() {
		lo, hi := keys.ManifestsSpan(g)
		err := manifest.Each(w.nodes[0].store, lo, hi, func(_ []byte, m *commandv1.Manifest) error {
			for _, s := range m.GetSegments() {
				if s.GetStorageId() == bucketName {
					named[s.GetPath()] = true
				}
			}
			return nil
		})
		if err != nil {
			w.fail("manifests: %v", err)
		}
	}
	return named
}

// contents are the rows that the log says there are. Those of columns are read as the tables are now, because a restore writes them so.
func (w *world) contents(columns map[uint64]bool) map[rowName]string {
	current := w.nodes[0].catalog.Current()
	rows := make(map[rowName]string)
	for _, truth := range w.oracle.groups {
		if truth.model == nil {
			continue
		}
		for name, row := range truth.model.rows {
			t, ok := current.TableByID(ident.TableID(name.table))
			switch {
			case !ok, row.deleted:
			case !columns[name.table]:
				rows[name] = row.value
			default:
				values := make([]datum.Datum, len(t.Columns))
				if err := table.NewDecoder(t, nil).Decode([]byte(row.value), values); err != nil {
					w.fail("row %v: %v", name, err)
				}
				rows[name] = fmt.Sprint(values)
			}
		}
	}
	return rows
}

// restore begins the second cluster of a run.
func (o *legacy) restore(t *testing.T, first *world, m *mutant) (*world, error) {
	t.Helper()
	shape := first.opt
	shape.nodes, shape.bucket, shape.noBalance = 3, false, first.seed%5 == 0
	shape.shards = shard.Map{UserShards: 1 + uint32(first.seed/24%4), SharedShards: 1 + uint32(first.seed/96%2)}
	w := newWorld(t, first.seed, shape, calmPlan(), m)
	w.rng.Uint64() // so that its faults are others
	if *verbose {
		w.trace.print = func(line string) { t.Log("restore: " + line) }
	}
	w.bucket.objects, w.sqlIDs = maps.Clone(o.objects), maps.Clone(o.sqlIDs)
	c := &clients{w: w, users: o.users, private: o.private, shared: o.shared}
	c.group = w.shards.RouteTable(ident.TableID(o.shared))
	return w, w.attempt(func() { o.wholeRestore(&lab{world: w, c: c}) })
}

// wholeRestore is the life of the second cluster.
func (o *legacy) wholeRestore(l *lab) {
	w := l.world
	w.drawPlan()
	// A claim that a clock of another hour has given holds for an hour.
	w.plan.jump = 0
	w.found()
	for _, n := range w.nodes[1:] {
		w.boot(n)
	}
	l.until(healBound, "the cluster is founded", func() bool {
		for _, n := range w.nodes {
			if n.catalog.Current().Cluster() == nil {
				return false
			}
		}
		return true
	})
	l.whole()
	number := l.order(applier.JobTypeRestore, bucketName)
	l.whole()
	l.c.busy, w.load = true, l.c
	w.spawn("foreman", l.c.foreman)
	w.plan.active = true
	for end := w.clock.Now().Add(time.Duration(5+w.rng.IntN(20)) * time.Second); w.clock.Now().Before(end) && !w.completed(number); {
		w.run(time.Second)
		w.sample()
	}
	w.plan.stopFaults()
	l.until(healBound, "the restore has ended", func() bool { return w.step%20 == 0 && w.completed(number) })
	w.heal(l.c)
	w.judge()
	w.judgeRestored(o.rows)
	w.judgeLeaks()
}

// completed reports whether a node that runs knows a job as completed.
func (w *world) completed(number uint64) bool {
	for _, n := range w.nodes {
		if !running(n) {
			continue
		}
		job, _, err := catalog.LoadJob(n.store, number)
		if err != nil {
			w.fail("node %d reads job %d: %v", n.id, number, err)
		}
		if job != nil && catalog.JobState(job.GetState()) == catalog.JobCompleted {
			if runs := len(job.GetRuns()); runs > 1 {
				w.saw(restoreGoneOn)
			}
			return true
		}
	}
	return false
}

// judgeRestored wants the rows of the backed up cluster, no more and no less.
func (w *world) judgeRestored(want map[rowName]string) {
	got := w.contents(w.sqlIDs)
	var differences []string
	for name, text := range want {
		if w.saw(ruleRestored); got[name] != text {
			differences = append(differences, fmt.Sprintf("row %v is %q, in the backup %q", name, got[name], text))
		}
	}
	for name, text := range got {
		if _, ok := want[name]; !ok {
			differences = append(differences, fmt.Sprintf("row %v is %q, and is not in the backup", name, text))
		}
	}
	if slices.Sort(differences); len(differences) > 0 {
		w.fail("%d rows were not restored as they were:\n%s", len(differences), strings.Join(differences[:min(len(differences), 10)], "\n"))
	}
}

// inherit adds what a second cluster has shown to the first.
func (w *world) inherit(second *world) {
	for i := range w.ledger {
		w.ledger[i].Add(second.ledger[i].Load())
	}
	w.trace.bytes('r', second.trace.sum(), second.trace.count, nil)
	w.clock.Advance(second.clock.Now().Sub(second.start))
}
