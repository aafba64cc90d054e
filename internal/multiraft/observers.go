package multiraft

import (
	"slices"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// This file is about replicas without a vote. A member may observe some groups: its replica there is a learner for good. It gets
// every entry and answers every read, also linearizable ones, so that the node serves all statements; but no commit and no election
// waits for it, and it never leads. The record of the members says who observes what.

// observing says which replicas observe which groups, for readers outside the workers. A published one is never changed.
type observing map[shard.GroupID][]ident.ReplicaID

// noteObservers takes over what the members' records say of observers.
func (w *worker) noteObservers(members []Member) {
	var all observing
	for i := range members {
		for _, id := range members[i].Observes {
			if all == nil {
				all = make(observing)
			}
			all[id] = append(all[id], members[i].Replica)
		}
	}
	w.m.observing.Store(&all)
}

// observer reports whether a replica is to have no vote in a group, as far as this node knows.
func (m *Manager) observer(group shard.GroupID, replica uint64) bool {
	all := m.observing.Load()
	return all != nil && slices.Contains((*all)[group], ident.ReplicaID(replica))
}

func (w *worker) observer(group shard.GroupID, replica uint64) bool {
	return w.m.observer(group, replica)
}

// onlyObservers reports whether no learner is on its way to a vote.
func (w *worker) onlyObservers(group shard.GroupID, learners []uint64) bool {
	return !slices.ContainsFunc(learners, func(id uint64) bool { return !w.observer(group, id) })
}

// demotion is the step by which one voter becomes an observer: one at a time, the one with the lowest id first, only while a
// voter stays that keeps its vote, and only while most of those who stay are live: a member may have died since its vote was taken.
func demotion(group shard.GroupID, conf *raftpb.ConfState, members []Member, live func(uint64) bool) []*raftpb.ConfChangeSingle {
	first, stays := uint64(0), false
	for i := range members {
		id := uint64(members[i].Replica)
		switch {
		case members[i].Removed || !slices.Contains(conf.GetVoters(), id):
		case !members[i].observes(group):
			stays = true
		case first == 0 || id < first:
			first = id
		}
	}
	if first == 0 || !stays {
		return nil
	}
	stay, alive := 0, 0
	for _, id := range conf.GetVoters() {
		if id == first {
			continue
		}
		stay++
		if live(id) {
			alive++
		}
	}
	if 2*alive <= stay {
		return nil
	}
	return []*raftpb.ConfChangeSingle{{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: new(first)}}
}
