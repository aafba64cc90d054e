package multiraft

import "go.etcd.io/raft/v3"

// knowsCommitted reports whether the commit index of this replica covers all that was acknowledged, if it leads: an entry of
// its own term is committed. Before that a leader may know of less than its predecessor acknowledged, and so may a lone
// voter that starts again: how far its log is committed is written behind the entries. Raft asks that of leaders with
// followers only. Reads wait meanwhile.
func (g *group) knowsCommitted() bool {
	status := g.node.BasicStatus()
	if status.RaftState != raft.StateLeader || g.ownTerm == status.GetTerm() {
		return true
	}
	term, err := g.log.Term(status.GetCommit())
	if err != nil || term != status.GetTerm() {
		return false
	}
	g.ownTerm = term
	return true
}
