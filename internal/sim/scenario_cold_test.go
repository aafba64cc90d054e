package sim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/jobs"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// board is the shared table of the stories about cold rows.
const board = "board"

func coldCluster(o *options) { o.sql, o.cold = true, true }

// sqlTables makes the tables of SQL clients.
func (l *lab) sqlTables() {
	a := l.spawn("sql set up", l.c.sqlSetUp)
	l.until(healBound, "the tables of SQL exist", func() bool { return a.ended })
	l.whole()
}

// write inserts, changes and deletes rows of the board; a round changes what earlier ones made cold.
func (l *lab) write(n *simNode, round int) {
	l.do(n, func(s *session) {
		_, err := s.sql(l.c.users[0], fmt.Sprintf("INSERT INTO board (id, tag, n) VALUES ('new%d', 't', %d), ('again', 't', %d) "+
			"ON CONFLICT (id) DO UPDATE SET n = %d", round, round, round, round), fmt.Sprintf("DELETE FROM board WHERE id = 'new%d'", round-3))
		if err != nil {
			l.fail("round %d: %v", round, err)
		}
	})
}

// coldWork flushes the board on a node and merges its segments, as a part of the process.
func (l *lab) coldWork(n *simNode, step func(string) error) *actor {
	l.spawnAt(n, "hand", func(a *actor) {
		a.serve(n, func(s *session) {
			s.deadline = l.clock.Now().Add(time.Minute)
			// What a crash does to it is what the story is about.
			_ = s.guarded(func() error {
				worker := n.cold.worker(step)
				t, ok := n.catalog.Current().Table("default", board)
				if !ok {
					l.fail("node %d does not know the board", n.id)
				}
				_, err := worker.Table(s, t.ID, nil)
				if err == nil {
					_, err = worker.Compact(s, t.ID, false, nil)
				}
				return err
			})
		})
		n.fellInColdFile()
	})
	return l.actors[len(l.actors)-1]
}

// heldWork carries out a job that flushes the board on a node, which asks the leaders to do it.
func (l *lab) heldWork(n *simNode) *actor {
	l.spawnAt(n, "hand", func(a *actor) {
		r := &coldRun{n: n, a: a}
		claim := func(s *session) {
			t, _ := n.catalog.Current().Table("default", board)
			s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_ExpireClaims{ExpireClaims: &commandv1.ExpireClaims{}}})
			made := s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{
				Job: applier.NewFlushJob(uint64(t.ID), ""),
			}}})
			r.job = &commandv1.Job{Number: made.response.GetObjectId(), Type: applier.JobTypeFlush, Parameters: fmt.Sprintf(`{"table_id":%d}`, t.ID)}
			r.claim(s)
			r.sleepy = false
		}
		for a.serve(n, claim); r.held == nil; a.serve(n, claim) { // an earlier run died, and its claim holds for a while
			a.sleep(coldHold / 4)
		}
		a.serve(n, r.carryOut)
		n.fellInColdFile()
		a.pause() // a node that has ended goes no further
		a.serve(n, r.report)
	})
	return l.actors[len(l.actors)-1]
}

// judgeBoard wants the rows of all nodes, hot and cold, to be those of the log, and a query to see as many.
func (l *lab) judgeBoard(want int) {
	for _, n := range l.nodes {
		for _, g := range l.dataGroups() {
			if difference, err := l.compareRows(n, l.oracle.groups[g].model); err != nil || difference != "" {
				l.fail("node %d, %s: %s %v", n.id, g, difference, err)
			}
		}
		l.do(n, func(s *session) {
			rows, err := s.sql(l.c.users[0], "SELECT id FROM board")
			if err != nil || len(rows) != want {
				l.fail("node %d sees %d rows, want %d: %v", n.id, len(rows), want, err)
			}
		})
	}
}

// crashAtEveryChange flushes and merges again and again, and lets the power of a node fail before the first, the second, the third
// change of its log or of its segments, until all of it goes through.
func crashAtEveryChange(t *testing.T, change func(*options), victim, least int, work func(l *lab) *actor) {
	t.Helper()
	scenario(t, 3, change, func(l *lab) {
		l.sqlTables()
		crashes := 0
		for round := 1; ; round++ {
			l.lead(l.nodes[0])
			l.write(l.nodes[0], round)
			at := l.nodes[victim]
			before := l.stats.segments + l.stats.merges
			life := at.life
			at.disk.crashIn = round
			a := work(l)
			l.until(time.Minute, "the work has ended", func() bool { return a.ended })
			done := at.life == life
			if done {
				at.disk.crashIn = 0
			}
			if at.life != life {
				crashes++
			}
			l.whole()
			l.judgeBoard(min(round, 3) + 1)
			if done && at.life == life && l.stats.segments+l.stats.merges > before {
				break
			}
			if round > 300 {
				l.fail("the work never goes through")
			}
		}
		if crashes < least {
			l.fail("there were only %d crashes", crashes)
		}
		l.t.Logf("%d crashes, %d segments, %d merges, %d orphans swept so far", crashes, l.stats.segments, l.stats.merges, l.stats.swept)
	})
}

// TestFlushAndMergeCrashAtEveryChange ends the node that flushes and merges, or one that keeps its files, before each change of its disk; and the leader that
// flushes for the node that has the job, or that node.
func TestFlushAndMergeCrashAtEveryChange(t *testing.T) {
	alone := func(l *lab) *actor { return l.coldWork(l.nodes[0], nil) }
	held := func(l *lab) *actor { return l.heldWork(l.nodes[2]) }
	t.Run("writer", func(t *testing.T) { crashAtEveryChange(t, coldCluster, 0, 10, alone) })
	t.Run("keeper", func(t *testing.T) { crashAtEveryChange(t, coldCluster, 1, 10, alone) })
	t.Run("leader", func(t *testing.T) { crashAtEveryChange(t, coldCluster, 0, 10, held) })
	t.Run("holder", func(t *testing.T) { crashAtEveryChange(t, coldCluster, 2, 5, held) })
	t.Run("bucket", func(t *testing.T) {
		crashAtEveryChange(t, func(o *options) { coldCluster(o); o.bucket = true }, 0, 2, alone) // the files are elsewhere: only the log changes
	})
}

// TestBucketIsDownForAMinute takes the bucket away during a flush: hot rows are read and written, cold ones say that they cannot be
// read now, and everything goes on when the bucket answers again.
func TestBucketIsDownForAMinute(t *testing.T) {
	scenario(t, 3, func(o *options) { coldCluster(o); o.bucket = true }, func(l *lab) {
		l.sqlTables()
		l.write(l.nodes[0], 1)
		a := l.coldWork(l.nodes[0], nil)
		l.until(time.Minute, "the first flush has ended", func() bool { return a.ended })
		if l.stats.segments != 1 {
			l.fail("%d segments", l.stats.segments)
		}
		for _, n := range l.nodes {
			if err := n.cold.store.Forget(); err != nil {
				l.fail("forget: %v", err)
			}
		}
		began := l.clock.Now()
		a = l.coldWork(l.nodes[1], func(step string) error {
			if step == "write" {
				l.bucket.downTo = l.step + int(time.Minute/stepTime)
			}
			return nil
		})
		l.do(l.nodes[2], func(s *session) {
			if _, err := s.sql(l.c.users[0], "INSERT INTO board (id, tag, n) VALUES ('hot', 't', 0)"); err != nil && !mayPass(err) {
				l.fail("a row that may be cold: %v", err)
			}
		})
		l.until(2*time.Minute, "the flush has failed or ended", func() bool { return a.ended })
		for l.step < l.bucket.downTo {
			l.do(l.nodes[2], func(s *session) {
				rows, err := s.sql(l.c.users[0], "SELECT id FROM board")
				if err == nil && len(rows) < 2 || err != nil && !mayPass(err) {
					l.fail("with the bucket down: %d rows, %v", len(rows), err)
				}
			})
			l.run(time.Second)
		}
		if l.clock.Now().Sub(began) < time.Minute {
			l.fail("the bucket was down for %v", l.clock.Now().Sub(began))
		}
		l.write(l.nodes[1], 2)
		a = l.coldWork(l.nodes[1], nil)
		l.until(time.Minute, "the last flush has ended", func() bool { return a.ended })
		l.whole()
		if l.stats.segments < 2 {
			l.fail("%d segments after the bucket came back", l.stats.segments)
		}
	})
}

// mayPass reports whether an error tells a client to try again.
func mayPass(err error) bool {
	kind := fault.KindOf(err)
	return kind == fault.Unavailable || kind == fault.Timeout
}

// TestWipedNodeRebuildsColdRows takes the disk of a node that has cold rows: it has all files again, and answers from them while it is
// cut off.
func TestWipedNodeRebuildsColdRows(t *testing.T) {
	scenario(t, 3, coldCluster, func(l *lab) {
		l.sqlTables()
		for round := range 4 {
			l.write(l.nodes[0], round+1)
			a := l.coldWork(l.nodes[0], nil)
			l.until(time.Minute, "the flush has ended", func() bool { return a.ended })
		}
		for _, n := range l.nodes {
			n.crash("story")
			n.wipe()
			l.whole()
			l.until(time.Minute, "the node has its files", func() bool { return l.tidy() == "" })
			if len(n.disk.segments(coldDir)) == 0 {
				l.fail("node %d has no segment", n.id)
			}
			l.judgeBoard(4)
		}
	})
}

// TestJobGoesOnAfterItsClaim lets a run of a flush sleep at every step for longer than its claim holds: another node takes the job over
// and does it while the first one sleeps, then the first one goes on. Only one of them completes the job, and no row is lost or
// there twice.
func TestJobGoesOnAfterItsClaim(t *testing.T) {
	scenario(t, 3, coldCluster, func(l *lab) {
		l.sqlTables()
		for round, step := range []string{"write", "keep", "commit", "committed"} {
			l.write(l.nodes[0], round+1)
			fenced := l.stats.fenced
			first, second := l.takeOver(step)
			if first.refused != second.completed || !second.completed {
				l.fail("stopped at %s: the first run is refused %v, the second completes %v", step, first.refused, second.completed)
			}
			if asked := l.stats.fenced > fenced; asked != (step != "committed") {
				l.fail("stopped at %s: the leader names a file of the first run: %v", step, !asked)
			}
			l.judgeBoard(min(round+1, 3) + 1)
		}
	})
}

// ended says how a run's last word was taken.
type ended struct{ completed, refused bool }

// takeOver runs a flush job on two nodes: the first one sleeps at a step until the second one is done.
func (l *lab) takeOver(step string) (first, second ended) {
	var number uint64
	l.do(l.nodes[0], func(s *session) {
		t, _ := s.n.catalog.Current().Table("default", board)
		r := s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{
			Job: applier.NewFlushJob(uint64(t.ID), ""),
		}}})
		number = r.response.GetObjectId()
	})
	l.whole()
	slept, woken := false, false
	run := func(n *simNode, end *ended, wait func(*session, string) error) {
		a := l.spawn("runner "+strconv.Itoa(int(n.id)), func(a *actor) {
			r := &coldRun{n: n, a: a}
			a.serve(n, func(s *session) {
				s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_ExpireClaims{ExpireClaims: &commandv1.ExpireClaims{}}})
				if !s.barrier(shard.Meta) {
					l.fail("no barrier")
				}
				job, _, err := catalog.LoadJob(n.store, number)
				if err != nil || job == nil {
					l.fail("job %d: %v", number, err)
				}
				r.job = job
				r.claim(s)
			})
			if r.held == nil {
				l.fail("node %d cannot claim the job", n.id)
			}
			a.serve(n, func(s *session) {
				s.deadline = l.clock.Now().Add(time.Minute)
				worker := n.cold.worker(nil)
				worker.Leaders = leaders{n: n, step: func(_ *simNode, s *session, at string) error { return wait(s, at) }}
				r.err = s.guarded(func() error { return jobs.Flush(worker).Run(s, &jobs.Work{Job: r.job, Token: r.held.GetToken()}) })
			})
			a.serve(n, func(s *session) {
				twice, jobsDone := l.stats.twice, l.stats.jobs
				if errors.Is(r.err, jobs.ErrNothingToDo) {
					r.err = nil // the rows are cold, whoever did it
				}
				r.report(s)
				end.refused, end.completed = l.stats.twice > twice, l.stats.jobs > jobsDone
			})
		})
		l.until(time.Minute, "the runner sleeps or has ended", func() bool { return a.ended || slept && !woken && n == l.nodes[0] })
		if n == l.nodes[1] {
			woken = true
		}
	}
	run(l.nodes[0], &first, func(s *session, at string) error {
		if at != step {
			return nil
		}
		slept = true
		for !woken {
			if !s.give() {
				return s.err
			}
		}
		return nil
	})
	l.run(coldHold + time.Second)
	run(l.nodes[1], &second, func(*session, string) error { return nil })
	l.until(time.Minute, "both have ended", func() bool {
		for _, a := range l.actors {
			if strings.HasPrefix(a.name, "runner") {
				return false
			}
		}
		return true
	})
	l.whole()
	return first, second
}
