package sim

import (
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// calm waits until every node has applied everything, whatever is left to be cleaned up.
func (l *lab) calm() {
	l.until(healBound, "all replicas are level", func() bool {
		for _, g := range l.groups {
			if !l.settled(g) || !l.level(g) {
				return false
			}
		}
		return true
	})
}

// cleanupJob is the live job that removes the rows of a dropped table; when the last one has failed, one is made as the leader of a cluster
// does.
func (l *lab) cleanupJob(n *simNode, table uint64) uint64 {
	find := func() uint64 {
		live, err := catalog.LoadLiveJobs(n.store)
		if err != nil {
			l.fail("jobs: %v", err)
		}
		for _, job := range live {
			if job.GetType() == applier.JobTypeCleanup {
				return job.GetNumber()
			}
		}
		return 0
	}
	if number := find(); number != 0 {
		return number
	}
	l.do(n, func(s *session) {
		s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{Job: applier.NewCleanupJob(table)}}})
	})
	l.calm()
	return find()
}

// TestCleanupCrashAtEveryChange drops a table with hot and cold rows, and ends the node that removes them before each change of its disk, again and
// again, until the job goes through. Nothing of the table is left anywhere then, and everything else is.
func TestCleanupCrashAtEveryChange(t *testing.T) {
	scenario(t, 3, func(o *options) { coldCluster(o); o.noJanitor = true }, func(l *lab) {
		l.sqlTables()
		l.count(l.nodes[0], 10)
		for round := 1; round < 4; round++ {
			l.write(l.nodes[0], round)
			if round == 2 {
				a := l.coldWork(l.nodes[0], nil)
				l.until(time.Minute, "the flush has ended", func() bool { return a.ended })
			}
		}
		at, crashes := l.nodes[0], 0
		dropped, _ := at.catalog.Current().Table("default", board)
		l.do(at, func(s *session) {
			if _, err := s.sql(l.c.users[0], "DROP TABLE "+board); err != nil {
				l.fail("drop: %v", err)
			}
		})
		l.calm()
		for round := 1; len(at.catalog.Current().Cleanups()) > 0; round++ {
			number := l.cleanupJob(at, uint64(dropped.ID))
			life := at.life
			at.disk.crashIn = round
			a := l.carryOut(at, number, nil)
			l.until(healBound, "the run has ended", func() bool { return a.ended })
			through := at.life == life
			if through {
				at.disk.crashIn = 0
			}
			l.calm()
			if at.life != life {
				crashes++
			}
			if _, state := l.jobState(at, number); through && at.life == life && state != catalog.JobCompleted && state != catalog.JobSkipped {
				l.fail("round %d: nothing disturbed the job, and it is %s", round, state)
			}
			if round > 200 {
				l.fail("the job never goes through")
			}
			l.run(coldHold + time.Second)
		}
		if crashes < 5 {
			l.fail("only %d crashes", crashes)
		}
		l.t.Logf("%d crashes", crashes)
		for _, n := range l.nodes {
			for _, g := range l.dataGroups() {
				if err := eachRow(n.store, g, func(name rowName, _ modelRow) {
					if name.table == uint64(dropped.ID) {
						l.fail("node %d still has row %v", n.id, name)
					}
				}); err != nil {
					l.fail("node %d: %v", n.id, err)
				}
			}
		}
	})
}
