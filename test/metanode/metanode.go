// Package metanode is a meta group without replication, for tests of the layers above it.
//
// It joins the real executor, the real state machine and a real store in memory: a command is applied as
// soon as it is proposed. It stands in for what a node has below its services, so that tests of accounts
// and of the HTTP surface run on the state they will meet in production. Its failures are chosen by the
// test: FailWith makes proposals and barriers fail until it is called with nil.
package metanode

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/statemachine"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Node is one meta group. Close it after use.
type Node struct {
	Catalog  *catalog.Store
	Executor *executor.Direct

	mu      sync.Mutex // guards all below
	engine  *storage.Engine
	machine *statemachine.Meta
	index   uint64
	failure error
}

// Open makes an empty meta group. Directory is a path that nothing else uses.
func Open(directory string, wall clock.Clock) (*Node, error) {
	engine, err := storage.Open(storage.Options{FS: disk.Local(), Dir: directory})
	if err != nil {
		return nil, err
	}
	store := catalog.NewStore()
	node := &Node{Catalog: store, engine: engine, machine: statemachine.NewMeta(store)}
	if err := node.machine.Restore(engine); err != nil {
		return nil, err
	}
	node.Executor = executor.NewDirect(node, wall, rand.Reader, nil)
	return node, nil
}

// Close releases the store.
func (n *Node) Close() error { return n.engine.Close() }

// FailWith makes proposals and barriers fail; nil makes them work again.
func (n *Node) FailWith(failure error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failure = failure
}

// Propose implements executor.Proposer.
func (n *Node) Propose(_ context.Context, _ executor.Mode, group shard.GroupID, id ident.RequestID, data []byte) executor.Attempt {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failure != nil {
		return executor.Attempt{Outcome: executor.Stopped, Err: n.failure}
	}
	if group != shard.Meta {
		return executor.Attempt{Outcome: executor.Stopped, Err: fmt.Errorf("group %d is not here", group)}
	}
	result, err := n.apply(command.Entry{Index: n.index + 1, Term: 1, RequestID: id, Data: data})
	if err != nil {
		return executor.Attempt{Outcome: executor.Unknown, Err: err}
	}
	return executor.Attempt{Outcome: executor.Done, Result: result, Index: n.index}
}

// apply is called with mu held.
func (n *Node) apply(entry command.Entry) ([]byte, error) {
	batch := n.engine.NewBatch()
	defer batch.Close() //nolint:errcheck // a committed batch holds nothing
	outcome, err := n.machine.Apply(batch, []command.Entry{entry})
	if err != nil {
		return nil, err
	}
	if err := n.engine.Commit(batch); err != nil {
		return nil, err
	}
	n.index = entry.Index
	n.machine.Publish()
	n.machine.Announce()
	return outcome.Results[0], nil
}

// Barrier implements executor.Proposer.
func (n *Node) Barrier(context.Context, shard.GroupID) (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failure != nil {
		return 0, fault.New(fault.Unavailable, "%w", n.failure)
	}
	return n.index, nil
}

// Applied implements executor.Proposer.
func (n *Node) Applied(shard.GroupID) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.index
}

// Index counts the commands that were applied.
func (n *Node) Index() uint64 { return n.Applied(shard.Meta) }

// Audit returns the audit log, the oldest entry first.
func (n *Node) Audit() ([]*commandv1.AuditEntry, error) { return catalog.LoadAudit(n.engine) }
