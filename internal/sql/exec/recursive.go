package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// maxRecursiveRows bounds the rows of a recursive query, which might never end.
const maxRecursiveRows = 1_000_000

// recursiveOperator gives the rows of a recursive query round by round. A round is computed when all rows of the one before have been
// read: whoever wants the first rows alone gets them from a query that has no end.
type recursiveOperator struct {
	run   *run
	plan  *plan.Recursive
	begun bool
	round [][]datum.Datum // what the last round added; nil at the end
	given int             // rows of it
	rows  int             // of all rounds
	seen  map[string]struct{}
}

func (r *run) openRecursive(n *plan.Recursive) operator {
	if r.state.work == nil {
		r.state.work = map[*plan.WorkTable][][]datum.Datum{}
	}
	return &recursiveOperator{run: r, plan: n, seen: map[string]struct{}{}}
}

func (o *recursiveOperator) next(ctx context.Context) ([]datum.Datum, error) {
	if o.given == len(o.round) {
		if o.begun && o.round == nil {
			return nil, nil
		}
		if err := o.advance(ctx); err != nil || o.round == nil {
			return nil, err
		}
	}
	if o.given++; o.given%cancelInterval == 0 && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return o.round[o.given-1], nil
}

// advance computes the next round over the rows of the last one, which are then no longer kept.
func (o *recursiveOperator) advance(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	node, before := o.plan.Base, o.round
	if o.begun {
		node = o.plan.Step
		o.run.state.work[o.plan.Work] = before
	}
	o.begun = true
	added, err := o.run.collect(ctx, node, maxRecursiveRows+1)
	if err == nil && o.plan.Distinct {
		added, err = o.run.unseen(added, o.seen)
	}
	if err != nil {
		return err
	}
	for _, row := range before {
		o.run.budget.give(row)
	}
	if o.rows += len(added); o.rows > maxRecursiveRows {
		return fault.New(fault.LimitExceeded, "a recursive query may give %d rows; end its recursion with WHERE", maxRecursiveRows)
	}
	o.round, o.given = added, 0
	if len(added) == 0 {
		o.round = nil
	}
	return nil
}

// close implements operator. Every round has closed what it read.
func (o *recursiveOperator) close() error { return nil }

// unseen drops the rows that were there before.
func (r *run) unseen(rows [][]datum.Datum, seen map[string]struct{}) ([][]datum.Datum, error) {
	fresh := rows[:0]
	var key []byte
	for _, row := range rows {
		key = appendRowKey(key[:0], row)
		if _, known := seen[string(key)]; known {
			r.budget.give(row)
			continue
		}
		if err := r.budget.takeBytes(int64(len(key)) + entryBytes); err != nil {
			return nil, err
		}
		seen[string(key)] = struct{}{}
		fresh = append(fresh, row)
	}
	return fresh, nil
}
