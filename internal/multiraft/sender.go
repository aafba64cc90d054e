package multiraft

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/snapshot"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// snapshotSender ships group states to peers that are behind the log. Requests wait in a queue of at most
// one per group and peer; SnapshotSends run at once. One that follows failures waits for longer each time, since building
// a state that a peer cannot take, because its disk is full, costs as much as sending it.
type snapshotSender struct {
	m        *Manager
	encoders snapshot.Encoders

	mu      sync.Mutex // guards the fields below
	queue   []snapshotJob
	pending map[snapshotTarget]bool
	failing map[snapshotTarget]*failing
	failed  uint64 // attempts since the start
	wake    chan struct{}
}

type snapshotTarget struct {
	group *group
	to    ident.ReplicaID
}

type snapshotJob struct {
	snapshotTarget
	term uint64
	due  time.Time // zero is at once
}

// isDue reports whether the job may be done now. One that would have to wait for longer than any does was planned before the clock
// was set back.
func (j *snapshotJob) isDue(now time.Time) bool {
	return !j.due.After(now) || j.due.Sub(now) > longestResend
}

func newSnapshotSender(m *Manager) *snapshotSender {
	return &snapshotSender{m: m, pending: make(map[snapshotTarget]bool), failing: make(map[snapshotTarget]*failing), wake: make(chan struct{}, 1)}
}

// request queues a snapshot for a peer. Raft asks again only after it heard how this one ended.
func (s *snapshotSender) request(g *group, message *raftpb.Message) {
	target := snapshotTarget{group: g, to: ident.ReplicaID(message.GetTo())}
	s.mu.Lock()
	if !s.pending[target] {
		s.pending[target] = true
		job := snapshotJob{snapshotTarget: target, term: message.GetTerm()}
		if f := s.failing[target]; f != nil {
			job.due = f.next
		}
		s.queue = append(s.queue, job)
	} else if i := slices.IndexFunc(s.queue, func(job snapshotJob) bool { return job.snapshotTarget == target }); i >= 0 {
		s.queue[i].term = message.GetTerm() // this replica leads again
	}
	s.mu.Unlock()
	signal(s.wake)
}

// take returns the first job that is due, or that is none any more because this replica does not lead.
func (s *snapshotSender) take() (snapshotJob, bool) {
	now := s.m.cfg.Clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.queue, func(job snapshotJob) bool { return job.isDue(now) || !job.group.leading.Load() })
	if i < 0 {
		return snapshotJob{}, false
	}
	job := s.queue[i]
	s.queue = slices.Delete(s.queue, i, i+1)
	if len(s.queue) > 0 {
		signal(s.wake)
	}
	return job, true
}

// expireEvery is how often what is left of interrupted snapshots is looked through.
const expireEvery = time.Minute

// run sends queued snapshots until the context ends.
func (s *snapshotSender) run(ctx context.Context) {
	for {
		timer := s.m.cfg.Clock.NewTimer(s.pause())
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.wake:
		case <-timer.C():
			if err := s.m.staging.Expire(); err != nil {
				s.m.cfg.Logger.Warn("left-overs of a snapshot could not be removed", slog.Any("error", err))
			}
			s.forget()
		}
		timer.Stop()
		for s.pass(ctx) {
		}
	}
}

// pass sends one queued snapshot and reports whether there was one.
func (s *snapshotSender) pass(ctx context.Context) bool {
	job, ok := s.take()
	switch {
	case !ok:
	case !job.group.leading.Load():
		s.finish(job, errNotLedHere)
	default:
		s.finish(job, s.send(ctx, job))
	}
	return ok
}

// send builds the state from one consistent view of the store and streams it.
func (s *snapshotSender) send(ctx context.Context, job snapshotJob) (err error) {
	view := s.m.cfg.Engine.NewSnapshot()
	defer func() { err = errors.Join(err, view.Close()) }()
	state, err := readApplied(view, job.group.id)
	if err != nil {
		return err
	}
	conf, err := proto.MarshalOptions{Deterministic: true}.Marshal(state.Conf)
	if err != nil {
		return fmt.Errorf("encode configuration: %w", err)
	}
	lo, hi := keys.GroupSpan(job.group.id)
	builder, err := snapshot.NewBuilder(view, lo, hi, snapshot.Config{ChunkBytes: s.m.cfg.SnapshotChunkBytes, Encoders: &s.encoders})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, builder.Close()) }()
	kept := s.interrupted(ctx, job)
	s.noteKept(job.snapshotTarget, len(kept))
	builder.Skip(kept)
	progress := s.m.transfers.begin(s.m.cfg.Clock, sent, job.group.id, job.to, state.Index)
	defer s.m.transfers.end(progress)
	all := s.onDisk(lo, hi)
	begun := s.m.cfg.Clock.Now()
	err = s.m.transport.SendSnapshot(ctx, job.to, &nodev1.SnapshotHeader{
		Group: uint64(job.group.id), From: uint64(s.m.cfg.Replica), To: uint64(job.to), Term: job.term,
		Index: state.Index, IndexTerm: state.Term, ConfState: conf, StateBytes: all,
	}, func() ([]byte, error) {
		failure := s.m.beCourteous(ctx, &begun)
		if failure != nil {
			return nil, failure
		}
		chunk, failure := builder.Next()
		if failure == nil {
			failure = s.m.limit.wait(ctx, len(chunk))
		}
		if failure != nil {
			return nil, failure
		}
		s.m.transfers.add(progress, len(chunk), builder.Pairs(), s.onDisk(lo, builder.At()), all)
		return chunk, nil
	})
	if err == nil {
		job.group.snapIndex.Store(state.Index)
	}
	return err
}

// onDisk is about how many bytes a span takes on the disk, zero when that is not known. It only tells how far a snapshot is.
func (s *snapshotSender) onDisk(lo, hi []byte) uint64 {
	if bytes.Compare(lo, hi) >= 0 {
		return 0
	}
	size, err := s.m.cfg.Engine.DiskBytes(lo, hi)
	if err != nil {
		return 0
	}
	return size
}

// progressAsker is what a Transport also implements when its peers keep interrupted snapshots.
type progressAsker interface {
	SnapshotProgress(ctx context.Context, to ident.ReplicaID, req *nodev1.SnapshotProgressRequest) (*nodev1.SnapshotProgressResponse, error)
}

// askPatience bounds the question what a peer still has; without an answer everything is sent.
const askPatience = 5 * time.Second

// interrupted asks the peer what it has of an earlier attempt, whoever made it.
func (s *snapshotSender) interrupted(ctx context.Context, job snapshotJob) []snapshot.Range {
	asker, ok := s.m.transport.(progressAsker)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	resp, err := asker.SnapshotProgress(ctx, job.to, &nodev1.SnapshotProgressRequest{Group: uint64(job.group.id)})
	if err != nil {
		s.m.cfg.Logger.Debug("peer did not say what it has of a snapshot", slog.Uint64("to", uint64(job.to)), slog.Any("error", err))
		return nil
	}
	ranges := make([]snapshot.Range, 0, len(resp.GetRanges()))
	for _, r := range resp.GetRanges() {
		ranges = append(ranges, snapshot.Range{Last: r.GetLast(), Pairs: r.GetPairs(), Digest: r.GetDigest()})
	}
	return ranges
}

// finish tells Raft how it ended.
func (s *snapshotSender) finish(job snapshotJob, err error) {
	failures, pause := s.note(job.snapshotTarget, err)
	status := raft.SnapshotFinish
	if err != nil {
		status = raft.SnapshotFailure
		s.m.cfg.Logger.Info("snapshot was not delivered", slog.String("group", job.group.id.String()), slog.Uint64("to", uint64(job.to)),
			slog.Int("failures", failures), slog.Duration("next_after", pause), slog.Any("error", err))
	} else {
		job.group.snapsSent.Add(1)
	}
	g := job.group
	g.worker.enqueue(item{group: g, do: func(g *group) { g.node.ReportSnapshot(uint64(job.to), status) }})
}
