// Package multiraft runs many Raft groups on one node.
//
// It carries bytes: a proposal goes in, is replicated, and the same bytes come out on every replica in
// the same order, into a StateMachine. It does not know what they mean. Groups have no goroutine of
// their own; a worker steps whichever groups have work, writes what they must remember to one shared log
// with one sync, and hands what is committed to one apply loop, which writes one storage batch for all
// groups of a pass with every group's applied index in it.
//
// Manager is the replicated form; Solo appends to the same log and applies through the same loop without
// consensus, for a node that runs alone. Both work on the same data directory.
//
// Always true: votes and entries are durable before anything depends on them is sent; an entry is applied
// once and in order; a group's applied index and its rows change in one batch; an error of the log or
// the store stops the node. The engine is passive: Pump moves everything one step on the caller's
// goroutine, which is how the simulator runs it; Start adds the goroutines of production.
//
// Only this package and those below it import etcd Raft. Only server (and sim) build a Manager or Solo.
package multiraft

import (
	"errors"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// StateMachine is one group's state. All calls come from the apply loop, one at a time.
type StateMachine interface {
	// Apply stages the effects of entries into the batch, in order, reading earlier effects through it.
	// The outcome has one deterministic result for each entry that was applied; it may cover only a
	// prefix when the next entry waits for the meta group. A command that is refused for a reason all
	// replicas share has a result like any other. An error means that this replica cannot go on.
	Apply(batch *storage.Batch, entries []command.Entry) (command.Outcome, error)
	// Publish is called once the batch of the last Apply is committed to the store, before any caller
	// learns of it: staged views (the catalog, caches) become visible to readers here.
	Publish()
	// Announce is called after the callers were told: whoever watches learns of what changed. It comes last because those
	// who watch then run at once where the apply loop ran, and callers are taken over by other processors.
	Announce()
	// Restore is called after a snapshot has replaced the group's keys, and once when the group is
	// opened: derived memory is built anew from the reader.
	Restore(reader storage.Reader) error
}

// Member is one data directory of the cluster, as the meta group records it.
type Member struct {
	Replica  ident.ReplicaID
	Node     ident.NodeID
	Replaces ident.ReplicaID // the lost replica of the same node that this one stands in for, or zero
	Removed  bool
	Observes []shard.GroupID // groups in which it has no vote; not changed once it is handed out
}

// observes reports whether a member's replica of a group is to have everything and no vote.
func (m *Member) observes(group shard.GroupID) bool { return slices.Contains(m.Observes, group) }

// equal reports whether two records of a member ask for the same.
func (m Member) equal(other Member) bool {
	return m.Replica == other.Replica && m.Node == other.Node && m.Replaces == other.Replaces && m.Removed == other.Removed &&
		slices.Equal(m.Observes, other.Observes)
}

// Errors of proposals and reads that callers branch on.
var (
	// ErrUnknownGroup says that the group is not part of this cluster.
	ErrUnknownGroup = errors.New("multiraft: unknown group")
	// ErrStopped says that the node is shutting down; nothing was proposed.
	ErrStopped = errors.New("multiraft: stopped")
	// ErrOverloaded says that a bound on waiting proposals was reached, or that a follower is too far behind; nothing was proposed.
	ErrOverloaded = errors.New("multiraft: too many writes are waiting")
	// ErrTooLarge says that the proposal is over the size limit; nothing was proposed.
	ErrTooLarge = errors.New("multiraft: proposal is larger than the limit")
	// ErrOutcomeUnknown says that the proposal entered the log but leadership moved before its result was
	// known. Proposing it again under the same request id is safe.
	ErrOutcomeUnknown = errors.New("multiraft: leadership moved before the outcome was known")
)

// NotLeaderError says that this replica does not lead the group; nothing was proposed.
type NotLeaderError struct {
	Group  shard.GroupID
	Leader ident.ReplicaID // zero when unknown
}

// Error implements error.
func (e *NotLeaderError) Error() string {
	return "multiraft: not the leader of " + e.Group.String()
}
