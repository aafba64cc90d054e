package multiraft

import (
	"slices"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// This file is about replicas that are recorded as removed and still vote. Whoever ordered a removal judged who is alive before it was
// recorded; another removal, or a death, may have come since. So each leader judges again before it lets a replica go.

// affordable leaves out removals of live voters as long as those that stay would have no live majority: two nodes that are taken out at
// the same time, each of which could be spared alone, would stop the group for good. What is left out is done once others are back, or
// are out themselves. Who is promoted in the same step has caught up, and counts as alive.
func affordable(conf *raftpb.ConfState, promote, remove []*raftpb.ConfChangeSingle, live func(uint64) bool) []*raftpb.ConfChangeSingle {
	for {
		stay, alive := len(promote), len(promote)
		for _, id := range conf.GetVoters() {
			if concerns(remove, id) {
				continue
			}
			stay++
			if live(id) {
				alive++
			}
		}
		at := slices.IndexFunc(remove, func(c *raftpb.ConfChangeSingle) bool {
			return slices.Contains(conf.GetVoters(), c.GetNodeId()) && live(c.GetNodeId())
		})
		if alive*2 > stay || at < 0 {
			return remove
		}
		remove = slices.Delete(remove, at, at+1)
	}
}

// concerns reports whether one of the changes is about a replica.
func concerns(changes []*raftpb.ConfChangeSingle, id uint64) bool {
	return slices.ContainsFunc(changes, func(c *raftpb.ConfChangeSingle) bool { return c.GetNodeId() == id })
}

// leaves reports whether a replica is recorded as removed. It may vote until its groups can spare it.
func (w *worker) leaves(id uint64) bool {
	return slices.ContainsFunc(w.membersSeen, func(m Member) bool { return uint64(m.Replica) == id && m.Removed })
}

// reluctance is how little a replica should lead here: one that leaves least of all. Two of them would hand a group to and fro, for neither
// lets itself go.
func (w *worker) reluctance(id uint64) int {
	if w.leaves(id) {
		return drains + 1
	}
	return w.m.policy.reluctance(ident.ReplicaID(id))
}
