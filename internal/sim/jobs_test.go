package sim

import (
	"math"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// jobTruth is what the log says of jobs: who may work on which.
type jobTruth struct {
	w      *world
	claims map[uint64]*claimTruth // by number of the job
	ended  map[uint64]bool
	token  uint64 // the highest that was given out
}

// claimTruth is the claim that holds a job.
type claimTruth struct {
	token uint64
	until int64
	over  bool // it may be taken away
}

func newJobTruth(w *world) *jobTruth {
	return &jobTruth{w: w, claims: make(map[uint64]*claimTruth), ended: make(map[uint64]bool)}
}

// apply judges a command of the meta group that was not refused.
func (j *jobTruth) apply(index uint64, cmd *commandv1.Command, response *commandv1.Response) {
	now := cmd.GetHeader().GetNowMicros()
	switch body := cmd.GetBody().(type) {
	case *commandv1.Command_ClaimJob:
		number, token := body.ClaimJob.GetNumber(), response.GetObjectId()
		if held := j.claims[number]; held != nil && !held.over {
			j.w.fail("entry %d: job %d is claimed while token %d holds it", index, number, held.token)
		}
		if token <= j.token || j.ended[number] {
			j.w.fail("entry %d: job %d (ended %v) is claimed with token %d, and %d was given out before", index, number, j.ended[number], token, j.token)
		}
		j.token = token
		j.claims[number] = &claimTruth{token: token, until: now + body.ClaimJob.GetHoldMicros()}
	case *commandv1.Command_HeartbeatJob:
		j.holds(index, body.HeartbeatJob.GetClaim()).until = now + body.HeartbeatJob.GetHoldMicros()
	case *commandv1.Command_ReleaseJob:
		j.holds(index, body.ReleaseJob.GetClaim()).over = true
	case *commandv1.Command_FailJob:
		j.holds(index, body.FailJob.GetClaim()).over = true
	case *commandv1.Command_SkipJob:
		j.holds(index, body.SkipJob.GetClaim()).over = true
		j.ended[body.SkipJob.GetClaim().GetNumber()] = true
	case *commandv1.Command_CancelJob:
		_, number, _ := catalog.ParseJobID(body.CancelJob.GetId())
		j.ended[number] = true
	case *commandv1.Command_CompleteJob:
		claim := body.CompleteJob.GetClaim()
		j.holds(index, claim).over = true
		j.ended[claim.GetNumber()] = true
		j.w.stats.jobs++
		j.w.saw(ruleJobs)
	case *commandv1.Command_ExpireClaims:
		for _, held := range j.claims {
			held.over = held.over || now >= held.until
		}
	}
}

// holds returns the claim that a command acts under, which must be the newest one of its job.
func (j *jobTruth) holds(index uint64, claim *commandv1.JobClaim) *claimTruth {
	held := j.claims[claim.GetNumber()]
	if held == nil || held.token != claim.GetToken() || j.ended[claim.GetNumber()] {
		j.w.fail("entry %d: token %d acts on job %d (ended %v), which %+v holds", index, claim.GetToken(), claim.GetNumber(),
			j.ended[claim.GetNumber()], held)
	}
	return held
}

// mostJobs is how many jobs may wait: a backlog that only grows would make every look at it slower.
const mostJobs = 12

// boss creates jobs.
func (c *clients) boss(a *actor) {
	for ; c.busy; a.sleep(time.Duration(20+c.w.rng.IntN(100)) * stepTime) {
		a.request(func(s *session) {
			if len(c.jobs(s)) >= mostJobs {
				return
			}
			s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{
				Job: &commandv1.Job{Type: "sim", IdPrefix: "SI", MaxRetries: math.MaxUint32},
			}}})
		})
	}
}

// work claims jobs in the name of any node, does nothing for a while, sometimes longer than the claim holds, and says that
// they are done.
func (c *clients) work(a *actor) {
	const hold = time.Second
	for ; c.busy; a.rest() {
		n := c.w.gateway()
		if n == nil {
			continue
		}
		var claim *commandv1.JobClaim
		a.serve(n, func(s *session) { claim = c.claim(s, hold) })
		if claim == nil {
			continue
		}
		a.sleep(time.Duration(c.w.rng.Int64N(int64(2*hold)/int64(stepTime))) * stepTime)
		a.request(func(s *session) {
			s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_CompleteJob{CompleteJob: &commandv1.CompleteJob{Claim: claim}}})
		})
	}
}

// jobs are those that a node knows and that have not ended.
func (c *clients) jobs(s *session) []*commandv1.Job {
	jobs, err := catalog.LoadLiveJobs(s.n.store)
	if err != nil {
		c.w.fail("node %d reads its jobs: %v", s.n.id, err)
	}
	return jobs
}

func (c *clients) claim(s *session, hold time.Duration) *commandv1.JobClaim {
	jobs := c.jobs(s)
	if len(jobs) == 0 {
		return nil
	}
	job := jobs[c.w.rng.IntN(min(2, len(jobs)))] // workers meet
	if job.GetType() != "sim" {
		return nil // it takes more than time
	}
	term := s.n.manager.Glance(shard.Meta).Term
	r := s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_ClaimJob{ClaimJob: &commandv1.ClaimJob{
		Number: job.GetNumber(), NodeId: uint64(s.n.id), Term: term, HoldMicros: hold.Microseconds(),
	}}})
	if r.outcome != succeeded {
		return nil
	}
	return &commandv1.JobClaim{Number: job.GetNumber(), Token: r.response.GetObjectId(), NodeId: uint64(s.n.id), Term: term}
}

// foreman takes claims away whose time is over.
func (c *clients) foreman(a *actor) {
	for ; c.busy; a.sleep(500 * time.Millisecond) {
		a.request(func(s *session) {
			s.execute(shard.Meta, &commandv1.Command{Body: &commandv1.Command_ExpireClaims{ExpireClaims: &commandv1.ExpireClaims{}}})
		})
	}
}

// unfenced lets whoever once had a claim end the job.
func unfenced(n *simNode, group shard.GroupID) (statemachine.Machine, error) {
	return bend(n, group, func(e *command.Entry) {
		e.Data = rewrite(e.Data, func(cmd *commandv1.Command) {
			claim := cmd.GetCompleteJob().GetClaim()
			if claim == nil {
				return
			}
			if job, _, err := catalog.LoadJob(n.store, claim.GetNumber()); err == nil && job.GetClaim() != nil {
				cmd.GetCompleteJob().Claim = job.GetClaim()
			}
		})
	})
}
