package multiraft

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// This file is replication mode `all`: a proposal is answered once every voter has applied it. The leader
// asks each voter to tell it when the index is applied, and the voter answers from its apply loop; nobody
// polls. Question and answer travel on the Raft streams as messages of the two types that Raft uses between
// itself and its own apply thread; they are taken out before Raft would see (and refuse) them.

// MissingVoterError says that a proposal for all voters was refused because some cannot answer; nothing
// was proposed.
type MissingVoterError struct {
	Group   shard.GroupID
	Missing []ident.ReplicaID
	Nodes   string // the same as node numbers, for people
}

// Error implements error.
func (e *MissingVoterError) Error() string {
	return fmt.Sprintf("multiraft: %s: no answer from %s", e.Group, e.Nodes)
}

// BehindError says that a command is committed, and applied at the leader, but not yet on all voters.
type BehindError struct {
	Group  shard.GroupID
	Behind []ident.ReplicaID
	Nodes  string // the same as node numbers, for people
}

// Error implements error.
func (e *BehindError) Error() string {
	return fmt.Sprintf("multiraft: %s: committed, not yet applied on %s", e.Group, e.Nodes)
}

// nodeNames prints replicas as the nodes they run on, for people; a replica that is not recorded keeps its id.
func (m *Manager) nodeNames(ids []ident.ReplicaID) string {
	var members []Member
	if m.cfg.Members != nil {
		members = m.cfg.Members()
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = fmt.Sprintf("replica %d", id)
		for _, member := range members {
			if member.Replica == id {
				names[i] = fmt.Sprintf("node %d", member.Node)
			}
		}
	}
	return strings.Join(names, ", ")
}

// peerApplied is what a group's other replicas have said about their applied indexes.
type peerApplied struct {
	mu      sync.Mutex // guards all below
	highest map[ident.ReplicaID]uint64
	changed chan struct{} // closed and replaced when a number rises
}

func newPeerApplied() *peerApplied {
	return &peerApplied{highest: make(map[ident.ReplicaID]uint64), changed: make(chan struct{})}
}

func (p *peerApplied) raise(id ident.ReplicaID, index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if index <= p.highest[id] {
		return
	}
	p.highest[id] = index
	close(p.changed)
	p.changed = make(chan struct{})
}

// behind returns which replicas have not applied index, and a channel that is closed at the next news.
func (p *peerApplied) behind(ids []uint64, self ident.ReplicaID, index uint64) ([]ident.ReplicaID, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var missing []ident.ReplicaID
	for _, raw := range ids {
		id := ident.ReplicaID(raw)
		if id != self && p.highest[id] < index {
			missing = append(missing, id)
		}
	}
	return missing, p.changed
}

// ProposeAll is Propose with an answer only once every voter has applied the command. It refuses at once
// with *MissingVoterError when a voter is silent. When the context ends first
// the error is *BehindError beside the result and index: the command is committed.
func (m *Manager) ProposeAll(ctx context.Context, id shard.GroupID, request ident.RequestID, data []byte) ([]byte, uint64, error) {
	g := m.groups[id]
	if g == nil {
		return nil, 0, fmt.Errorf("%w: %s", ErrUnknownGroup, id)
	}
	if g.leading.Load() {
		if missing := m.missingVoters(g); len(missing) > 0 {
			return nil, 0, &MissingVoterError{Group: id, Missing: missing, Nodes: m.nodeNames(missing)}
		}
	}
	result, index, err := m.Propose(ctx, id, request, data)
	if err != nil {
		return nil, 0, err
	}
	return result, index, m.awaitAll(ctx, g, index)
}

// missingVoters lists the voters that could not apply a command now. A learner is none, also when it is to vote once it has caught up: that
// may take long, and who gets its vote while a command waits is waited for like the others.
func (m *Manager) missingVoters(g *group) []ident.ReplicaID {
	var missing []ident.ReplicaID
	for _, raw := range g.members.Load().voters {
		if id := ident.ReplicaID(raw); !m.Live(id) {
			missing = append(missing, id)
		}
	}
	slices.Sort(missing)
	return missing
}

// askAgain is after how many ticks without news a voter is asked again: the question or its answer may have
// been lost.
const askAgain = 10

func (m *Manager) awaitAll(ctx context.Context, g *group, index uint64) error {
	for {
		behind, news := g.peers.behind(g.members.Load().voters, m.cfg.Replica, index)
		if len(behind) == 0 {
			return nil
		}
		for _, id := range behind {
			m.notify(g, id, raftpb.MsgStorageApply, index)
		}
		timer := m.cfg.Clock.NewTimer(askAgain * m.cfg.TickInterval)
		waiting := true
		for waiting {
			select {
			case <-news:
				behind, news = g.peers.behind(g.members.Load().voters, m.cfg.Replica, index)
				if len(behind) == 0 {
					timer.Stop()
					return nil
				}
			case <-timer.C():
				waiting = false
			case <-m.failed:
				timer.Stop()
				return m.behind(g, behind)
			case <-ctx.Done():
				timer.Stop()
				return m.behind(g, behind)
			}
		}
	}
}

func (m *Manager) behind(g *group, ids []ident.ReplicaID) error {
	if len(ids) == 0 {
		return nil
	}
	return &BehindError{Group: g.id, Behind: ids, Nodes: m.nodeNames(ids)}
}

// notify sends a notice about an applied index to a peer.
func (m *Manager) notify(g *group, to ident.ReplicaID, kind raftpb.MessageType, index uint64) {
	m.transport.Send(to, []transport.Message{g.message(&raftpb.Message{
		Type: kind.Enum(), To: new(uint64(to)), From: new(uint64(m.cfg.Replica)), Index: new(index),
	})})
}

// takeNotice handles a message that is a notice about an applied index and reports whether it was one.
func (m *Manager) takeNotice(g *group, message *raftpb.Message) bool {
	from := ident.ReplicaID(message.GetFrom())
	switch message.GetType() { //nolint:exhaustive // every other type is Raft's
	case raftpb.MsgStorageApply:
		g.observe(message.GetIndex(), func(applied uint64) {
			m.notify(g, from, raftpb.MsgStorageApplyResp, applied)
		})
		return true
	case raftpb.MsgStorageApplyResp:
		if run := message.GetCommit(); run != 0 {
			m.policy.setTight(from, message.GetReject())
			m.peers.beaten(from, run, m.cfg.Clock.Now())
			return true
		}
		g.peers.raise(from, message.GetIndex())
		return true
	}
	return false
}
