package multiraft

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// GroupStatus is one replica's view of one group.
type GroupStatus struct {
	Group      shard.GroupID
	Term       uint64
	Vote       ident.ReplicaID
	Leader     ident.ReplicaID // zero when unknown
	State      string          // leader, candidate, follower, learner, observer (has the state and, as ordered, no vote), or outside (not a member yet)
	FirstIndex uint64          // oldest entry in the log
	LastIndex  uint64
	Committed  uint64
	Applied    uint64
	Voters     []ident.ReplicaID
	Learners   []ident.ReplicaID
	Progress   []PeerProgress // leaders only
	QuorumAck  time.Duration  // leaders: since a quorum was last heard of; -1 elsewhere
	Snapshot   uint64         // index of the last snapshot delivered to a peer or installed here since the start, zero for none
}

// PeerProgress is what a leader knows of one peer.
type PeerProgress struct {
	Replica ident.ReplicaID
	Match   uint64 // highest entry known to be durable there
	State   string // StateProbe, StateReplicate or StateSnapshot
	Active  bool   // heard of lately
}

// Status asks every worker for its groups; the result is in the order of Config.Groups. The error is the
// context's or the engine's failure.
func (m *Manager) Status(ctx context.Context) ([]GroupStatus, error) {
	all := make([]GroupStatus, 0, len(m.order))
	for _, answer := range m.askWorkers() {
		select {
		case statuses := <-answer:
			all = append(all, statuses...)
		case <-m.failed:
			return nil, m.failure
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	slices.SortFunc(all, func(a, b GroupStatus) int { return cmp.Compare(a.Group, b.Group) })
	return all, nil
}

// askWorkers asks all workers for their groups, side by side. The answers are in their order.
func (m *Manager) askWorkers() []<-chan []GroupStatus {
	answers := make([]<-chan []GroupStatus, len(m.workers))
	for i, w := range m.workers {
		answers[i] = w.describe()
	}
	return answers
}

// describe asks the worker for its groups.
func (w *worker) describe() <-chan []GroupStatus {
	reply := make(chan []GroupStatus, 1)
	w.enqueue(item{do: func(*group) {
		statuses := make([]GroupStatus, len(w.groups))
		for i, g := range w.groups {
			statuses[i] = g.describe(w.m)
		}
		reply <- statuses
	}})
	return reply
}

// describe runs on the worker.
func (g *group) describe(m *Manager) GroupStatus {
	status := g.node.Status()
	described := GroupStatus{
		Group: g.id, Term: status.GetTerm(), Vote: ident.ReplicaID(status.GetVote()),
		Leader: g.heardLeader(m, status.Lead), State: g.role(status.RaftState, m),
		FirstIndex: g.log.FirstIndex(), LastIndex: g.log.LastIndex(),
		Committed: status.GetCommit(), Applied: g.visible.Load(), Snapshot: g.snapIndex.Load(),
		QuorumAck: m.quorumAck(g, status.RaftState),
		Voters:    replicaIDs(g.confirmed.Conf.GetVoters()), Learners: replicaIDs(g.confirmed.Conf.GetLearners()),
	}
	for id, progress := range status.Progress {
		described.Progress = append(described.Progress, PeerProgress{
			Replica: ident.ReplicaID(id), Match: progress.Match, State: progress.State.String(),
			Active: m.Live(ident.ReplicaID(id)),
		})
	}
	slices.SortFunc(described.Progress, func(a, b PeerProgress) int { return cmp.Compare(a.Replica, b.Replica) })
	return described
}

// heardLeader is the leader that Raft knows, if it was heard of. A replica without a vote never stands for election, and so
// Raft never lets go of a leader there.
func (g *group) heardLeader(m *Manager, lead uint64) ident.ReplicaID {
	if longest := m.cfg.MaxElectionTicks; lead != uint64(m.cfg.Replica) && g.unled > longest+longest/2 {
		return 0
	}
	return ident.ReplicaID(lead)
}

func (g *group) role(state raft.StateType, m *Manager) string {
	conf, self := g.confirmed.Conf, uint64(m.cfg.Replica)
	switch {
	case state == raft.StateLeader:
		return "leader"
	case slices.Contains(conf.GetLearners(), self) && m.observer(g.id, self) && g.visible.Load() > 0:
		return "observer"
	case slices.Contains(conf.GetLearners(), self):
		return "learner"
	case !isVoter(conf, self):
		return "outside"
	case state == raft.StateCandidate || state == raft.StatePreCandidate:
		return "candidate"
	}
	return "follower"
}

func replicaIDs(raw []uint64) []ident.ReplicaID {
	ids := make([]ident.ReplicaID, len(raw))
	for i, id := range raw {
		ids[i] = ident.ReplicaID(id)
	}
	slices.Sort(ids)
	return ids
}

// Lagging returns, for every group in which this replica cannot serve now, the reason: it is no voter, no
// leader is known, it has not applied what it knows to be committed, or its log stands still. It takes no longer than a heartbeat.
//
// A worker that does not answer within that waits for its log. It is judged by for how long: up to the shortest election timeout nobody else is elected
// for it, and what it was asked is answered late; whoever sends clients elsewhere meanwhile, and back a moment later, does them no good. Then its groups
// are as they were last seen to be, but for what is not applied yet.
func (m *Manager) Lagging(ctx context.Context) (map[shard.GroupID]string, error) {
	return m.laggingBy(ctx, m.askWorkers())
}

// laggingBy is Lagging by the answers of the workers.
func (m *Manager) laggingBy(ctx context.Context, answers []<-chan []GroupStatus) (map[shard.GroupID]string, error) {
	reasons := make(map[shard.GroupID]string)
	patience := m.cfg.HeartbeatTicks // of all workers together
	for i, answer := range answers {
		w := m.workers[i]
		statuses, err := w.await(ctx, answer, &patience)
		if err != nil {
			return nil, err
		}
		if statuses != nil {
			addLagging(reasons, statuses)
			continue
		}
		stands := w.standsFor(m.cfg.ElectionTicks)
		for _, g := range w.groups {
			if why := cmp.Or(stands, g.glance(m)); why != "" {
				reasons[g.id] = why
			}
		}
	}
	return reasons, nil
}

// Level reports whether this replica can serve every group and has applied about all that is committed. Unlike Lagging it takes nobody's word for it but that
// of the workers, and waits for them.
func (m *Manager) Level(ctx context.Context) (bool, error) {
	statuses, err := m.Status(ctx)
	if err != nil {
		return false, err
	}
	reasons := make(map[shard.GroupID]string)
	addLagging(reasons, statuses)
	return len(reasons) == 0, nil
}

// await waits for the answer of a worker for as many ticks as there is patience, of which it takes what it needs. It returns nothing if none comes.
func (w *worker) await(ctx context.Context, answer <-chan []GroupStatus, patience *int) ([]GroupStatus, error) {
	for ; *patience > 0; *patience-- {
		timer := w.m.cfg.Clock.NewTimer(w.m.cfg.TickInterval)
		select {
		case statuses := <-answer:
			timer.Stop()
			return statuses, nil
		case <-w.m.failed:
			timer.Stop()
			return nil, w.m.failure
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C():
		}
		if w.roomless() {
			return nil, nil
		}
	}
	select {
	case statuses := <-answer:
		return statuses, nil
	default:
		return nil, nil
	}
}

// standsFor says why the worker gets nowhere, if it has no room or has not come back from its log for so many ticks.
func (w *worker) standsFor(ticks int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.noRoom:
		return "the log finds no room on the disk"
	case w.stood >= ticks:
		return "the disk of the log does not answer"
	}
	return ""
}

// glance says why the replica cannot serve, by what is known of it without its worker.
func (g *group) glance(m *Manager) string {
	members, self := g.members.Load(), m.cfg.Replica
	observes := slices.Contains(members.learnerIDs, self) && m.observer(g.id, uint64(self)) && g.visible.Load() > 0
	switch {
	case !slices.Contains(members.voterIDs, self) && !observes:
		return notAVoter
	case g.lead.Load() == 0:
		return noLeader
	}
	return ""
}

// Reasons for which a replica cannot serve a group.
const (
	notAVoter = "not a voter yet"
	noLeader  = "no leader"
)

// addLagging adds why groups cannot serve.
func addLagging(reasons map[shard.GroupID]string, statuses []GroupStatus) {
	for _, s := range statuses {
		switch {
		case s.State == "learner" || s.State == "outside":
			reasons[s.Group] = notAVoter
		case s.Leader == 0:
			reasons[s.Group] = noLeader
		case s.Applied+maxReadyLag < s.Committed:
			reasons[s.Group] = fmt.Sprintf("%d committed entries are not applied", s.Committed-s.Applied)
		}
	}
}

// maxReadyLag is how many committed entries a ready replica may still have to apply.
const maxReadyLag = 1000

// LeaderCount returns how many groups this replica leads.
func (m *Manager) LeaderCount() int {
	n := 0
	for _, g := range m.order {
		if g.leading.Load() {
			n++
		}
	}
	return n
}

// TransferLeadership asks the group's leader, if it is this replica, to hand over to a peer.
func (m *Manager) TransferLeadership(id shard.GroupID, to ident.ReplicaID) error {
	g := m.groups[id]
	if g == nil {
		return fmt.Errorf("%w: %s", ErrUnknownGroup, id)
	}
	if !g.leading.Load() {
		return &NotLeaderError{Group: id, Leader: ident.ReplicaID(g.lead.Load())}
	}
	g.worker.enqueue(item{group: g, do: func(g *group) { g.node.TransferLeader(uint64(to)) }})
	return nil
}

// Drain hands every leadership to the best live peer and returns when this replica leads nothing any more and has heard of
// the new leaders, or with the context's error. Groups without a live peer stay.
func (m *Manager) Drain(ctx context.Context) error {
	handed := make(map[*group]bool) // used by the workers, one at a time
	for {
		waiting := false
		for _, w := range m.workers {
			reply := make(chan int, 1)
			w.enqueue(item{do: func(*group) { reply <- w.handOver(handed) }})
			select {
			case moving := <-reply:
				waiting = waiting || moving > 0
			case <-m.failed:
				return m.failure
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if !waiting {
			return nil
		}
		if err := clock.Pause(ctx, m.cfg.Clock, m.cfg.TickInterval/2); err != nil {
			return err
		}
	}
}

// handOver starts a transfer of every group this worker leads and counts those that can move, and those handed over before
// of which no new leader is known: who is to take over asks for votes first, and may be slow to write its own.
func (w *worker) handOver(handed map[*group]bool) int {
	moving := 0
	for _, g := range w.groups {
		if !g.leading.Load() {
			if handed[g] && g.lead.Load() == 0 {
				moving++
			}
			continue
		}
		status := g.node.Status()
		to := w.bestSuccessor(g, status)
		if to == 0 {
			continue
		}
		moving++
		handed[g] = true
		g.transferred = w.tick
		if status.LeadTransferee == 0 {
			w.stir(g)
			g.node.TransferLeader(to)
			w.mark(g)
		}
	}
	return moving
}
