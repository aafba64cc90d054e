package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/jobs"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// This file lets nodes carry out flushes, merges, backups and cleanups as jobs: the real kinds under real claims. What a server's runner does
// on goroutines of its own, claims, heartbeats and reports, is done between the steps here.

// Bounds of a job in simulated time.
const (
	coldHold  = 2 * time.Second // of a claim
	filesLast = 6 * time.Second // from the begin of a file to the proposal that names it

	backupLasts  = time.Minute
	restoreLasts = 2 * time.Minute
	cleanupLasts = 30 * time.Second
)

// orderCold creates jobs that flush and merge.
func (c *clients) orderCold(a *actor) {
	for ; c.busy; a.sleep(time.Duration(20+c.w.rng.IntN(150)) * stepTime) {
		name := sqlTables[c.w.rng.IntN(len(sqlTables))]
		merge, light := c.w.rng.IntN(3) == 0, c.w.rng.IntN(3) == 0
		a.request(func(s *session) {
			t, ok := s.n.catalog.Current().Table("default", name)
			if !ok {
				return
			}
			job := applier.NewFlushJob(uint64(t.ID), "")
			if merge {
				job = applier.NewCompactJob(uint64(t.ID), light, "")
			}
			s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{Job: job}}})
		})
	}
}

// hand carries out jobs on a node.
func hand(a *actor) {
	n := a.node
	for ; ; a.sleep(300 * time.Millisecond) {
		if n.catalog.Current().Cluster() == nil {
			continue
		}
		job := n.someJob()
		if job == nil {
			continue
		}
		r := &coldRun{n: n, a: a, job: job}
		a.serve(n, r.claim)
		if r.held == nil {
			continue
		}
		n.cold.busy++
		a.serve(n, r.carryOut)
		n.fellInColdFile()
		a.pause() // a node that has ended goes no further
		a.serve(n, r.report)
		n.cold.busy--
	}
}

// kinds lists the types of the jobs that are carried out now: those that remove dropped tables always, the others while clients work.
func (n *simNode) kinds() (types []string) {
	if !n.w.opt.noJanitor && len(n.catalog.Current().Cleanups()) > 0 {
		types = append(types, applier.JobTypeCleanup)
	}
	if n.w.opt.cold && n.w.busy() {
		types = append(types, applier.JobTypeFlush, applier.JobTypeCompact, applier.JobTypeBackup, applier.JobTypeRestore)
	}
	return types
}

// someJob draws a job that may be claimed, nil when there is none.
func (n *simNode) someJob() *commandv1.Job {
	types := n.kinds()
	if types == nil {
		return nil
	}
	live, err := catalog.LoadLiveJobs(n.store)
	if err != nil {
		n.w.fail("node %d reads its jobs: %v", n.id, err)
	}
	live = slices.DeleteFunc(live, func(job *commandv1.Job) bool {
		return !slices.Contains(types, job.GetType()) ||
			catalog.JobState(job.GetState()) == catalog.JobRunning || job.GetNotBeforeMicros() > n.Now().UnixMicro()
	})
	if len(live) == 0 {
		return nil
	}
	return live[n.w.rng.IntN(len(live))]
}

// coldRun is one run of one job.
type coldRun struct {
	n      *simNode
	a      *actor
	s      *session
	job    *commandv1.Job
	held   *commandv1.JobClaim
	sleepy bool      // it sends no heartbeats: somebody else takes the job over, and both go on
	begun  *session  // whose file was begun and is not named yet
	said   time.Time // when the run said last that it lives, while it waited
	err    error
}

func (r *coldRun) claim(s *session) {
	term := r.n.manager.Glance(shard.Meta).Term
	answer := s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_ClaimJob{ClaimJob: &commandv1.ClaimJob{
		Number: r.job.GetNumber(), NodeId: uint64(r.n.id), Term: term, HoldMicros: coldHold.Microseconds(),
	}}})
	if answer.outcome != succeeded {
		return
	}
	r.held = &commandv1.JobClaim{Number: r.job.GetNumber(), Token: answer.response.GetObjectId(), NodeId: uint64(r.n.id), Term: term}
	r.sleepy = r.n.w.rng.IntN(4) == 0
	r.n.w.trace.event("node %d has %s of table %s under token %d, sleepy %v", r.n.id, r.job.GetType(), r.job.GetParameters(), r.held.GetToken(), r.sleepy)
}

// carryOut runs the real kind.
func (r *coldRun) carryOut(s *session) {
	r.s = s
	worker := r.n.cold.worker(r.step)
	if !r.n.w.opt.solo {
		worker.Leaders = leaders{n: r.n, step: r.stepAt, waits: r.beat}
	}
	kind := jobs.Flush(worker)
	switch r.job.GetType() {
	case applier.JobTypeCompact:
		kind = jobs.Compact(worker)
	case applier.JobTypeBackup, applier.JobTypeRestore, applier.JobTypeCleanup:
		lasts := map[string]time.Duration{
			applier.JobTypeBackup: backupLasts, applier.JobTypeRestore: restoreLasts, applier.JobTypeCleanup: cleanupLasts,
		}[r.job.GetType()]
		s.deadline = r.n.w.clock.Now().Add(lasts)
		kind = r.backupKind(s, r.step)
	}
	r.err = s.guarded(func() error { return kind.Run(s, &jobs.Work{Job: r.job, Token: r.held.GetToken()}) })
	r.n.w.trace.event("node %d ends its run under token %d: %v", r.n.id, r.held.GetToken(), firstLine(r.err))
}

func firstLine(err error) string {
	if err == nil {
		return "done"
	}
	text := fmt.Sprint(err)
	return text[:min(len(text), 80)]
}

// step waits between steps, which others use, and says that the run lives.
func (r *coldRun) step(name string) error { return r.stepAt(r.n, r.s, name) }

// stepAt is step of the node that is at work, which need not be the one that has the job: then that one says that the run lives, while it waits.
func (r *coldRun) stepAt(n *simNode, s *session, name string) error {
	w := n.w
	now := w.clock.Now()
	switch {
	case name == "write" && r.begun != s:
		r.begun, s.deadline = s, now.Add(filesLast)
		if w.plan.active && n.disk.crashIn == 0 && w.plan.chance(w.plan.crashWriter) {
			w.stats.crashes++
			n.disk.crashIn = 1 + w.rng.IntN(8)
		}
	case name == "committed", name == "replaced":
		r.begun, s.deadline = nil, now.Add(patience)
	}
	if w.plan.active {
		wait := time.Duration(w.rng.Int64N(int64(500 * time.Millisecond)))
		if r.sleepy {
			wait *= 4
		}
		for end := now.Add(wait); w.clock.Now().Before(end); {
			if !s.give() {
				return s.err
			}
		}
	}
	if r.sleepy || n != r.n {
		return nil
	}
	return r.live(name)
}

// beat says now and then that the run lives.
func (r *coldRun) beat() error {
	now := r.n.w.clock.Now()
	if r.sleepy || now.Before(r.said.Add(coldHold/6)) {
		return nil
	}
	r.said = now
	return r.live("asked the leader")
}

// live sends a heartbeat.
func (r *coldRun) live(message string) error {
	answer := r.s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_HeartbeatJob{HeartbeatJob: &commandv1.HeartbeatJob{
		Claim: r.held, Percent: 1, Message: message, HoldMicros: coldHold.Microseconds(),
	}}})
	if answer.outcome == refused {
		return answer.err // the claim is lost
	}
	return nil
}

// report says how the run ended. That of a lost claim must not count, which the oracle looks at.
func (r *coldRun) report(s *session) {
	end := &commandv1.Command{Body: &commandv1.Command_CompleteJob{CompleteJob: &commandv1.CompleteJob{Claim: r.held}}}
	switch {
	case r.err == nil:
	case errors.Is(r.err, jobs.ErrNothingToDo):
		end = &commandv1.Command{Body: &commandv1.Command_SkipJob{SkipJob: &commandv1.SkipJob{Claim: r.held, Message: r.err.Error()}}}
	default:
		end = &commandv1.Command{Body: &commandv1.Command_FailJob{FailJob: &commandv1.FailJob{
			Claim: r.held, Error: r.err.Error(), RetryAtMicros: r.n.Now().UnixMicro(),
		}}}
	}
	if s.execute(shard.Meta, end).outcome == refused {
		r.n.w.stats.twice++
	}
}

// flushAll makes all rows of the SQL tables cold on a node, and merges them, as far as that is possible now.
func (s *session) flushAll(merge bool) error {
	s.deadline = s.a.w.clock.Now().Add(time.Minute)
	return s.guarded(func() error {
		worker := s.n.cold.worker(nil)
		var failed error
		for _, name := range sqlTables {
			t, ok := s.n.catalog.Current().Table("default", name)
			if !ok || t.Unfinished() {
				continue
			}
			_, err := worker.Table(s, t.ID, nil)
			if err == nil && merge {
				_, err = worker.Compact(s, t.ID, false, nil)
			}
			failed = errors.Join(failed, err)
		}
		return failed
	})
}
