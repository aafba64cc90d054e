package multiraft

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// This file is what operators may ask of one node's replicas. Every order can be repeated: a repeat finds
// the work done and says so. Orders about leadership wait until it has moved, within orderPatience.

const (
	// HoldFor is how long the balancer leaves a group where an operator put it.
	HoldFor = 10 * time.Minute
	// orderPatience is how many of the shortest election timeouts a leadership may take to move. Raft itself
	// gives a transfer up after one; the rest is for the election that follows when it went wrong.
	orderPatience = 4
)

// Operate carries out an order of an operator on this node's replicas. from is the replica that passed it
// on, this one when the operator is connected here.
func (m *Manager) Operate(ctx context.Context, from ident.ReplicaID, req *nodev1.OperateRequest) *nodev1.OperateResponse {
	switch req.GetOrder() {
	case nodev1.Order_ORDER_AVOID:
		m.policy.notice(from)
		return &nodev1.OperateResponse{}
	case nodev1.Order_ORDER_RESUME:
		m.policy.set(m.cfg.Replica, false)
		return &nodev1.OperateResponse{}
	case nodev1.Order_ORDER_DRAIN:
		m.policy.set(m.cfg.Replica, true)
		if err := m.Drain(ctx); err != nil {
			return &nodev1.OperateResponse{Refused: "leaderships could not all be handed over: " + err.Error()}
		}
		return &nodev1.OperateResponse{}
	case nodev1.Order_ORDER_SNAPSHOT, nodev1.Order_ORDER_PURGE:
		if err := m.makeDurable(); err != nil {
			return &nodev1.OperateResponse{Refused: err.Error()}
		}
	case nodev1.Order_ORDER_TRANSFER, nodev1.Order_ORDER_STEP_DOWN, nodev1.Order_ORDER_ELECT, nodev1.Order_ORDER_REBALANCE,
		nodev1.Order_ORDER_HOLD:
	case nodev1.Order_ORDER_KILL_LIVE_QUERY, nodev1.Order_ORDER_LIST_LIVE_QUERIES, nodev1.Order_ORDER_LIST_SESSIONS,
		nodev1.Order_ORDER_LOOK_THROUGH_LOCAL, nodev1.Order_ORDER_UNSPECIFIED:
		// Those of live queries, sessions and node-local rows never come here: package server carries them out.
		fallthrough
	default:
		return &nodev1.OperateResponse{Refused: fmt.Sprintf("order %d is not known to this version", req.GetOrder())}
	}
	return m.operateGroups(ctx, req)
}

// makeDurable flushes the state, so that the log may be cut behind it.
func (m *Manager) makeDurable() error {
	if err := m.cfg.Engine.Flush(); err != nil {
		return fmt.Errorf("flush the store: %w", err)
	}
	replicas := make([]*replica, len(m.order))
	for i, g := range m.order {
		replicas[i] = g.replica
	}
	return m.durable.refresh(replicas)
}

// step is what an order does to one group at first, on its worker. awaited is the leader to wait for, zero
// when the order is complete; anyOther waits until some other replica leads.
type step struct {
	outcome  *nodev1.OperateOutcome
	awaited  uint64
	anyOther bool
}

// operateGroups starts the order on every group and then waits for what takes time.
func (m *Manager) operateGroups(ctx context.Context, req *nodev1.OperateRequest) *nodev1.OperateResponse {
	steps := make([]*step, len(req.GetGroups()))
	var started sync.WaitGroup
	for i, id := range req.GetGroups() {
		steps[i] = &step{outcome: &nodev1.OperateOutcome{Group: id}}
		g := m.groups[shard.GroupID(id)]
		if g == nil {
			steps[i].outcome.Error = ErrUnknownGroup.Error()
			continue
		}
		started.Add(1)
		g.worker.enqueue(item{group: g, do: func(g *group) {
			defer started.Done()
			g.worker.order(g, req, steps[i])
		}})
	}
	if err := m.waitFor(ctx, &started); err != nil {
		return &nodev1.OperateResponse{Refused: err.Error()}
	}
	bound, cancel := context.WithTimeout(ctx, orderPatience*time.Duration(m.cfg.ElectionTicks)*m.cfg.TickInterval)
	defer cancel()
	response := &nodev1.OperateResponse{}
	for _, s := range steps {
		m.awaitLeader(bound, s)
		response.Outcomes = append(response.Outcomes, s.outcome)
	}
	return response
}

// waitFor returns when the workers have taken every step, or why they will not.
func (m *Manager) waitFor(ctx context.Context, started *sync.WaitGroup) error {
	all := make(chan struct{})
	go func() {
		started.Wait()
		close(all)
	}()
	select {
	case <-all:
		return nil
	case <-m.failed:
		return m.failure
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitLeader waits until the group of a step is led as the step wants.
func (m *Manager) awaitLeader(ctx context.Context, s *step) {
	g := m.groups[shard.GroupID(s.outcome.GetGroup())]
	if g == nil || s.awaited == 0 && !s.anyOther {
		return
	}
	self := uint64(m.cfg.Replica)
	for {
		lead := g.lead.Load()
		if lead != 0 && (lead == s.awaited || s.anyOther && lead != self) {
			s.outcome.Target = lead
			return
		}
		timer := m.cfg.Clock.NewTimer(m.cfg.TickInterval / 2)
		select {
		case <-timer.C():
		case <-m.failed:
			timer.Stop()
			s.outcome.Error = m.failure.Error()
			return
		case <-ctx.Done():
			timer.Stop()
			// Raft gave the transfer up, or the node did not campaign in time: another try may succeed.
			s.outcome.Error, s.outcome.Again = "the leadership has not moved in time", true
			return
		}
	}
}

// order takes the first step of an order on one group. It runs on the worker.
func (w *worker) order(g *group, req *nodev1.OperateRequest, s *step) {
	var err error
	switch req.GetOrder() { //nolint:exhaustive // Operate has dealt with the others
	case nodev1.Order_ORDER_TRANSFER:
		err = w.orderTransfer(g, req.GetTarget(), s)
	case nodev1.Order_ORDER_STEP_DOWN:
		err = w.orderStepDown(g, s)
	case nodev1.Order_ORDER_ELECT:
		err = w.orderElect(g, s)
	case nodev1.Order_ORDER_REBALANCE:
		err = w.orderRebalance(g, req.GetDryRun(), s)
	case nodev1.Order_ORDER_HOLD:
		w.hold(g, HoldFor)
	case nodev1.Order_ORDER_SNAPSHOT:
		w.truncate(g)
		s.outcome.Index = w.m.durable.index(g.id)
	case nodev1.Order_ORDER_PURGE:
		s.outcome.Index, err = w.purge(g, req.GetUpto())
	}
	if err != nil {
		passes := errors.Is(err, errNotLedHere) || errors.Is(err, errBehind) || errors.Is(err, errNotHeard)
		s.outcome.Error, s.outcome.Again = err.Error(), passes
	}
}

// Errors of orders that may pass soon.
var (
	errNotLedHere = errors.New("this node does not lead the group")
	errBehind     = errors.New("the node that should lead is behind in this group; try again once it has caught up")
	errNotHeard   = errors.New("the node is not heard of")
)

func (w *worker) orderTransfer(g *group, target uint64, s *step) error {
	status := g.node.Status()
	switch {
	case status.Lead == target:
		s.outcome.Target = target
		return nil
	case !g.leading.Load():
		return errNotLedHere
	case !isVoter(g.confirmed.Conf, target):
		return errors.New("the node is no voter of the group yet")
	case !w.m.peers.live(ident.ReplicaID(target)):
		return errNotHeard
	case !w.nearlyThere(g, status, target):
		return errBehind
	}
	w.handTo(g, target)
	s.awaited = target
	return nil
}

// nearlyThere reports whether a replica is so close that the leader can give it the rest during a transfer.
// Under load nobody is ever level.
func (w *worker) nearlyThere(g *group, status raft.Status, id uint64) bool {
	progress, ok := status.Progress[id]
	return ok && !progress.IsLearner && progress.State == tracker.StateReplicate &&
		progress.Match+caughtUpWithin >= g.log.LastIndex() && w.m.peers.live(ident.ReplicaID(id))
}

// handTo starts a transfer. The balancer rests meanwhile.
func (w *worker) handTo(g *group, target uint64) {
	w.stir(g)
	g.transferred = w.tick
	g.node.TransferLeader(target)
	w.mark(g)
}

func (w *worker) orderStepDown(g *group, s *step) error {
	if !g.leading.Load() {
		s.outcome.Target = g.lead.Load()
		return nil
	}
	to := w.bestSuccessor(g, g.node.Status())
	if to == 0 {
		return errors.New("no other voter is there to take over")
	}
	w.handTo(g, to)
	s.anyOther = true
	return nil
}

// orderElect makes this replica stand for election. While a leader is heard of, the others would refuse to
// vote, so the leader is asked to let go.
func (w *worker) orderElect(g *group, s *step) error {
	self := uint64(w.m.cfg.Replica)
	lead := g.node.BasicStatus().Lead
	w.stir(g)
	switch {
	case g.leading.Load():
		s.outcome.Target = self
		return nil
	case !isVoter(g.confirmed.Conf, self):
		return errors.New("this node is no voter of the group")
	case lead != 0 && w.m.peers.live(ident.ReplicaID(lead)):
		g.node.TransferLeader(self)
	default:
		if err := g.node.Campaign(); err != nil {
			return fmt.Errorf("campaign: %w", err)
		}
	}
	w.mark(g)
	s.awaited = self
	return nil
}

// orderRebalance does at once what the balancer would do in time, or says what that is.
func (w *worker) orderRebalance(g *group, dry bool, s *step) error {
	if !g.leading.Load() {
		return errNotLedHere
	}
	self := uint64(w.m.cfg.Replica)
	s.outcome.Target = self
	if g.id == shard.Meta && !w.m.policy.avoids(w.m.cfg.Replica) {
		return nil
	}
	status := g.node.Status()
	to := w.preferredLeader(g)
	if status.LeadTransferee != 0 {
		to = 0
	}
	if !dry {
		g.transferred = w.tick - balanceRest // an operator's hold ends here
	}
	if to == 0 || to == self {
		return nil
	}
	if !w.nearlyThere(g, status, to) {
		return errBehind
	}
	s.outcome.Target = to
	if !dry {
		w.handTo(g, to)
		s.awaited = to
	}
	return nil
}

// hold keeps the balancer from moving a group for a while.
func (w *worker) hold(g *group, period time.Duration) {
	g.transferred = w.tick + int(period/w.m.cfg.TickInterval) - balanceRest
}

// Hold is ORDER_HOLD for one group with a period of its own, for a node that takes up orders from before a restart.
func (m *Manager) Hold(id shard.GroupID, period time.Duration) {
	if g := m.groups[id]; g != nil {
		g.worker.enqueue(item{group: g, do: func(g *group) { g.worker.hold(g, period) }})
	}
}

// purge cuts a group's log up to an index, as far as its state is durable and no live follower needs it, and
// returns up to where it is cut now.
func (w *worker) purge(g *group, upto uint64) (uint64, error) {
	upto = min(upto, w.m.durable.index(g.id), g.node.BasicStatus().Applied)
	if g.leading.Load() {
		upto = min(upto, w.slowestLive(g))
	}
	first := g.log.FirstIndex()
	if upto < first {
		return first - 1, nil
	}
	if err := w.m.cfg.Log.Truncate(g.id, upto); err != nil {
		w.m.fail(err)
		return 0, err
	}
	w.m.stats.truncated.Add(upto - first + 1)
	return g.log.FirstIndex() - 1, nil
}
