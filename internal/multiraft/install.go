package multiraft

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/snapshot"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// errSnapshotIgnored tells the sender that the receiver needed no snapshot, or not this one.
var errSnapshotIgnored = errors.New("multiraft: the snapshot is not needed")

// staged is a complete, verified snapshot beside the store, waiting for Raft to want it.
type staged struct {
	files *snapshot.Staged
	done  chan<- error // has room for the outcome: installed, ignored or failed
}

// HandleSnapshot receives the state of one group, offers it to Raft and returns once it is installed. It
// implements transport.Handler.
func (m *Manager) HandleSnapshot(ctx context.Context, h *nodev1.SnapshotHeader, next func() ([]byte, error)) error {
	done := make(chan error, 1)
	if err := m.ReceiveSnapshot(ctx, h, next, done); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		// The worker still owns the files and decides about them.
		return ctx.Err()
	}
}

// ReceiveSnapshot receives the state of one group and offers it to Raft, without waiting for what becomes of
// it: that is sent to done, which must have room for one value. An error means that done gets nothing.
func (m *Manager) ReceiveSnapshot(ctx context.Context, h *nodev1.SnapshotHeader, next func() ([]byte, error), done chan<- error) error {
	g := m.groups[shard.GroupID(h.GetGroup())]
	if g == nil {
		return fmt.Errorf("%w: %d", ErrUnknownGroup, h.GetGroup())
	}
	conf := &raftpb.ConfState{}
	if err := proto.Unmarshal(h.GetConfState(), conf); err != nil {
		return fmt.Errorf("snapshot of %s: configuration: %w", g.id, err)
	}
	select {
	case m.receiving <- struct{}{}:
		defer func() { <-m.receiving }()
	case <-ctx.Done():
		return ctx.Err()
	}
	progress := m.transfers.begin(m.cfg.Clock, received, g.id, ident.ReplicaID(h.GetFrom()), h.GetIndex())
	defer m.transfers.end(progress)
	files, err := m.stageSnapshot(g, progress, h.GetStateBytes(), next)
	if err != nil {
		return fmt.Errorf("receive snapshot of %s: %w", g.id, err)
	}
	if err := m.vetSnapshot(g, h, conf, files); err != nil {
		m.refuseSnapshot(g, ident.ReplicaID(h.GetFrom()), err)
		return errors.Join(fmt.Errorf("receive snapshot of %s: %w", g.id, err), files.Discard())
	}
	s := &staged{files: files, done: done}
	g.worker.enqueue(item{group: g, do: func(g *group) { m.offer(g, h, conf, s) }})
	return nil
}

// stageSnapshot writes the arriving chunks to files beside the store. When the stream breaks, what has arrived
// is kept for the next attempt.
func (m *Manager) stageSnapshot(g *group, progress *transfer, stateBytes uint64, next func() ([]byte, error)) (*snapshot.Staged, error) {
	lo, hi := keys.GroupSpan(g.id)
	receiver, err := m.staging.Receive(lo, hi)
	if err != nil {
		return nil, err
	}
	for {
		chunk, err := next()
		if errors.Is(err, io.EOF) {
			return receiver.Finish()
		}
		if err != nil {
			return nil, errors.Join(err, receiver.Suspend(), m.staging.Expire())
		}
		if err := receiver.Add(chunk); err != nil {
			return nil, errors.Join(err, receiver.Discard())
		}
		m.transfers.add(progress, len(chunk), receiver.Pairs(), receiver.Written(), stateBytes)
	}
}

// HandleSnapshotProgress says what is left of an interrupted snapshot. It implements transport.SnapshotKeeper.
func (m *Manager) HandleSnapshotProgress(_ context.Context, req *nodev1.SnapshotProgressRequest) *nodev1.SnapshotProgressResponse {
	resp := &nodev1.SnapshotProgressResponse{}
	g := m.groups[shard.GroupID(req.GetGroup())]
	if g == nil {
		return resp
	}
	lo, _ := keys.GroupSpan(g.id)
	size := 0
	for _, r := range m.staging.Interrupted(lo) {
		if size += len(r.Last) + maxRangeOverhead; size > maxProgressBytes {
			break // the ranges left out are sent again
		}
		resp.Ranges = append(resp.Ranges, &nodev1.SnapshotRange{Last: r.Last, Pairs: r.Pairs, Digest: r.Digest})
	}
	return resp
}

// maxProgressBytes bounds the answer about an interrupted snapshot; a range has maxRangeOverhead beside its key.
const (
	maxProgressBytes = 2 << 20
	maxRangeOverhead = 32
)

// offer steps the snapshot message; what Raft decides shows in the group's next Ready. It runs on the worker.
func (m *Manager) offer(g *group, h *nodev1.SnapshotHeader, conf *raftpb.ConfState, s *staged) {
	if old := g.staged[h.GetIndex()]; old != nil {
		m.discard(old, errSnapshotIgnored)
	}
	g.staged[h.GetIndex()] = s
	err := g.node.Step(&raftpb.Message{
		Type: raftpb.MsgSnap.Enum(), From: new(h.GetFrom()), To: new(uint64(m.cfg.Replica)), Term: new(h.GetTerm()),
		Snapshot: &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
			ConfState: conf, Index: new(h.GetIndex()), Term: new(h.GetIndexTerm()),
		}},
	})
	if err != nil {
		delete(g.staged, h.GetIndex())
		m.discard(s, err)
	}
}

// beginInstall hands a snapshot that Raft accepted to the apply loop. Until it is recorded in the log, the
// group hands out no further work.
func (w *worker) beginInstall(g *group, message *raftpb.Message) error {
	meta := message.GetSnapshot().GetMetadata()
	s := g.staged[meta.GetIndex()]
	if s == nil {
		return fmt.Errorf("raft wants a snapshot at %d that was not received", meta.GetIndex())
	}
	delete(g.staged, meta.GetIndex())
	g.install, g.handed = message, meta.GetIndex()+uint64(len(message.GetEntries())) // those behind the snapshot come with it
	w.out.tasks = append(w.out.tasks, &applyTask{
		replica: g.replica, staged: s.files,
		done: func() {
			state := g.state
			w.enqueue(item{group: g, do: func(g *group) { w.finishInstall(g, state, s) }})
		},
	})
	return nil
}

// finishInstall restarts the log after an installed snapshot. The store already has the state; a crash in
// between is mended when the group is opened.
func (w *worker) finishInstall(g *group, state AppliedState, s *staged) {
	message := g.install
	g.install = nil
	meta := message.GetSnapshot().GetMetadata()
	if state.Index != meta.GetIndex() || state.Term != meta.GetTerm() {
		w.m.fail(fmt.Errorf("%s: snapshot announced as %d in term %d contains %d in term %d",
			g.id, meta.GetIndex(), meta.GetTerm(), state.Index, state.Term))
		return
	}
	g.confirm(state)
	g.snapsTaken.Add(1)
	g.snapIndex.Store(state.Index)
	w.out.updates = append(w.out.updates, raftlog.Update{
		Group: g.id, Hard: hardState(message), Entries: message.GetEntries(),
		Reset: &raftlog.Marker{Index: state.Index, Term: state.Term},
	})
	w.out.sync = true
	for _, r := range message.GetResponses() {
		w.out.responses = append(w.out.responses, response{group: g, message: r})
	}
	s.done <- nil
}

// discardStale removes received snapshots that Raft, having seen them, did not want.
func (g *group) discardStale(m *Manager) {
	for index, s := range g.staged {
		delete(g.staged, index)
		m.discard(s, errSnapshotIgnored)
	}
}

func (m *Manager) discard(s *staged, why error) {
	if err := s.files.Discard(); err != nil {
		m.cfg.Logger.Warn("snapshot files could not be removed; they are removed at the next start", slog.Any("error", err))
	}
	s.done <- why
}
