package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/flush"
)

// This file lets whoever holds the job of a flush ask the leaders of groups, as servers do by calls.

// orderLasts is for how long a run waits for an answer.
const orderLasts = 15 * time.Second

// leaders have the leader of a group carry out an order. It implements flush.Leaders.
type leaders struct {
	n *simNode
	// step is what the node that carries out an order does before each of its steps.
	step func(n *simNode, s *session, name string) error
	// waits is called again and again while another one is at work.
	waits func() error
}

// Flush implements flush.Leaders.
func (l leaders) Flush(ctx context.Context, order flush.Order) (flush.Piece, error) {
	n, s := l.n, sessionOf(ctx)
	if s.gone() {
		return flush.Piece{}, context.Canceled
	}
	to := n.manager.Leader(order.Group)
	switch to {
	case 0:
		s.give()
		return flush.Piece{}, flush.ErrNotLeader
	case n.self.Replica:
		return l.carryOut(n, s, order)
	}
	lost := fmt.Errorf("%w: node %d hears nothing", flush.ErrNoAnswer, n.id)
	addr, known := n.Address(to)
	other := n.w.nodeAt(addr)
	if !known || other == nil || other.self.Replica != to || !n.reaches(other) || !s.travel() || n.w.plan.loseCall() || !n.reaches(other) {
		s.give()
		return flush.Piece{}, lost
	}
	var piece flush.Piece
	var err error
	done, life := false, other.life
	n.w.spawnAt(other, "order to flush", func(a *actor) {
		part := other.cold
		part.busy++
		a.serve(other, func(s *session) {
			s.deadline = n.w.clock.Now().Add(orderLasts)
			err = s.guarded(func() error {
				piece, err = l.carryOut(other, s, order)
				return err
			})
		})
		other.fellInColdFile()
		a.pause() // a node that has ended answers nothing
		part.busy--
		done = true
	})
	n.w.stats.orders++
	s.deadline = n.w.clock.Now().Add(orderLasts)
	for !done && other.life == life && n.reaches(other) {
		if l.waits != nil {
			if failure := l.waits(); failure != nil {
				return flush.Piece{}, failure // what the other one does is known to nobody, and it is not told
			}
		}
		if !s.give() {
			return flush.Piece{}, lost
		}
	}
	s.deadline = n.w.clock.Now().Add(patience)
	if !done || !s.travel() || n.w.plan.loseCall() || !n.reaches(other) {
		return flush.Piece{}, lost
	}
	return piece, err
}

// carryOut does what a server does that is given an order.
func (l leaders) carryOut(n *simNode, s *session, order flush.Order) (flush.Piece, error) {
	var step func(string) error
	if l.step != nil {
		step = func(name string) error { return l.step(n, s, name) }
	}
	return n.cold.worker(step).Piece(s, order, func() error {
		if s.gone() || n.manager.Leader(order.Group) != n.self.Replica {
			return flush.ErrNotLeader
		}
		job, ended, err := catalog.LoadJob(n.store, order.Job)
		switch {
		case err != nil:
			return err
		case job == nil || ended || catalog.JobState(job.GetState()) != catalog.JobRunning || job.GetClaim().GetToken() != order.Token:
			n.w.stats.fenced++
			return flush.ErrClaimLost
		}
		return nil
	})
}
