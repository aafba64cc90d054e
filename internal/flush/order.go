package flush

import (
	"context"
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schemachange"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Order names the next piece of a flush: of one table, in one group, from a position on.
type Order struct {
	Job, Token uint64 // the run in whose name rows are moved; zero for none, and then nobody else is asked
	Table      ident.TableID
	Group      shard.GroupID
	From       Position
}

// Position is where a piece of work begins: scopes before the user are done, and so are keys before the key of the scope.
type Position struct {
	User ident.UserID
	Key  []byte
}

// Result is what was moved.
type Result struct {
	Scopes, Segments int
	Rows, Bytes      int64
	More             bool // perhaps: an answer was lost
}

func (r *Result) add(o Result) {
	r.Scopes, r.Segments, r.Rows, r.Bytes, r.More = r.Scopes+o.Scopes, r.Segments+o.Segments, r.Rows+o.Rows, r.Bytes+o.Bytes, r.More || o.More
}

// Piece is what became of an order.
type Piece struct {
	Moved  Result
	Next   *Position // where to go on; nil when the group is done
	Failed []error   // why scopes were left out
}

// Progress is told how far the work is: groups done of all, and what was moved so far.
type Progress func(done, all int, moved Result)

// Why a node does not carry out an order, or not to its end.
var (
	ErrNotLeader = errors.New("the node does not lead the group")
	ErrNoAnswer  = errors.New("nobody knows what became of the order")
	ErrClaimLost = errors.New("the job is not held by the run any more")
	ErrNoOrders  = errors.New("the leader's program takes no orders") // it is of an earlier version
)

// Leaders are the nodes that lead groups.
type Leaders interface {
	// Flush has the leader of the order's group carry it out. What it says of what was moved counts also when there is an error. One that wraps
	// ErrNotLeader or ErrNoAnswer may pass when the order is given again, to whoever leads then.
	Flush(ctx context.Context, order Order) (Piece, error)
}

// Table flushes the hot rows of a table from here, whoever leads.
func (w *Worker) Table(ctx context.Context, id ident.TableID, progress Progress) (Result, error) {
	return w.Flush(ctx, Order{Table: id}, progress)
}

// Flush flushes the hot rows of the order's table in all of its groups, each at its leader. What was moved before an error stays moved. A scope that is full, or
// whose directory no storage takes, keeps no other one from it; the run ends with the error after maxErrors of them.
func (w *Worker) Flush(ctx context.Context, order Order, progress Progress) (Result, error) {
	var moved Result
	if _, err := w.Executor.Barrier(ctx, shard.Meta); err != nil {
		return moved, err
	}
	current := w.Catalog.Current()
	t, err := flushable(current, order.Table)
	if err != nil {
		return moved, err
	}
	groups := schemachange.Groups(current, t)
	var failed []error
	for i, group := range groups {
		order.Group, order.From = group, Position{}
		for more := true; more; {
			piece, err := w.ask(ctx, order)
			moved.add(piece.Moved)
			if failed = append(failed, piece.Failed...); err != nil || len(failed) >= maxErrors {
				return moved, errors.Join(append(failed, w.orElse(ctx, order.Table, err))...)
			}
			done := i
			if more = piece.Next != nil; more {
				order.From = *piece.Next
			} else {
				done++
			}
			if progress != nil {
				progress(done, len(groups), moved)
			}
		}
	}
	return moved, errors.Join(failed...)
}

// orElse says what is in the way of a flush by now, rather than what another node made of it.
func (w *Worker) orElse(ctx context.Context, id ident.TableID, err error) error {
	if err == nil || w.Leaders == nil {
		return err
	}
	if _, failure := w.Executor.Barrier(ctx, shard.Meta); failure != nil {
		return err
	}
	if _, failure := flushable(w.Catalog.Current(), id); failure != nil {
		return failure
	}
	return err
}

// ask has the leader of a group carry out an order. When another one leads by then, or nobody knows what became of the order, the leader is asked anew.
func (w *Worker) ask(ctx context.Context, order Order) (Piece, error) {
	if w.Leaders == nil || order.Token == 0 {
		return w.Piece(ctx, order, nil)
	}
	var sum Result
	for attempt := 0; ; attempt++ {
		piece, err := w.Leaders.Flush(ctx, order)
		sum.add(piece.Moved)
		sum.More = sum.More || errors.Is(err, ErrNoAnswer)
		piece.Moved = sum
		switch {
		case err == nil:
			return piece, nil
		case errors.Is(err, ErrNoOrders):
			own, failure := w.Piece(ctx, order, nil)
			own.Moved.add(sum)
			return own, failure
		case !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrNoAnswer), ctx.Err() != nil, attempt == maxAttempts:
			return piece, fmt.Errorf("flush of table %d in %s: %w", order.Table, order.Group, err)
		}
		if _, failure := w.Executor.Barrier(ctx, order.Group); failure != nil { // there is a leader, and this node knows which
			return piece, errors.Join(err, failure)
		}
	}
}
