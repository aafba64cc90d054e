package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// startJob makes a job, or finds the one that does the same, and names it.
func (e *Engine) startJob(ctx context.Context, caller session.Session, s *plan.StartJob) (outcome, error) {
	s.Job.User = string(caller.User)
	if s.Here {
		s.Job.OnlyNode = uint64(e.deps.Node)
	}
	if err := e.jobFits(s); err != nil {
		return outcome{}, err
	}
	cmd := &commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{Job: s.Job}}}
	cmd.Header = &commandv1.Header{Actor: string(caller.User), Audit: e.note(caller, cmd)}
	response, err := e.deps.Executor.Execute(onAttempt(ctx, 1), shard.Meta, cmd)
	if err != nil {
		return outcome{}, err
	}
	id := catalog.JobID(&commandv1.Job{IdPrefix: s.Job.GetIdPrefix(), Number: response.GetObjectId()})
	return outcome{Result: Result{Message: s.Message + ". Job ID: " + id, AsUser: caller.User}}, nil
}

// jobFits refuses a job of a type of which too many live, as far as this node knows. That the same job lives already is no reason.
func (e *Engine) jobFits(s *plan.StartJob) error {
	if s.Most == 0 {
		return nil
	}
	live, err := catalog.LoadLiveJobs(e.deps.Storage)
	if err != nil {
		return err
	}
	same := 0
	for _, job := range live {
		if job.GetIdempotencyKey() == s.Job.GetIdempotencyKey() {
			return nil
		}
		if job.GetType() == s.Job.GetType() {
			same++
		}
	}
	if same >= s.Most {
		return fault.New(fault.Overloaded, "%d jobs of the type %s are waiting or running; try again later", same, s.Job.GetType())
	}
	return nil
}
