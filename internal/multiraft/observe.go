package multiraft

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// This file reads what metrics show and no decision depends on.

// Observation is what a group does on this node.
type Observation struct {
	Group        shard.GroupID
	Elections    uint64 // times this replica became leader since the start
	Waiting      int    // proposals that wait for their result
	WaitingBytes int64
	LogEntries   uint64 // kept in the log
	LogBytes     uint64
	Proposals    uint64        // to this replica that ended since the start
	Proposing    time.Duration // that they took together
	Latest       time.Duration // about what the latest of them took, zero when there was none
	// Proposals that were turned away since the start, because too many wait and because a live follower is too far behind.
	RefusedWaiting, RefusedLag uint64

	Snapshots SnapshotBytes // since the start
	Percent   int           // about what is done of a snapshot on its way, of several the one that is least far; -1 for none
}

// Observe reads all groups, without asking their workers.
func (m *Manager) Observe() []Observation {
	all := make([]Observation, len(m.order))
	percents := m.transfers.percents()
	for i, g := range m.order {
		one := Observation{Group: g.id, Elections: g.elections.Load(), LogBytes: g.log.Bytes()}
		if first, last := g.log.FirstIndex(), g.log.LastIndex(); last >= first {
			one.LogEntries = last - first + 1
		}
		one.Proposals, one.Proposing, one.Latest = g.proposed.read()
		one.RefusedWaiting, one.RefusedLag = g.refusedWaiting.Load(), g.refusedLag.Load()
		one.Snapshots, one.Percent = m.transfers.group(g.id), -1
		if percent, running := percents[g.id]; running {
			one.Percent = percent
		}
		g.mu.Lock()
		one.Waiting, one.WaitingBytes = g.waitingCount, g.waitingBytes
		g.mu.Unlock()
		all[i] = one
	}
	return all
}

// InboxItems counts what waits for the workers: messages, proposals, reads and results of writes.
func (m *Manager) InboxItems() int {
	total := 0
	for _, w := range m.workers {
		w.mu.Lock()
		total += len(w.inbox)
		w.mu.Unlock()
	}
	return total
}

// DroppedMessages counts Raft messages that found a full inbox.
func (m *Manager) DroppedMessages() uint64 { return m.stats.droppedMessages.Load() }

// RefusedMessages counts Raft messages, snapshots and forwarded commands of peers that no sound replica sends.
func (m *Manager) RefusedMessages() uint64 { return m.metrics.nonsense.Load() }

// LeaseReads counts reads that this replica answered as a leader from its lease, for itself and for others.
func (m *Manager) LeaseReads() uint64 { return m.stats.leaseReads.Load() }

// Truncated counts entries that were dropped from the fronts of the logs.
func (m *Manager) Truncated() uint64 { return m.stats.truncated.Load() }

// quorumAck is how long ago a leader last heard of so many voters that they and it are a majority; -1 for a
// replica that does not lead.
func (m *Manager) quorumAck(g *group, state raft.StateType) time.Duration {
	if state != raft.StateLeader {
		return -1
	}
	voters := g.confirmed.Conf.GetVoters()
	ages := make([]int64, 0, len(voters))
	for _, id := range voters {
		age := int64(0)
		if id != uint64(m.cfg.Replica) {
			age = m.peers.silence(ident.ReplicaID(id))
		}
		ages = append(ages, age)
	}
	if len(ages) == 0 {
		return -1
	}
	slices.Sort(ages)
	return time.Duration(ages[len(ages)/2]) * m.cfg.TickInterval
}

// silence is how many ticks ago a peer was heard, since the start when it never was.
func (p *peerClock) silence(id ident.ReplicaID) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now - p.last[id]
}
