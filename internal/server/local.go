package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/jobs"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// localParts run the group of the rows that are not replicated: a log without consensus, in a standalone node and in a member of
// a cluster alike. It waits for this node's state of the meta group like any data group.
type localParts struct {
	mu      sync.Mutex      // held while the group is opened, tended or stopped; guards everything below; taken before Node.mu
	stopped bool            // nothing is opened or tended any more
	solo    *multiraft.Solo // nil before admission
	exec    executor.CommandExecutor
	history *executor.History
	rows    *jobs.LocalRows
	// fresh says that nothing was written yet. A replica that is new knows the catalog as it was when it was admitted before it takes rows: who
	// altered a table before that did not ask it for its rows.
	fresh bool

	running atomic.Pointer[multiraft.Solo] // solo, for those who only look: mu may be held for long
}

// Its log is read by nobody else, so that little of it is kept; waiting for meta happens after a start only.
const (
	localTick          = 250 * time.Millisecond
	localPatience      = 5 * time.Second // of one round of tending
	localRetainEntries = 1000
	localRetainBytes   = 4 << 20
)

// localProposer tells the stamps of commands what this node knows of the meta group.
type localProposer struct {
	soloProposer
	n *Node
}

// Applied implements executor.Proposer.
func (p localProposer) Applied(group shard.GroupID) uint64 {
	if group == shard.Meta {
		return p.n.catalog.Index()
	}
	return p.soloProposer.Applied(group)
}

// openLocal starts the node-local group; statements reach it once what is left of dropped tables and accounts is gone.
func (n *Node) openLocal() error {
	local := &n.local
	local.mu.Lock()
	defer local.mu.Unlock()
	if local.stopped {
		return nil
	}
	id := n.who()
	if err := multiraft.FoundLocal(n.store, n.log, shard.Local, id.Replica); err != nil {
		n.logger.Error("this node has no node-local rows", slog.Any("error", err))
		return nil
	}
	cfg := n.engineConfig(id)
	cfg.Groups, cfg.TickInterval = []shard.GroupID{shard.Local}, localTick
	cfg.RetainEntries, cfg.RetainBytes, cfg.Retain = localRetainEntries, localRetainBytes, nil
	solo, err := multiraft.OpenSolo(cfg)
	if err != nil {
		return fmt.Errorf("open the node-local group: %w", err)
	}
	local.solo, local.history = solo, executor.NewHistory(n.clock, []shard.GroupID{shard.Local}, solo.Applied)
	start, err := command.LocalStart(id.Replica)
	if err != nil {
		return err
	}
	local.fresh = solo.Applied(shard.Local) <= start
	local.exec = executor.NewDirect(localProposer{soloProposer{solo}, n}, n.clock, n.random, local.history)
	local.rows = &jobs.LocalRows{Catalog: n.catalog, Store: n.store, Executor: local.exec, Clock: n.clock}
	local.running.Store(solo)
	solo.Start()
	n.watch(solo.Failed(), solo.Failure)
	return nil
}

// tendLocal keeps the node-local rows in order. It belongs to whoever keeps house.
func (n *Node) tendLocal(ctx context.Context) {
	local := &n.local
	local.mu.Lock()
	defer local.mu.Unlock()
	if local.stopped || local.solo == nil {
		return
	}
	local.history.Sample()
	bound, cancel := context.WithTimeout(ctx, localPatience)
	defer cancel()
	_, err := local.exec.Barrier(bound, shard.Local)
	if err == nil && local.fresh {
		_, err = n.exec.Barrier(bound, shard.Meta)
		local.fresh = err != nil
	}
	if err == nil {
		err = local.rows.Tend(bound)
	}
	switch {
	case err == nil:
		n.exec.setLocal(local.exec)
	case ctx.Err() == nil:
		n.logger.Warn("node-local rows are not tended; it is tried again", slog.Any("error", err))
	}
}

// stop ends the group; the node's background must have been told to end.
func (l *localParts) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	if l.solo != nil {
		l.solo.Stop()
	}
}
