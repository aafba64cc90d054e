package multiraft

import (
	"slices"

	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
)

// This file leaves out messages that tell nothing and lets others share a frame. Raft tells every follower of each
// commit at once, in an append without entries, and each follower acknowledges that. With little to do, these are half
// of all frames, and a frame costs a write, a wake-up and two reads, more than what is in it. So
//
//   - a leader leaves out an empty append when the same pass sends the follower a later one of the group;
//   - a leader keeps back the empty appends of a commit that it applies itself, until that is done and its clients have
//     had the answer to which their next commands are due, or until another frame goes to the follower, or for a tick;
//   - a follower does not acknowledge an empty append that tells of a commit when it has acknowledged its log before.
//
// The last could leave out what the leader waits for, when an earlier acknowledgement was lost: then it sends another
// empty append after its next heartbeat, which tells of no new commit and is acknowledged.

// acked is the newest acknowledgement that a follower has given.
type acked struct {
	term, leader, index uint64
}

// isEmptyAppend reports whether a message is an append without entries.
func isEmptyAppend(m *raftpb.Message) bool {
	return m.GetType() == raftpb.MsgApp && len(m.Entries) == 0
}

// hearCommit notes that a message tells of a commit and of nothing else.
func (g *group) hearCommit(m *raftpb.Message) {
	if m.GetType() != raftpb.MsgApp || m.GetCommit() <= g.heard {
		return
	}
	g.heard = m.GetCommit()
	if len(m.Entries) == 0 {
		g.tacit++
	}
}

// isTacit reports whether an answer can be left out: it acknowledges, to a leader that only told of a commit, what was
// acknowledged to it before.
func (g *group) isTacit(m *raftpb.Message) bool {
	if m.GetType() != raftpb.MsgAppResp || m.GetReject() {
		return false
	}
	now := acked{term: m.GetTerm(), leader: m.GetTo(), index: m.GetIndex()}
	if now.term == g.acked.term && now.leader == g.acked.leader && now.index <= g.acked.index {
		if g.tacit > 0 {
			g.tacit--
			return true
		}
		return false
	}
	g.acked = now
	return false
}

// isOutdone reports whether a later message of the same pass tells the follower all that the empty append at this place
// does.
func isOutdone(messages []*raftpb.Message, at int) bool {
	m := messages[at]
	for _, later := range messages[at+1:] {
		if later.GetType() == raftpb.MsgApp && later.GetTo() == m.GetTo() && later.GetTerm() == m.GetTerm() &&
			later.GetCommit() >= m.GetCommit() && later.GetIndex() >= m.GetIndex() {
			return true
		}
	}
	return false
}

// keepBack keeps an empty append until the group's apply task is done, and reports whether it did: only where there is
// such a task, the end of which makes a pass.
func (w *worker) keepBack(g *group, m *raftpb.Message, rd *raft.Ready) bool {
	if len(rd.CommittedEntries) == 0 || !isEmptyAppend(m) {
		return false
	}
	to := ident.ReplicaID(m.GetTo())
	w.held[to] = append(w.held[to], g.message(m))
	return true
}

// withHeld puts what was kept back for a peer before what goes to it now.
func (w *worker) withHeld(to ident.ReplicaID, messages []transport.Message) []transport.Message {
	held := w.held[to]
	if len(held) == 0 {
		return messages
	}
	delete(w.held, to)
	return append(held, messages...)
}

// keepMessages is up to how many messages' room is kept for a peer's next frame.
const keepMessages = 1024

// transmit hands the collected messages to the transport, one call for each peer, in the order of replica
// ids: the same inputs make the same outputs. What was kept back goes along, or where it is released by itself.
func (w *worker) transmit() {
	release := w.release
	w.release = false
	if release {
		for to := range w.held {
			w.out.know(to)
		}
	}
	for _, to := range w.out.peers {
		messages := w.out.messages[to]
		if len(messages) == 0 && !release {
			continue
		}
		if all := w.withHeld(to, messages); len(all) > 0 {
			w.m.transport.Send(to, all)
		}
		if clear(messages); cap(messages) > keepMessages {
			messages = nil
		}
		w.out.messages[to] = messages[:0]
	}
}

// know adds a peer to the list of those that messages may be for.
func (o *output) know(to ident.ReplicaID) {
	if at, known := slices.BinarySearch(o.peers, to); !known {
		o.peers = slices.Insert(o.peers, at, to)
	}
}
