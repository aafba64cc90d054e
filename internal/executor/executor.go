// Package executor is the way of every command into the log.
//
// It stamps what must not differ between replicas (time, request id, the meta index a data command
// depends on), finds the group, proposes there or at the leader, retries what is safe under the same
// request id, and waits for the deterministic result. Handlers call CommandExecutor and never learn
// whether they run standalone (Direct) or in a cluster (Raft).
package executor

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// CommandExecutor replicates commands and says when reads are current.
type CommandExecutor interface {
	// Execute stamps cmd's header (only actor and audit of the header are kept from the caller), replicates it in the group
	// and returns its result once it is durable on a quorum and applied on the replica that answers. A
	// refused command is returned as a *fault.Error of the kind in Response.failure. Other outcomes:
	// fault.Timeout (may still be applied), fault.Unavailable and fault.Overloaded (never applied), or
	// the context's error.
	Execute(ctx context.Context, group shard.GroupID, cmd *commandv1.Command) (*commandv1.Response, error)
	// Barrier returns once this node's state of the group includes everything that was acknowledged
	// anywhere before the call, and the applied index it waited for. A read that follows is linearizable. Under AsQuery
	// it may wait for less, as the setting or the request says (WithReads).
	Barrier(ctx context.Context, group shard.GroupID) (uint64, error)
}
