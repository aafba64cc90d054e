package server

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// lateExecutor is the executor of a node from its first moment on: until the node is a member it refuses
// everything as unavailable.
type lateExecutor struct {
	current atomic.Pointer[executor.CommandExecutor]
	local   atomic.Pointer[executor.CommandExecutor] // of the node-local group
}

func (l *lateExecutor) set(e executor.CommandExecutor) { l.current.Store(&e) }

func (l *lateExecutor) setLocal(e executor.CommandExecutor) { l.local.Store(&e) }

// of returns what executes the commands of a group, nil for nobody yet.
func (l *lateExecutor) of(group shard.GroupID) *executor.CommandExecutor {
	if group == shard.Local {
		return l.local.Load()
	}
	return l.current.Load()
}

// Execute implements executor.CommandExecutor.
func (l *lateExecutor) Execute(ctx context.Context, group shard.GroupID, cmd *commandv1.Command) (*commandv1.Response, error) {
	if e := l.of(group); e != nil {
		return (*e).Execute(ctx, group, cmd)
	}
	return nil, notYet(group)
}

// Barrier implements executor.CommandExecutor.
func (l *lateExecutor) Barrier(ctx context.Context, group shard.GroupID) (uint64, error) {
	if e := l.of(group); e != nil {
		return (*e).Barrier(ctx, group)
	}
	return 0, notYet(group)
}

// Weak implements executor.WeakReader.
func (l *lateExecutor) Weak(ctx context.Context) bool {
	if e := l.current.Load(); e != nil {
		weak, ok := (*e).(executor.WeakReader)
		return ok && weak.Weak(ctx)
	}
	return false
}

func noAccountsYet() error {
	refused := fault.New(fault.Unavailable, "the account of root has not been made yet; try again")
	refused.RetryAfter = time.Second
	return refused
}

func notYet(group shard.GroupID) error {
	if group == shard.Local {
		refused := fault.New(fault.Unavailable, "the node-local rows of this node are not open yet; try again, or ask another node for its own")
		refused.RetryAfter = time.Second
		return refused
	}
	return notAdmitted()
}

func notAdmitted() error {
	refused := fault.New(fault.Unavailable, "this node is not a member of its cluster yet; try again, or ask another node")
	refused.RetryAfter = time.Second
	return refused
}
