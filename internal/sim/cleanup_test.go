package sim

import (
	"fmt"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// This file removes what dropped tables leave: by the jobs that the drop made, which any node carries out under a claim, and which
// may be ended and taken over like all others.

// chores does on the node that leads the meta group what its runner owes these jobs: claims that are over are taken away, and a
// table without a job gets one. A job that a wrong clock has put off for long is killed once the faults are over, as an operator would.
func chores(a *actor) {
	n := a.node
	for ; ; a.sleep(time.Second) {
		if n.catalog.Current().Cluster() == nil || n.manager.Leader(shard.Meta) != n.self.Replica {
			continue
		}
		for _, cleanup := range n.catalog.Current().Cleanups() {
			if owed := n.owed(uint64(cleanup.Table.ID)); owed != nil {
				a.serve(n, func(s *session) { s.execute(shard.Meta, owed) })
			}
			if n.life != a.life {
				return
			}
		}
	}
}

// owed is the command that brings the job of a dropped table on its way, nil when it is.
func (n *simNode) owed(table uint64) *commandv1.Command {
	live, err := catalog.LoadLiveJobs(n.store)
	if err != nil {
		n.w.fail("node %d reads its jobs: %v", n.id, err)
	}
	wanted, now := applier.NewCleanupJob(table), n.Now()
	for _, job := range live {
		if job.GetIdempotencyKey() != wanted.GetIdempotencyKey() {
			continue
		}
		runs := catalog.JobState(job.GetState()) == catalog.JobRunning
		due := job.GetNotBeforeMicros()
		if runs {
			due = job.GetClaim().GetUntilMicros()
		}
		switch {
		case runs && due <= now.UnixMicro():
			return &commandv1.Command{Body: &commandv1.Command_ExpireClaims{ExpireClaims: &commandv1.ExpireClaims{}}}
		case due > now.Add(2*coldHold).UnixMicro() && !n.w.busy():
			return &commandv1.Command{Body: &commandv1.Command_CancelJob{CancelJob: &commandv1.CancelJob{Id: catalog.JobID(job)}}}
		}
		return nil
	}
	return &commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{Job: wanted}}}
}

// shed creates a table, lets some of its rows become cold, and drops it with hot and cold rows, perhaps while they are moved.
func (c *clients) shed(a *actor) {
	for ; c.busy; a.sleep(time.Duration(100+c.w.rng.IntN(300)) * stepTime) {
		c.serial++
		name, user := fmt.Sprintf("shed%d", c.serial), c.users[c.w.rng.IntN(len(c.users))]
		kind, place := []string{"USER", "SHARED"}[c.w.rng.IntN(2)], c.w.placeOf(c.w.rng.IntN(2))
		table := uint64(0)
		a.request(func(s *session) {
			_, err := s.sql(user, fmt.Sprintf("CREATE %s TABLE %s (id TEXT PRIMARY KEY, tag TEXT, n BIGINT)%s", kind, name, place))
			if t, ok := s.n.catalog.Current().Table("default", name); ok && err == nil {
				table = uint64(t.ID)
				c.w.sqlIDs[table] = true
			}
		})
		if table == 0 {
			continue // nobody knows whether it is there; then it stays
		}
		insert := func(round int) {
			a.request(func(s *session) {
				c.judgeSQL(s.sql(user, fmt.Sprintf("INSERT INTO %s (id, tag, n) VALUES ('a%d', 't', 1), ('b%d', 't', 2)", name, round, round)))
			})
		}
		insert(0)
		a.request(func(s *session) {
			s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{Job: applier.NewFlushJob(table, "")}}})
		})
		a.sleep(time.Duration(c.w.rng.IntN(400)) * stepTime)
		insert(1)
		for dropped := false; c.busy && !dropped; a.rest() {
			a.request(func(s *session) {
				_, err := s.sql(user, "DROP TABLE IF EXISTS "+name)
				c.judgeSQL(nil, err)
				dropped = err == nil
			})
		}
	}
}

// judgeGone wants nothing to be left of tables that are gone, once they were cleaned up everywhere.
func (w *world) judgeGone(n *simNode) {
	current := n.catalog.Current()
	for _, g := range w.dataGroups() {
		err := eachRow(n.store, g, func(name rowName, _ modelRow) {
			if _, ok := current.TableByID(ident.TableID(name.table)); !ok {
				w.fail("node %d has row %v in %s, whose table is gone", n.id, name, g)
			}
		})
		if err != nil {
			w.fail("node %d reads its rows: %v", n.id, err)
		}
	}
	if w.oracle.cleaned > 0 {
		w.saw(ruleGone)
	}
}
