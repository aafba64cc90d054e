// Package multiraft runs many Raft groups on one node.
//
// It carries bytes: a proposal goes in, is replicated, and the same bytes come out on every replica in
// the same order, into a StateMachine. It does not know what they mean. Groups have no goroutine of
// their own; a worker steps whichever groups have work, writes what they must remember to one shared log
// with one sync, and hands what is committed to one apply loop, which writes one storage batch for all
// groups of a pass with every group's applied index in it.
//
// Always true: votes and entries are durable before anything depends on them is sent; an entry is applied
// once and in order; a group's applied index and its rows change in one batch; an error of the log or
// the store stops the node.
//
// Only this package and those below it import etcd Raft. Only server (and sim) build a Manager.
package multiraft

import (
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// Entry is one committed command on its way into a state machine. Data is owned by the log: a state
// machine that keeps it must copy it.
type Entry struct {
	Index     uint64
	Term      uint64
	RequestID ident.RequestID
	Data      []byte
}

// Outcome is what a state machine did with a run of entries.
type Outcome struct {
	// Results has one deterministic response for each entry that was applied. It may be shorter than the
	// run: the first entry without a result waits for the meta group (WaitMeta).
	Results [][]byte
	// WaitMeta is the meta index that must be applied here before the next entry can be; zero when every
	// entry was applied.
	WaitMeta uint64
}

// StateMachine is one group's state. All calls come from the apply loop, one at a time.
type StateMachine interface {
	// Apply stages the effects of entries into the batch, in order, reading earlier effects through it.
	// A command that is refused for a reason all replicas share has a result like any other. An error
	// means that this replica cannot go on: the node stops.
	Apply(batch *storage.Batch, entries []Entry) (Outcome, error)
	// Publish is called once the batch of the last Apply is committed to the store, before any caller learns of
	// it: staged views (the catalog, caches) become visible to readers here.
	Publish()
	// Restore is called after a snapshot has replaced the group's keys, and once when the group is
	// opened: derived memory is built anew from the reader.
	Restore(reader storage.Reader) error
}

// StateMachines makes the state machine of a group.
type StateMachines func(group shard.GroupID) StateMachine
