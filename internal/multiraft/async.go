package multiraft

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// This file is the engine without waiting, for a driver that moves it with Pump on one goroutine and would
// never come back from Propose or Barrier. What it hands out is looked at between two pumps.

// Submitted is a proposal whose result is looked for and not waited for.
type Submitted struct {
	replica *replica
	w       *waiter
	end     *proposalResult
}

// Submit is Propose without waiting. It returns the same errors where nothing was proposed; the result of
// what was proposed is found by Poll.
func (m *Manager) Submit(id shard.GroupID, request ident.RequestID, data []byte) (*Submitted, error) {
	g, w, err := m.admit(id, request, data)
	if err != nil {
		return nil, err
	}
	g.worker.enqueue(item{group: g, proposal: newProposal(request, data)})
	return &Submitted{replica: g.replica, w: w}, nil
}

// Submit is Propose without waiting, as that of Manager.
func (s *Solo) Submit(id shard.GroupID, request ident.RequestID, data []byte) (*Submitted, error) {
	r, w, err := s.queueUp(id, request, data)
	if err != nil {
		return nil, err
	}
	return &Submitted{replica: r, w: w}, nil
}

// Poll returns how the proposal ended, as Propose does; done is false while it has not. It can be repeated.
func (s *Submitted) Poll() (result []byte, index uint64, done bool, err error) {
	if s.end == nil {
		select {
		case end := <-s.w.done:
			s.end = &end
		default:
			return nil, 0, false, nil
		}
	}
	return s.end.data, s.end.index, true, s.end.err
}

// Forget gives up: the proposal may still be applied, and nobody waits for its result.
func (s *Submitted) Forget() {
	if s.end == nil {
		s.replica.drop(s.w)
	}
}

// SubmittedAll is a proposal for all voters whose result is looked for and not waited for.
type SubmittedAll struct {
	*Submitted
	m     *Manager
	group *group
	asked time.Time // when the voters that are behind were last asked
}

// SubmitAll is ProposeAll without waiting, as Submit is Propose.
func (m *Manager) SubmitAll(id shard.GroupID, request ident.RequestID, data []byte) (*SubmittedAll, error) {
	g := m.groups[id]
	if g == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknownGroup, id)
	}
	if g.leading.Load() {
		if missing := m.missingVoters(g); len(missing) > 0 {
			return nil, &MissingVoterError{Group: id, Missing: missing, Nodes: m.nodeNames(missing)}
		}
	}
	s, err := m.Submit(id, request, data)
	if err != nil {
		return nil, err
	}
	return &SubmittedAll{Submitted: s, m: m, group: g}, nil
}

// Poll returns how the proposal ended, as ProposeAll does; done is false while it has not, also while voters are behind.
func (s *SubmittedAll) Poll() (result []byte, index uint64, done bool, err error) {
	result, index, done, err = s.Submitted.Poll()
	if !done || err != nil {
		return nil, 0, done, err
	}
	behind, _ := s.group.peers.behind(s.group.members.Load().voters, s.m.cfg.Replica, index)
	if len(behind) == 0 {
		return result, index, true, nil
	}
	if now := s.m.cfg.Clock.Now(); s.asked.IsZero() || now.Sub(s.asked) >= askAgain*s.m.cfg.TickInterval || now.Before(s.asked) {
		s.asked = now
		for _, id := range behind {
			s.m.notify(s.group, id, raftpb.MsgStorageApply, index)
		}
	}
	if s.m.Failure() != nil {
		return result, index, true, s.m.behind(s.group, behind)
	}
	return nil, 0, false, nil
}

// Forget gives up. What is committed by then is returned as ProposeAll does when its context ends; done is false when
// nobody knows.
func (s *SubmittedAll) Forget() (result []byte, index uint64, done bool, err error) {
	result, index, done, err = s.Submitted.Poll()
	if !done {
		s.Submitted.Forget()
	}
	if !done || err != nil {
		return nil, 0, done, err
	}
	behind, _ := s.group.peers.behind(s.group.members.Load().voters, s.m.cfg.Replica, index)
	return result, index, true, s.m.behind(s.group, behind)
}

// Reading is a linearizable read that is not waited for.
type Reading struct {
	m       *Manager
	group   *group
	request *readRequest
	answer  *readIndex
}

// BeginRead is Barrier without waiting. The error is ErrUnknownGroup.
func (m *Manager) BeginRead(id shard.GroupID) (*Reading, error) {
	return m.beginRead(id, &readRequest{done: make(chan readIndex, 1)})
}

// BeginLeaseRead is LeaseBarrier without waiting, as BeginRead is Barrier.
func (m *Manager) BeginLeaseRead(id shard.GroupID) (*Reading, error) {
	return m.beginRead(id, &readRequest{done: make(chan readIndex, 1), lease: true})
}

func (m *Manager) beginRead(id shard.GroupID, request *readRequest) (*Reading, error) {
	g := m.groups[id]
	if g == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknownGroup, id)
	}
	r := &Reading{m: m, group: g, request: request}
	g.worker.enqueue(item{group: g, read: r.request})
	return r, nil
}

// Poll reports whether this replica has applied everything that was acknowledged before BeginRead, and the
// index that took; done is false while it has not. The error is ErrStopped.
func (r *Reading) Poll() (index uint64, done bool, err error) {
	if r.answer == nil {
		select {
		case answer := <-r.request.done:
			r.answer = &answer
		default:
			if failure := r.m.Failure(); failure != nil {
				return 0, true, errors.Join(ErrStopped, failure)
			}
			return 0, false, nil
		}
	}
	if r.answer.err != nil {
		return 0, true, r.answer.err
	}
	return r.answer.index, r.group.visible.Load() >= r.answer.index, nil
}

// Glance is what a driver may look at between two pumps without disturbing anything. Its slices are not the caller's to change.
type Glance struct {
	Term, Commit, Applied  uint64
	FirstIndex, LastIndex  uint64
	Leader                 ident.ReplicaID // zero when unknown
	Leading, Voter, Joint  bool
	Voters, Learners       []ident.ReplicaID
	SnapshotsSent          uint64 // since the start
	SnapshotsInstalled     uint64 // since the start
	LeadershipBeingMovedTo ident.ReplicaID
}

// Standing is the part of a Glance that tells whether it is worth another.
type Standing struct {
	Term, Applied uint64
	Leading       bool
}

// Standings appends how each group stands, in the order of Config.Groups.
func (m *Manager) Standings(to []Standing) []Standing {
	for _, g := range m.order {
		to = append(to, Standing{Term: g.term.Load(), Applied: g.visible.Load(), Leading: g.leading.Load()})
	}
	return to
}

// Standings appends how each group stands, in the order of Config.Groups. Terms do not count without consensus.
func (s *Solo) Standings(to []Standing) []Standing {
	for _, r := range s.order {
		to = append(to, Standing{Applied: r.visible.Load(), Leading: true})
	}
	return to
}

// Glance describes a group from the goroutine that drives Pump; it must not be mixed with Start. The
// zero value is returned for a group that is unknown.
func (m *Manager) Glance(id shard.GroupID) Glance {
	g := m.groups[id]
	if g == nil {
		return Glance{}
	}
	status := g.node.BasicStatus()
	conf, members := g.confirmed.Conf, g.members.Load()
	return Glance{
		Term: status.GetTerm(), Commit: status.GetCommit(), Applied: g.visible.Load(),
		FirstIndex: g.log.FirstIndex(), LastIndex: g.log.LastIndex(),
		Leader: ident.ReplicaID(status.Lead), Leading: status.RaftState == raft.StateLeader,
		Voter: isVoter(conf, uint64(m.cfg.Replica)), Joint: isJoint(conf),
		Voters: members.voterIDs, Learners: members.learnerIDs,
		SnapshotsSent: g.snapsSent.Load(), SnapshotsInstalled: g.snapsTaken.Load(),
		LeadershipBeingMovedTo: ident.ReplicaID(status.LeadTransferee),
	}
}
