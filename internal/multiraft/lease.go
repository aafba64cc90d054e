package multiraft

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// This file lets a leader answer reads from its lease. When a majority has confirmed the leader (Raft's read index), the
// confirmation holds for a moment: whoever confirmed has just heard from the leader, and from then on neither votes for
// another one nor stands itself for an election timeout. So reads that ask for no more than that are answered at
// once, at the leader; a follower asks the leader, and no majority is asked. A lease is counted from before the majority
// was asked, on the clock that also runs while the process is stopped, and is shorter than what a voter waits, by
// the ticks that a busy voter may count late and a quarter of the rest for clocks that run unalike.
//
// A voter that was just started has forgotten whom it heard, so it votes for nobody as long as a lease may last. Votes for
// a leadership that is handed over are given at any time; a leader that has ever offered its place has no lease
// in that term. An operator's order to stand for election asks for the leader's place in the same way without offering
// it: right after CLUSTER TRIGGER ELECTION, a leader that only some of the voters hear may answer one lease too long.
//
// Nothing else rests on leases: reads are linearizable without them unless their request asks for this level.

// leaseMark is the first byte of the context of a read index request that may be answered from the lease.
const leaseMark = 'l'

// lease is a leader's, with its worker as its owner.
type lease struct {
	until  time.Time // zero for none
	barred uint64    // the term in which this replica has offered its place
}

// leaseTicks is how long a voter surely keeps to the leader that it has just heard.
func (c *Config) leaseTicks() int { return c.ElectionTicks - c.HeartbeatTicks }

// leaseTime is how long a confirmation of a leader holds.
func (c *Config) leaseTime() time.Duration {
	return time.Duration(c.leaseTicks()) * c.TickInterval * 3 / 4
}

// LeaseBarrier is Barrier with the leader's lease in place of a majority, while there is one.
func (m *Manager) LeaseBarrier(ctx context.Context, id shard.GroupID) (uint64, error) {
	return m.barrier(ctx, id, &readRequest{done: make(chan readIndex, 1), lease: true})
}

// LeaseBarrier is Barrier: there is nobody to ask.
func (s *Solo) LeaseBarrier(ctx context.Context, id shard.GroupID) (uint64, error) {
	return s.Barrier(ctx, id)
}

// barrier waits for the answer to a read request, and for its index to be applied here.
func (m *Manager) barrier(ctx context.Context, id shard.GroupID, read *readRequest) (uint64, error) {
	g := m.groups[id]
	if g == nil {
		return 0, fmt.Errorf("%w: %s", ErrUnknownGroup, id)
	}
	g.worker.enqueue(item{group: g, read: read})
	ended, late := clock.Ends(ctx)
	select {
	case answer := <-read.done:
		if answer.err != nil {
			return 0, answer.err
		}
		return answer.index, g.waitApplied(ctx, answer.index)
	case <-m.failed:
		return 0, fmt.Errorf("%w: %w", ErrStopped, m.failure)
	case <-ended:
	case <-late:
	}
	return 0, ctx.Err()
}

// leaseHolds reports whether this replica leads and a majority has confirmed it a moment ago.
func (g *group) leaseHolds(status raft.BasicStatus, now time.Time) bool {
	return status.RaftState == raft.StateLeader && g.leading.Load() && status.LeadTransferee == 0 &&
		g.lease.barred != status.GetTerm() && now.Before(g.lease.until)
}

// serveLease answers the waiting reads that a lease is good enough for, while there is one, and returns the time. A
// leader's answers to other replicas are only given so.
func (w *worker) serveLease(g *group) time.Time {
	now := w.m.cfg.Clock.Now()
	status := g.node.BasicStatus()
	leads := status.RaftState == raft.StateLeader
	holds := g.leaseHolds(status, now)
	kept := g.reads[:0]
	for _, r := range g.reads {
		switch {
		case holds && r.lease:
			g.tell(r, readIndex{index: status.GetCommit()})
			w.m.stats.leaseReads.Add(1)
		case r.remote == nil || leads:
			kept = append(kept, r)
		}
		// A question of another replica is dropped when this one does not lead: the asker asks the next leader.
	}
	clear(g.reads[len(kept):])
	g.reads = kept
	return now
}

// renew counts a lease from when the majority was asked.
func (g *group) renew(asked time.Time, duration time.Duration) {
	if until := asked.Add(duration); g.leading.Load() && until.After(g.lease.until) {
		g.lease.until = until
	}
}

// tell answers a read, here or at the replica that asked.
func (g *group) tell(r *readRequest, answer readIndex) {
	if r.remote == nil {
		r.done <- answer
		return
	}
	if answer.err == nil {
		status := g.node.BasicStatus()
		g.worker.post(g, &raftpb.Message{
			Type: raftpb.MsgReadIndexResp.Enum(), From: new(status.ID), To: new(r.remote.GetFrom()), Term: new(status.GetTerm()),
			Index: new(answer.index), Entries: r.remote.GetEntries(),
		})
	}
}

// takeLeaseRead takes a question of another replica that may be answered from the lease. It reports whether it was one;
// Raft need not see it then.
func (w *worker) takeLeaseRead(g *group, m *raftpb.Message) bool {
	if m.GetType() != raftpb.MsgReadIndex || !g.leading.Load() || len(m.GetEntries()) != 1 || !isLeaseContext(m.GetEntries()[0].GetData()) {
		return false
	}
	g.reads = append(g.reads, &readRequest{lease: true, remote: m})
	return true
}

// noteHeard notes that a leader was heard: until a lease is surely over, this replica does not stand against it.
func (g *group) noteHeard(m *raftpb.Message, tick int) {
	switch m.GetType() { //nolint:exhaustive // only leaders send these
	case raftpb.MsgHeartbeat, raftpb.MsgApp, raftpb.MsgSnap:
		g.ledAt, g.unled = tick, 0
	}
}

func isLeaseContext(context []byte) bool { return len(context) == 9 && context[0] == leaseMark }

// keepsPromise reports whether a vote must not be asked for or given yet, since this replica may have confirmed a
// leader just before it was started. A leadership that is handed over is voted for at any time.
func (w *worker) keepsPromise(m *raftpb.Message) bool {
	kind := m.GetType()
	return (kind == raftpb.MsgVote || kind == raftpb.MsgPreVote) && w.tick < w.m.cfg.leaseTicks() && len(m.GetContext()) == 0
}
