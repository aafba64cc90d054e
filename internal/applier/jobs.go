package applier

import (
	"encoding/binary"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Types of the jobs that commands themselves make, or statements start.
const (
	JobTypeCleanup      = "cleanup"
	JobTypeStatement    = "statement"
	JobTypeSchemaChange = "schema_change"
	JobTypeFlush        = "flush"
	JobTypeCompact      = "compact"
	JobTypeUserCleanup  = "user_cleanup"
	JobTypeBackup       = "backup"
	JobTypeRestore      = "restore"
	JobTypeJobCleanup   = "job_cleanup"
	JobTypeRetention    = "retention"
	JobTypeUserExport   = catalog.TypeUserExport

	JobTypeStreamEviction = "stream_eviction"
)

// applyJob carries out the commands about jobs and schedules; nil when the command is none of them.
func (c *metaCall) applyJob(cmd *commandv1.Command) (*commandv1.Response, error) {
	switch body := cmd.GetBody().(type) {
	case *commandv1.Command_CreateJob:
		return c.createJob(body.CreateJob)
	case *commandv1.Command_ClaimJob:
		return c.claimJob(body.ClaimJob)
	case *commandv1.Command_HeartbeatJob:
		return c.heartbeatJob(body.HeartbeatJob)
	case *commandv1.Command_ReleaseJob:
		return c.releaseJob(body.ReleaseJob)
	case *commandv1.Command_CompleteJob:
		return c.completeJob(body.CompleteJob)
	case *commandv1.Command_SkipJob:
		return c.skipJob(body.SkipJob)
	case *commandv1.Command_FailJob:
		return c.failJob(body.FailJob)
	case *commandv1.Command_CancelJob:
		return c.cancelJob(body.CancelJob)
	case *commandv1.Command_ExpireClaims:
		return c.expireClaims()
	case *commandv1.Command_EvictJobs:
		return c.evictJobs(body.EvictJobs.GetBeforeMicros())
	case *commandv1.Command_CreateSchedule:
		return c.createSchedule(body.CreateSchedule)
	case *commandv1.Command_AlterSchedule:
		return c.alterSchedule(body.AlterSchedule)
	case *commandv1.Command_DropSchedule:
		return c.dropSchedule(body.DropSchedule)
	case *commandv1.Command_FireSchedule:
		return c.fireSchedule(body.FireSchedule)
	}
	return nil, nil //nolint:nilnil // documented: nil is an answer
}

// add moves a counter; the value is the new one.
func (c *metaCall) add(name string, delta int64) (uint64, error) {
	value, err := catalog.LoadSequence(c.batch, name)
	if err != nil {
		return 0, err
	}
	value += uint64(delta) //nolint:gosec // wraps back for negative ones; counters never go below zero
	return value, setSequence(c.batch, name, value)
}

// liveJobOf returns the number of the live job with an idempotency key, zero when there is none.
func (c *metaCall) liveJobOf(key string) (uint64, error) {
	if key == "" {
		return 0, nil
	}
	value, ok, err := c.batch.Get(keys.JobKey(key))
	if err != nil || !ok {
		return 0, err
	}
	if len(value) != 8 {
		return 0, malformedRecord("idempotency key %s has %d bytes", key, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

func (c *metaCall) createJob(body *commandv1.CreateJob) (*commandv1.Response, error) {
	wanted := body.GetJob()
	if refused := checkJob(wanted); refused != nil {
		return refused, nil
	}
	existing, err := c.liveJobOf(wanted.GetIdempotencyKey())
	if err != nil {
		return nil, err
	}
	if existing != 0 {
		job, _, failure := catalog.LoadJob(c.batch, existing)
		if failure != nil {
			return nil, failure
		}
		response := done("Job %s exists already", catalog.JobID(job))
		response.ObjectId = existing
		return response, nil
	}
	full, err := c.jobsFull()
	if err != nil {
		return nil, err
	}
	if full {
		return command.Refuse(fault.Overloaded, "%d jobs are waiting or running; no more are taken", catalog.MaxLiveJobs), nil
	}
	job, err := c.addJob(wanted)
	if err != nil {
		return nil, err
	}
	response := done("Job %s created", catalog.JobID(job))
	response.ObjectId = job.GetNumber()
	return response, nil
}

func checkJob(job *commandv1.Job) *commandv1.Response {
	switch {
	case job.GetType() == "" || len(job.GetType()) > 64:
		return command.Refuse(fault.InvalidStatement, "the job has no usable type")
	case len(job.GetIdPrefix()) != 2:
		return command.Refuse(fault.InvalidStatement, "the job's prefix is not of two letters")
	case len(job.GetParameters()) > catalog.MaxJobText || len(job.GetIdempotencyKey()) > 256:
		return command.Refuse(fault.LimitExceeded, "the job's parameters or idempotency key are too long")
	}
	return nil
}

func (c *metaCall) jobsFull() (bool, error) {
	live, err := catalog.LoadSequence(c.batch, catalog.SequenceLiveJobs)
	return live >= catalog.MaxLiveJobs, err
}

// addJob writes a job that was checked. Commands that cannot do without it do not ask for the bound.
func (c *metaCall) addJob(wanted *commandv1.Job) (*commandv1.Job, error) {
	number, err := c.add(catalog.SequenceJob, 1)
	if err != nil {
		return nil, err
	}
	if _, err = c.add(catalog.SequenceLiveJobs, 1); err != nil {
		return nil, err
	}
	job := &commandv1.Job{
		Number: number, Type: wanted.GetType(), Parameters: wanted.GetParameters(), IdempotencyKey: wanted.GetIdempotencyKey(),
		User: wanted.GetUser(), MaxRetries: wanted.GetMaxRetries(), LeaderOnly: wanted.GetLeaderOnly(), OnlyNode: wanted.GetOnlyNode(),
		NotBeforeMicros: wanted.GetNotBeforeMicros(), IdPrefix: wanted.GetIdPrefix(), Transient: wanted.GetTransient(), CreatedMicros: c.now, UpdatedMicros: c.now,
		State: uint32(catalog.JobQueued),
	}
	if job.GetNotBeforeMicros() > c.now {
		job.State = uint32(catalog.JobNew)
	}
	if key := job.GetIdempotencyKey(); key != "" {
		if err := c.batch.Set(keys.JobKey(key), binary.BigEndian.AppendUint64(nil, number)); err != nil {
			return nil, err
		}
	}
	return job, c.put(keys.Job(number), job)
}

// live returns a job that has not ended; refused says why there is none.
func (c *metaCall) live(number uint64) (job *commandv1.Job, refused *commandv1.Response, err error) {
	job, ended, err := catalog.LoadJob(c.batch, number)
	switch {
	case err != nil:
		return nil, nil, err
	case job == nil:
		return nil, command.Refuse(fault.NotFound, "job %d not found", number), nil
	case ended:
		return nil, command.Refuse(fault.Conflict, "job %s is %s", catalog.JobID(job), catalog.JobState(job.GetState())), nil
	}
	return job, nil, nil
}

// claimJob hands a due job to a node, with a token that is higher than every one before.
func (c *metaCall) claimJob(body *commandv1.ClaimJob) (*commandv1.Response, error) {
	job, refused, err := c.live(body.GetNumber())
	if refused != nil || err != nil {
		return refused, err
	}
	term, err := catalog.LoadSequence(c.batch, catalog.SequenceJobTerm)
	if err != nil {
		return nil, err
	}
	id, state := catalog.JobID(job), catalog.JobState(job.GetState())
	switch {
	case body.GetNodeId() == 0 || body.GetHoldMicros() <= 0:
		return command.Refuse(fault.InvalidStatement, "a claim names a node and how long it holds"), nil
	case body.GetTerm() < term:
		return command.Refuse(fault.Conflict, "job %s: term %d is over, the term is %d", id, body.GetTerm(), term), nil
	case state == catalog.JobRunning:
		return command.Refuse(fault.Conflict, "job %s is running on node %d", id, job.GetClaim().GetNodeId()), nil
	case job.GetNotBeforeMicros() > c.now:
		return command.Refuse(fault.Conflict, "job %s is not due yet", id), nil
	case job.GetLeaderOnly() && !body.GetLeader():
		return command.Refuse(fault.Conflict, "job %s is for the leader only", id), nil
	case job.GetOnlyNode() != 0 && job.GetOnlyNode() != body.GetNodeId():
		return command.Refuse(fault.Conflict, "job %s is for node %d only", id, job.GetOnlyNode()), nil
	}
	token, err := c.add(catalog.SequenceJobToken, 1)
	if err != nil {
		return nil, err
	}
	if err := setSequence(c.batch, catalog.SequenceJobTerm, body.GetTerm()); err != nil {
		return nil, err
	}
	job.State, job.UpdatedMicros = uint32(catalog.JobRunning), c.now
	job.Claim = &commandv1.JobClaim{
		Number: job.GetNumber(), Token: token, NodeId: body.GetNodeId(), Term: body.GetTerm(), UntilMicros: c.now + body.GetHoldMicros(),
	}
	if job.GetStartedMicros() == 0 {
		job.StartedMicros = c.now
	}
	runs := append(job.GetRuns(), &commandv1.JobRun{
		NodeId: body.GetNodeId(), Token: token, State: job.GetState(), StartedMicros: c.now, UpdatedMicros: c.now,
	})
	job.Runs = runs[max(0, len(runs)-catalog.MaxJobRuns):]
	response := done("Job %s claimed by node %d", id, body.GetNodeId())
	response.ObjectId = token
	return response, c.put(keys.Job(job.GetNumber()), job)
}

// claimed returns the job that a claim still holds.
func (c *metaCall) claimed(claim *commandv1.JobClaim) (job *commandv1.Job, refused *commandv1.Response, err error) {
	job, refused, err = c.live(claim.GetNumber())
	if refused != nil || err != nil {
		return nil, refused, err
	}
	held := job.GetClaim()
	switch {
	case catalog.JobState(job.GetState()) != catalog.JobRunning:
		return nil, command.Refuse(fault.Conflict, "job %s is %s, not running", catalog.JobID(job), catalog.JobState(job.GetState())), nil
	case held.GetToken() != claim.GetToken():
		return nil, command.Refuse(fault.Conflict, "job %s: token %d is stale, the token is %d",
			catalog.JobID(job), claim.GetToken(), held.GetToken()), nil
	case held.GetNodeId() != claim.GetNodeId():
		return nil, command.Refuse(fault.Conflict, "job %s is claimed by node %d, not %d",
			catalog.JobID(job), held.GetNodeId(), claim.GetNodeId()), nil
	case held.GetTerm() != claim.GetTerm():
		return nil, command.Refuse(fault.Conflict, "job %s was claimed in term %d, not %d",
			catalog.JobID(job), held.GetTerm(), claim.GetTerm()), nil
	}
	return job, nil, nil
}

func (c *metaCall) heartbeatJob(body *commandv1.HeartbeatJob) (*commandv1.Response, error) {
	job, refused, err := c.claimed(body.GetClaim())
	if refused != nil || err != nil {
		return refused, err
	}
	if body.GetPercent() > 100 || body.GetHoldMicros() <= 0 {
		return command.Refuse(fault.InvalidStatement, "a heartbeat has a percentage up to 100 and says how long it holds"), nil
	}
	job.Percent, job.Message, job.UpdatedMicros = body.GetPercent(), cutText(body.GetMessage()), c.now
	// A heartbeat of a node with a slow clock does not shorten what was promised.
	job.Claim.UntilMicros = max(job.GetClaim().GetUntilMicros(), c.now+body.GetHoldMicros())
	job.Runs[len(job.Runs)-1].UpdatedMicros = c.now
	return done("Job %s is at %d%%", catalog.JobID(job), body.GetPercent()), c.put(keys.Job(job.GetNumber()), job)
}

func (c *metaCall) releaseJob(body *commandv1.ReleaseJob) (*commandv1.Response, error) {
	job, refused, err := c.claimed(body.GetClaim())
	if refused != nil || err != nil {
		return refused, err
	}
	c.endRun(job, catalog.JobQueued, "released")
	return done("Job %s released", catalog.JobID(job)), c.put(keys.Job(job.GetNumber()), job)
}

func (c *metaCall) completeJob(body *commandv1.CompleteJob) (*commandv1.Response, error) {
	if len(body.GetResult()) > catalog.MaxJobText {
		return command.Refuse(fault.InvalidStatement, "the result of the job has %d bytes, %d are allowed", len(body.GetResult()), catalog.MaxJobText), nil
	}
	job, refused, err := c.claimed(body.GetClaim())
	if refused != nil || err != nil {
		return refused, err
	}
	job.Message, job.Result, job.Percent = cutText(body.GetMessage()), body.GetResult(), 100
	c.endRun(job, catalog.JobCompleted, "")
	return done("Job %s %s", catalog.JobID(job), catalog.JobCompleted), c.finishJob(job)
}

func (c *metaCall) skipJob(body *commandv1.SkipJob) (*commandv1.Response, error) {
	job, refused, err := c.claimed(body.GetClaim())
	if refused != nil || err != nil {
		return refused, err
	}
	job.Message = cutText(body.GetMessage())
	c.endRun(job, catalog.JobSkipped, "")
	return done("Job %s %s", catalog.JobID(job), catalog.JobSkipped), c.finishJob(job)
}

func (c *metaCall) failJob(body *commandv1.FailJob) (*commandv1.Response, error) {
	job, refused, err := c.claimed(body.GetClaim())
	if refused != nil || err != nil {
		return refused, err
	}
	return c.failed(job, body.GetError(), body.GetRetryAtMicros(), body.GetFinal())
}

// failed ends a run that failed: the job is tried again, or it failed too often.
func (c *metaCall) failed(job *commandv1.Job, why string, retryAt int64, final bool) (*commandv1.Response, error) {
	job.Error = cutText(why)
	if final || job.GetRetries() >= job.GetMaxRetries() {
		job.Message = job.GetError()
		c.endRun(job, catalog.JobFailed, why)
		return done("Job %s failed", catalog.JobID(job)), c.finishJob(job)
	}
	job.Retries++
	job.NotBeforeMicros = retryAt
	c.endRun(job, catalog.JobRetrying, why)
	return done("Job %s is tried again", catalog.JobID(job)), c.put(keys.Job(job.GetNumber()), job)
}

func (c *metaCall) cancelJob(body *commandv1.CancelJob) (*commandv1.Response, error) {
	prefix, number, ok := catalog.ParseJobID(body.GetId())
	job, ended, err := catalog.LoadJob(c.batch, number)
	switch {
	case err != nil:
		return nil, err
	case !ok || job == nil || !strings.EqualFold(prefix, job.GetIdPrefix()):
		return command.Refuse(fault.NotFound, "Job '%s' not found", body.GetId()), nil
	case ended:
		return command.Refuse(fault.InvalidStatement, "Job '%s' has ended already: %s", body.GetId(), catalog.JobState(job.GetState())), nil
	}
	job.Message = "killed"
	c.endRun(job, catalog.JobCancelled, "killed")
	return done("Job %s killed: cancelled", catalog.JobID(job)), c.finishJob(job)
}

// expireClaims returns jobs of nodes that stopped reporting, and queues jobs whose time has come. A lost claim
// counts as a failed try, so that a job that kills its node does not go round for ever.
func (c *metaCall) expireClaims() (*commandv1.Response, error) {
	jobs, err := catalog.LoadLiveJobs(c.batch)
	if err != nil {
		return nil, err
	}
	changed := uint32(0)
	for _, job := range jobs {
		switch state := catalog.JobState(job.GetState()); {
		case state == catalog.JobRunning && job.GetClaim().GetUntilMicros() <= c.now:
			if _, err := c.failed(job, "the node stopped reporting", c.now, false); err != nil {
				return nil, err
			}
		case state == catalog.JobNew && job.GetNotBeforeMicros() <= c.now:
			job.State, job.UpdatedMicros = uint32(catalog.JobQueued), c.now
			if err := c.put(keys.Job(job.GetNumber()), job); err != nil {
				return nil, err
			}
		default:
			continue
		}
		changed++
	}
	response := done("%d jobs moved", changed)
	response.Affected = changed
	return response, nil
}
