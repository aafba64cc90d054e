package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
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
	cmd := &commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{Job: s.Job}}}
	cmd.Header = &commandv1.Header{Actor: string(caller.User), Audit: e.note(caller, cmd)}
	response, err := e.deps.Executor.Execute(onAttempt(ctx, 1), shard.Meta, cmd)
	if err != nil {
		return outcome{}, err
	}
	id := catalog.JobID(&commandv1.Job{IdPrefix: s.Job.GetIdPrefix(), Number: response.GetObjectId()})
	return outcome{Result: Result{Message: s.Message + ". Job ID: " + id, AsUser: caller.User}}, nil
}
