package multiraft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// group is the Raft side of one replica. Its worker owns every field except the atomics, which others read.
type group struct {
	*replica
	log    GroupLog
	node   *raft.RawNode
	worker *worker
	place  int  // in Config.Groups
	dirty  bool // the worker has it on its list of groups to look at

	// What this replica's state contains, as the apply loop last told: the metadata of a snapshot that
	// Raft would announce.
	confirmed AppliedState

	proposals []*proposal        // admitted, not yet given to Raft
	reads     []*readRequest     // waiting for a read index batch
	batches   map[uint64]*reads  // asked of Raft, by number
	staged    map[uint64]*staged // received snapshots not yet decided on, by index
	install   *raftpb.Message    // the storage-append message of the snapshot being installed, or nil

	lead    atomic.Uint64 // replica id of the leader, zero when unknown
	term    atomic.Uint64
	leading atomic.Bool
	pressed atomic.Bool                  // a live follower is too far behind; proposals are refused
	members atomic.Pointer[groupMembers] // as of confirmed
	peers   *peerApplied                 // what other replicas say they have applied

	handed    uint64 // last entry that Raft has given out to be written, and none that a peer can know of is behind it
	refusedAt int    // tick of the last line about a refused message, zero before

	acked acked  // what this replica has acknowledged as a follower
	heard uint64 // highest commit index that a leader told of
	tacit int    // messages of this pass that told of a commit only

	quiet      quiet
	agrees     bool // its members were the recorded ones when this was last looked at, and the record is the same since
	lease      lease
	succession succession
	ledAt      int    // tick at which a leader was last heard
	unled      int    // ticks of being awake since then
	ledSince   int    // tick at which this replica was last elected
	ownTerm    uint64 // the last term of which this replica, as its leader, has committed an entry
	skipTicks  int    // ticks that Raft does not see, see alignHeartbeats

	proposed latency // of the proposals to this replica

	// Proposals that were turned away because too many wait, or for a follower's sake.
	refusedWaiting, refusedLag atomic.Uint64

	elections   atomic.Uint64 // times this replica became leader
	snapsSent   atomic.Uint64 // snapshots delivered to peers
	snapsTaken  atomic.Uint64 // snapshots installed here
	snapIndex   atomic.Uint64 // of the last snapshot delivered or installed, zero for none
	transferred int           // tick at which leadership was last handed over by the balancer
}

// readRequest asks for an index at which a read is linearizable.
type readRequest struct {
	done   chan readIndex  // has room for the one answer
	lease  bool            // the leader's lease is enough
	remote *raftpb.Message // the question of another replica, which is answered in place of done
}

type readIndex struct {
	index uint64
	err   error
}

// reads is one read index request to Raft that answers many callers.
type reads struct {
	requests []*readRequest
	asked    int // tick
	at       time.Time
}

// groupMembers is a group's configuration for readers outside the worker.
type groupMembers struct {
	voters, learners     []uint64
	voterIDs, learnerIDs []ident.ReplicaID // the same
}

// confirm takes over what the state contains now. It runs on the worker.
func (g *group) confirm(state AppliedState) {
	if old := g.members.Load(); old == nil || g.confirmed.Conf != state.Conf {
		voters, learners := state.Conf.GetVoters(), state.Conf.GetLearners()
		g.members.Store(&groupMembers{
			voters: voters, learners: learners, voterIDs: replicaIDs(voters), learnerIDs: replicaIDs(learners),
		})
	}
	g.confirmed = state
}

// everybody lists the voters, and the learners behind them.
func (g *group) everybody() []uint64 {
	conf := g.confirmed.Conf
	if len(conf.GetLearners()) == 0 {
		return conf.GetVoters()
	}
	return slices.Concat(conf.GetVoters(), conf.GetLearners())
}

// groupStorage is what Raft reads of a group: entries and hard state from the log, membership from the state.
type groupStorage struct{ g *group }

// InitialState implements raft.Storage.
func (s groupStorage) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	hard := s.g.log.HardState()
	conf := s.g.confirmed.Conf
	if hard == (raftlog.HardState{}) {
		return nil, conf, nil
	}
	return &raftpb.HardState{Term: new(hard.Term), Vote: new(hard.Vote), Commit: new(hard.Commit)}, conf, nil
}

// Entries implements raft.Storage.
func (s groupStorage) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	entries, err := s.g.log.Entries(lo, hi, maxSize)
	if err != nil && !errors.Is(err, raft.ErrCompacted) && !errors.Is(err, raft.ErrUnavailable) {
		panic(unreadable{err})
	}
	return entries, err
}

// unreadable is the panic that carries an error of reading the log through Raft, which knows nothing better than to
// panic itself. The worker catches it.
type unreadable struct{ err error }

// Term implements raft.Storage.
func (s groupStorage) Term(i uint64) (uint64, error) { return s.g.log.Term(i) }

// LastIndex implements raft.Storage.
func (s groupStorage) LastIndex() (uint64, error) { return s.g.log.LastIndex(), nil }

// FirstIndex implements raft.Storage.
func (s groupStorage) FirstIndex() (uint64, error) { return s.g.log.FirstIndex(), nil }

// Snapshot implements raft.Storage. It announces the applied state; the rows themselves are read when the
// snapshot is sent, at that index or a later one.
func (s groupStorage) Snapshot() (*raftpb.Snapshot, error) {
	state := s.g.confirmed
	if state.Index == 0 {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		ConfState: state.Conf, Index: new(state.Index), Term: new(state.Term),
	}}, nil
}

// openGroup brings log and state of one group together and starts its Raft instance. The state was
// loaded before.
func openGroup(r *replica, w *worker, m *Manager) (*group, error) {
	g := &group{
		replica: r, log: m.cfg.Log.Group(r.id), worker: w,
		batches: make(map[uint64]*reads), staged: make(map[uint64]*staged), peers: newPeerApplied(),
	}
	g.confirm(r.state)
	if err := reconcileLog(m.cfg.Log, g.log, r); err != nil {
		return nil, err
	}
	node, err := raft.NewRawNode(&raft.Config{
		ID:                        uint64(m.cfg.Replica),
		ElectionTick:              m.cfg.electionTicks(r.id),
		HeartbeatTick:             m.cfg.HeartbeatTicks,
		Storage:                   groupStorage{g},
		Applied:                   r.state.Index,
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             maxSizePerMessage,
		MaxCommittedSizePerReady:  maxCommittedPerReady,
		MaxUncommittedEntriesSize: maxUncommittedBytes,
		MaxInflightMsgs:           maxInflightMessages,
		MaxInflightBytes:          maxInflightBytes,
		CheckQuorum:               true,
		PreVote:                   true,
		StepDownOnRemoval:         true,
		DisableProposalForwarding: true,
		Logger:                    raftLogger{m.cfg.Logger.With(slog.String("group", r.id.String()))},
	})
	if err != nil {
		return nil, fmt.Errorf("start raft of %s: %w", r.id, err)
	}
	g.node, g.handed = node, g.log.LastIndex()
	g.term.Store(node.BasicStatus().GetTerm())
	return g, nil
}

// reconcileLog makes the log agree with the stored state after a crash. The state may be ahead of the log
// when the node stopped between installing a snapshot and recording it: then the log restarts after the
// state. The commit index may be behind the state, because it is not synced by itself; what was applied
// was committed.
func reconcileLog(log Log, g GroupLog, r *replica) error {
	hard, state := g.HardState(), r.state
	update := raftlog.Update{Group: r.id}
	term, err := g.Term(state.Index)
	behind := err != nil || term != state.Term
	if behind && state.Index < g.Marker().Index {
		return &raftlog.DamageError{Groups: []shard.GroupID{r.id}, Reason: fmt.Sprintf(
			"the state ends at %d, but the log starts after %d: entries between them are missing", state.Index, g.Marker().Index)}
	}
	if behind {
		update.Reset = &raftlog.Marker{Index: state.Index, Term: state.Term}
	}
	fixed := hard
	if fixed.Term < state.Term {
		fixed.Term, fixed.Vote = state.Term, 0
	}
	fixed.Commit = max(fixed.Commit, state.Index)
	if update.Reset == nil && fixed == hard {
		return nil
	}
	update.Hard = &fixed
	if err := log.Append([]raftlog.Update{update}, true); err != nil {
		return fmt.Errorf("align log of %s with its state: %w", r.id, err)
	}
	return nil
}

// refusal says why Raft would drop a proposal now.
func (g *group) refusal() error {
	status := g.node.BasicStatus()
	if status.RaftState != raft.StateLeader {
		return &NotLeaderError{Group: g.id, Leader: ident.ReplicaID(status.Lead)}
	}
	if status.LeadTransferee != 0 {
		return &NotLeaderError{Group: g.id}
	}
	return ErrOverloaded
}

// flushReads asks Raft for one read index that serves every waiting read.
func (g *group) flushReads(next func() uint64, tick int) {
	if len(g.reads) == 0 {
		return
	}
	now := g.worker.serveLease(g)
	if !g.knowsCommitted() {
		return
	}
	if len(g.reads) == 0 || len(g.batches) >= maxReadBatches || g.node.BasicStatus().Lead == 0 {
		return
	}
	number := next()
	g.batches[number] = &reads{requests: g.reads, asked: tick, at: now}
	var context []byte
	if !g.leading.Load() && !slices.ContainsFunc(g.reads, func(r *readRequest) bool { return !r.lease }) {
		context = []byte{leaseMark}
	}
	g.reads = nil
	g.node.ReadIndex(binary.BigEndian.AppendUint64(context, number))
}

// answerReads resolves the batches that Raft has answered.
func (g *group) answerReads(states []raft.ReadState) {
	for _, state := range states {
		context := state.RequestCtx
		if isLeaseContext(context) {
			context = context[1:]
		}
		if len(context) != 8 {
			continue
		}
		number := binary.BigEndian.Uint64(context)
		batch := g.batches[number]
		if batch == nil {
			continue
		}
		delete(g.batches, number)
		g.renew(batch.at, g.worker.m.cfg.leaseTime())
		for _, r := range batch.requests {
			g.tell(r, readIndex{index: state.Index})
		}
	}
}

// retryReads takes back batches that nobody answered in time, the message or the leader being lost; without
// patience, all of them.
func (g *group) retryReads(tick, patience int) {
	for number, batch := range g.batches {
		if patience == 0 || tick-batch.asked >= patience {
			delete(g.batches, number)
			g.reads = append(g.reads, batch.requests...)
		}
	}
}

// refuseReads ends every waiting read.
func (g *group) refuseReads(err error) {
	for number, batch := range g.batches {
		delete(g.batches, number)
		g.reads = append(g.reads, batch.requests...)
	}
	for _, r := range g.reads {
		g.tell(r, readIndex{err: err})
	}
	g.reads = nil
}

// follow reacts to a change of leader or term.
func (g *group) follow(soft *raft.SoftState) {
	wasLeading := g.leading.Load()
	isLeading := soft.RaftState == raft.StateLeader
	if soft.Lead != g.lead.Load() || wasLeading != isLeading {
		g.lease.until = time.Time{}
		// The leader that was asked will not answer any more; the next one is asked at once.
		g.retryReads(0, 0)
	}
	g.lead.Store(soft.Lead)
	g.leading.Store(isLeading)
	switch {
	case isLeading && !wasLeading:
		g.elections.Add(1)
	case wasLeading && !isLeading:
		// What was proposed may still commit under the next leader; callers try again under the same id.
		g.fail(ErrOutcomeUnknown, false)
	}
}

// alignHeartbeats makes all groups led here send their heartbeats at the same ticks, so that one frame for
// each peer carries them all: a new leader's clock waits for the next common beat. It has just sent an
// append to everyone, so nothing is late. A follower's clock never waits.
func (g *group) alignHeartbeats(tick, heartbeatTicks int) {
	g.skipTicks = 0
	if g.leading.Load() {
		g.skipTicks = (heartbeatTicks - tick%heartbeatTicks) % heartbeatTicks
	}
}

// message wraps a Raft message for the transport.
func (g *group) message(m *raftpb.Message) transport.Message {
	return transport.Message{Group: g.id, Raft: m}
}
