package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
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
	if body, ok := s.Command.GetBody().(*commandv1.Command_DropUser); ok && e.deps.UserCleanup > 0 {
		body.DropUser.Cleanup, body.DropUser.CleanupDelayMicros = true, e.deps.UserCleanup.Microseconds()
	}
	if err := e.stampSchedule(s.Command); err != nil {
		return Result{}, err
	}
	if s.MustBeEmpty != nil {
		switch has, err := e.changes.HasRows(ctx, s.MustBeEmpty); {
		case err != nil:
			return Result{}, err
		case has:
			return Result{}, s.Refusal
		}
	}
	if s.First != nil {
		return Result{}, e.before(ctx, caller, s.First)
	}
	if s.Storage != nil {
		if err := e.tryStorage(ctx, s.Storage); err != nil {
			return Result{}, err
		}
		if err := e.sealCredentials(s.Command); err != nil {
			return Result{}, err
		}
	}
	s.Command.Header = &commandv1.Header{Actor: string(caller.User), Audit: e.note(caller, s.Command)}
	response, err := e.deps.Executor.Execute(onAttempt(ctx, 1), shard.Meta, s.Command)
	if err != nil {
		wasAltered(ctx, 1, err)
		return Result{}, err
	}
	if s.Finish != 0 {
		if _, err := e.changes.Finish(ctx, s.Finish, nil); err != nil {
			return Result{}, unfinished(ctx, err, response.GetMessage())
		}
	}
	return Result{Message: response.GetMessage(), AsUser: caller.User}, nil
}

// before carries out the change that must come first. It ends with Altered: the statement is planned again over the
// changed table.
func (e *Engine) before(ctx context.Context, caller session.Session, first *commandv1.AlterTable) error {
	change := &commandv1.Command{Body: &commandv1.Command_AlterTable{AlterTable: first}}
	change.Header = &commandv1.Header{Actor: string(caller.User), Audit: e.note(caller, change)}
	response, err := e.deps.Executor.Execute(ctx, shard.Meta, change)
	if err != nil {
		return err
	}
	if _, err = e.changes.Finish(ctx, ident.TableID(first.GetTable().GetId()), nil); err != nil {
		return unfinished(ctx, err, response.GetMessage())
	}
	return fault.New(fault.Altered, "the indexes of a column were dropped before it")
}

// unfinished is the failure of what a changed descriptor leaves to be done. When the caller's time was over, or rows cannot be reached now, a
// job goes on with it.
func unfinished(ctx context.Context, err error, message string) error {
	if ctx.Err() != nil || fault.KindOf(err) == fault.Unavailable {
		return fault.New(fault.Timeout, "%s The statement ended before the rows of the table were gone through; the job goes on: %w", message, err)
	}
	return err
}
