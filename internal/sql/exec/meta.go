package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// meta carries out a change of the catalog.
func (e *Engine) meta(ctx context.Context, caller session.Session, s *plan.Meta) (Result, error) {
	if s.Password != nil {
		if err := e.deps.Passwords.Check(*s.Password); err != nil {
			return Result{}, err
		}
		hash, err := e.deps.Passwords.Hash(ctx, *s.Password)
		if err != nil {
			return Result{}, err
		}
		switch body := s.Command.GetBody().(type) {
		case *commandv1.Command_CreateUser:
			body.CreateUser.User.PasswordHash = hash
		case *commandv1.Command_AlterUser:
			body.AlterUser.PasswordHash = &hash
		}
	}
	if err := e.stampSchedule(s.Command); err != nil {
		return Result{}, err
	}
	if s.Storage != nil {
		if err := e.tryStorage(ctx, s.Storage); err != nil {
			return Result{}, err
		}
	}
	s.Command.Header = &commandv1.Header{Actor: string(caller.User), Audit: e.note(caller, s.Command)}
	response, err := e.deps.Executor.Execute(onAttempt(ctx, 1), shard.Meta, s.Command)
	if err != nil {
		return Result{}, err
	}
	return Result{Message: response.GetMessage(), AsUser: caller.User}, nil
}
