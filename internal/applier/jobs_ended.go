package applier

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// endRun takes the claim away and puts the job, and the run that held it, into a state.
func (c *metaCall) endRun(job *commandv1.Job, state catalog.JobState, why string) {
	if job.GetClaim() != nil && len(job.GetRuns()) > 0 {
		run := job.Runs[len(job.Runs)-1]
		run.State, run.Error, run.UpdatedMicros, run.FinishedMicros = uint32(state), cutText(why), c.now, c.now
	}
	job.Claim, job.State, job.UpdatedMicros = nil, uint32(state), c.now
}

// finishJob moves an ended job to the history, whose oldest one makes room.
func (c *metaCall) finishJob(job *commandv1.Job) error {
	job.FinishedMicros = c.now
	if err := c.batch.Delete(keys.Job(job.GetNumber())); err != nil {
		return err
	}
	if key := job.GetIdempotencyKey(); key != "" {
		if err := c.batch.Delete(keys.JobKey(key)); err != nil {
			return err
		}
	}
	if _, err := c.add(catalog.SequenceLiveJobs, -1); err != nil {
		return err
	}
	if state := catalog.JobState(job.GetState()); job.GetTransient() && (state == catalog.JobCompleted || state == catalog.JobSkipped) {
		return nil
	}
	if err := c.put(keys.JobDone(job.GetNumber()), job); err != nil {
		return err
	}
	kept, err := c.add(catalog.SequenceDoneJobs, 1)
	if err != nil || kept <= catalog.MaxDoneJobs {
		return err
	}
	ended, err := catalog.LoadDoneJobs(c.batch)
	if err != nil {
		return err
	}
	oldest := ended[0]
	for _, other := range ended[1:] {
		if other.GetFinishedMicros() < oldest.GetFinishedMicros() {
			oldest = other
		}
	}
	return c.forgetJob(oldest)
}

func (c *metaCall) forgetJob(job *commandv1.Job) error {
	if _, err := c.add(catalog.SequenceDoneJobs, -1); err != nil {
		return err
	}
	return c.batch.Delete(keys.JobDone(job.GetNumber()))
}

func (c *metaCall) evictJobs(before int64) (*commandv1.Response, error) {
	ended, err := catalog.LoadDoneJobs(c.batch)
	if err != nil {
		return nil, err
	}
	response := &commandv1.Response{}
	for _, job := range ended {
		if job.GetFinishedMicros() >= before {
			continue
		}
		if err := c.forgetJob(job); err != nil {
			return nil, err
		}
		response.Affected++
	}
	response.Message = done("%d jobs forgotten", response.GetAffected()).GetMessage()
	return response, nil
}

// cutText bounds what a job's record keeps of a text.
func cutText(text string) string {
	if len(text) > catalog.MaxJobText {
		text = text[:catalog.MaxJobText]
	}
	return strings.ToValidUTF8(text, "")
}
