package multiraft

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// This file says no early. A proposal is refused before it enters the log when too many wait for a result,
// when they hold too many bytes, or when a live follower is so far behind that more would only make it need
// a snapshot. A follower that has fallen silent does not slow anybody, nor does one of which a new leader does not know
// yet how far it is: the one that has just lost its place is both.

// pressureEvery is how often the followers' lag is looked at, in ticks.
const pressureEvery = 4

// Refusals counts, since the start, what was turned away and why.
type Refusals struct {
	NotLeader   uint64 // asked the wrong replica
	Waiting     uint64 // too many proposals, or bytes, wait for a result
	FollowerLag uint64 // a live follower is too far behind
	TooLarge    uint64 // over the size limit
	DiskFull    uint64 // hardly any room is left
}

// errFollowerLag is ErrOverloaded with another reason.
var errFollowerLag error = followerLagError{}

type followerLagError struct{}

// Error implements error.
func (followerLagError) Error() string { return "multiraft: a live replica is too far behind" }

// Is makes it an ErrOverloaded.
func (followerLagError) Is(target error) bool { return target == ErrOverloaded }

type refusalCounters struct {
	notLeader, waiting, followerLag, tooLarge atomic.Uint64
}

// Refusals returns the counters.
func (m *Manager) Refusals() Refusals {
	return Refusals{
		NotLeader: m.stats.refused.notLeader.Load(), Waiting: m.stats.refused.waiting.Load(),
		FollowerLag: m.stats.refused.followerLag.Load(), TooLarge: m.stats.refused.tooLarge.Load(),
		DiskFull: m.room.refused.Load(),
	}
}

// admit registers a proposal, or says why not.
func (m *Manager) admit(id shard.GroupID, request ident.RequestID, data []byte) (*group, *waiter, error) {
	g := m.groups[id]
	switch {
	case g == nil:
		return nil, nil, fmt.Errorf("%w: %s", ErrUnknownGroup, id)
	case len(data) > m.cfg.MaxProposal:
		m.stats.refused.tooLarge.Add(1)
		return nil, nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), m.cfg.MaxProposal)
	case !g.leading.Load():
		m.stats.refused.notLeader.Add(1)
		return nil, nil, &NotLeaderError{Group: id, Leader: ident.ReplicaID(g.lead.Load())}
	case g.pressed.Load():
		m.stats.refused.followerLag.Add(1)
		g.refusedLag.Add(1)
		return nil, nil, errFollowerLag
	}
	if err := m.room.admits(data); err != nil {
		return nil, nil, err
	}
	w, err := g.register(request, len(data), &m.cfg)
	if err != nil {
		if errors.Is(err, ErrOverloaded) {
			m.stats.refused.waiting.Add(1)
			g.refusedWaiting.Add(1)
		}
		return nil, nil, err
	}
	return g, w, nil
}

// feelPressure looks how far the slowest live follower of a led group is behind. Proposals are refused from
// MaxFollowerLag or MaxFollowerBytes on, because so much is kept for it, and taken again once half of that is caught up, so that the answer does not flicker.
func (w *worker) feelPressure(g *group) {
	if !g.leading.Load() {
		g.pressed.Store(false)
		return
	}
	first, last := g.log.FirstIndex(), g.log.LastIndex()
	slowest := last
	g.node.WithProgress(func(id uint64, kind raft.ProgressType, progress tracker.Progress) {
		// A learner catches up by itself, and so does a follower that is being sent a snapshot. To one that needs a snapshot, because the log
		// begins behind what it has, it is of no use that others wait, not even while it can take none: its disk may be full.
		if kind == raft.ProgressTypePeer && id != uint64(w.m.cfg.Replica) &&
			progress.State != tracker.StateSnapshot && progress.Match > 0 && progress.Match+1 >= first &&
			w.m.peers.heardWithin(ident.ReplicaID(id), w.m.cfg.ElectionTicks) {
			slowest = min(slowest, progress.Match)
		}
	})
	entries, bytes := w.m.cfg.MaxFollowerLag, w.m.cfg.followerBytes(g.id)
	if g.pressed.Load() {
		entries, bytes = entries/2, bytes/2
	}
	g.pressed.Store(last-slowest > entries || lagBytes(g.log, slowest) > bytes)
}

// lagBytes is about how many bytes of a log are behind an index.
func lagBytes(log GroupLog, index uint64) uint64 {
	first, last := log.FirstIndex(), log.LastIndex()
	if last < first || index >= last {
		return 0
	}
	return uint64(float64(log.Bytes()) * float64(last-index) / float64(last-first+1))
}

// Propose replicates a command and returns its result once it is applied here. Only the leader's replica
// proposes; others answer *NotLeaderError. Other errors: ErrUnknownGroup, ErrStopped, ErrOverloaded, ErrDiskFull and
// ErrTooLarge (nothing was proposed), ErrOutcomeUnknown (also when the context ends first).
func (m *Manager) Propose(ctx context.Context, id shard.GroupID, request ident.RequestID, data []byte) ([]byte, uint64, error) {
	g, w, err := m.admit(id, request, data)
	if err != nil {
		return nil, 0, err
	}
	asked := m.cfg.Clock.Now()
	g.worker.enqueue(item{group: g, proposal: newProposal(request, data)})
	result, index, err := g.await(ctx, w)
	took := m.cfg.Clock.Now().Sub(asked)
	m.metrics.propose[id.Class()].Observe(took.Seconds())
	g.proposed.add(took)
	return result, index, err
}
