package executor

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Outcome is how one attempt to propose ended.
type Outcome uint8

// The outcomes of an attempt. Only Done carries a result; after Unknown the command may still be applied,
// after all others it never will be by this attempt.
const (
	Done        Outcome = iota // applied; Result and Index are set
	NotLeader                  // the replica asked does not lead the group; Leader may say who does
	Overloaded                 // a bound was reached
	TooLarge                   // over the size limit
	Stopped                    // the replica is shutting down or does not know the group
	Unreachable                // the request surely did not arrive
	Unknown                    // proposed, but the result was not learned
	Behind                     // committed and applied at the leader, but not yet on all voters; only for All
	Missing                    // refused for All: a voter does not answer
	DiskFull                   // the leader's node has hardly any room left

	// LastOutcome is the highest of them.
	LastOutcome = DiskFull
)

// String is the outcome's name in metrics.
func (o Outcome) String() string {
	names := [...]string{
		"done", "not_leader", "overloaded", "too_large", "stopped", "unreachable", "unknown", "behind", "missing_voter",
		"disk_full",
	}
	if int(o) < len(names) {
		return names[o]
	}
	return "other"
}

// Mode says when a command is answered.
type Mode uint8

// The modes of replication.
const (
	Quorum Mode = iota // durable on a quorum and applied at the leader
	All                // besides, applied on every voter
)

// Modes are a cluster's modes by class of group; a request can ask for another (WithMode).
type Modes struct {
	Meta, User, Shared Mode
}

// of returns the mode of a group's class.
func (m Modes) of(group shard.GroupID) Mode {
	switch group.Class() {
	case shard.ClassMeta:
		return m.Meta
	case shard.ClassUser:
		return m.User
	case shard.ClassShared:
		return m.Shared
	case shard.ClassLocal:
	}
	return Quorum
}

type modeKey struct{}

// WithMode makes every Execute under the context use a mode, whatever the cluster's is.
func WithMode(ctx context.Context, mode Mode) context.Context {
	return context.WithValue(ctx, modeKey{}, mode)
}

// modeOf decides how a command is replicated. What the server writes for itself always takes a quorum: while a
// node is missing, it must still be possible to take that node out, to log in and to end jobs.
func modeOf(ctx context.Context, modes Modes, group shard.GroupID, cmd *commandv1.Command) Mode {
	if cmd.GetHeader().GetActor() == "" || cmd.GetRecordLogin() != nil {
		return Quorum
	}
	if mode, ok := ctx.Value(modeKey{}).(Mode); ok {
		return mode
	}
	return modes.of(group)
}

// Attempt is one try to propose a command.
type Attempt struct {
	Outcome Outcome
	Result  []byte
	Index   uint64
	Leader  ident.ReplicaID // for NotLeader; zero when unknown
	Err     error           // detail for everything but Done
}

// Proposer replicates on this node.
type Proposer interface {
	// Propose runs one attempt at this replica and waits for its end or the context's.
	Propose(ctx context.Context, mode Mode, group shard.GroupID, id ident.RequestID, data []byte) Attempt
	// Barrier returns once reads of the group on this node are linearizable, and the applied index.
	Barrier(ctx context.Context, group shard.GroupID) (uint64, error)
	// Applied returns the index up to which readers of this node see the group.
	Applied(group shard.GroupID) uint64
}

// LeaseReader is a Proposer that can also answer from the lease of a group's leader.
type LeaseReader interface {
	// LeaseBarrier is Barrier, but the leader need not ask a majority while its lease lasts.
	LeaseBarrier(ctx context.Context, group shard.GroupID) (uint64, error)
}

// Peers reaches the other replicas.
type Peers interface {
	// Self returns this node's replica id.
	Self() ident.ReplicaID
	// Leader returns the leader of a group as far as this node knows, zero when it does not.
	Leader(group shard.GroupID) ident.ReplicaID
	// Forward runs one attempt at another replica.
	Forward(ctx context.Context, to ident.ReplicaID, mode Mode, group shard.GroupID, id ident.RequestID, data []byte) Attempt
}
