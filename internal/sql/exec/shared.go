package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// maxRecursiveRows bounds the rows of a recursive query, which might never end.
const maxRecursiveRows = 1_000_000

// collect keeps all rows of a node; it stops after a number of rows unless that is zero.
func (r *run) collect(ctx context.Context, node plan.Node, stop int) ([][]datum.Datum, error) {
	op, err := r.open(ctx, node)
	if err != nil {
		return nil, err
	}
	var rows [][]datum.Datum
	var arena rowArena
	for stop == 0 || len(rows) < stop {
		row, err := op.next(ctx)
		if err == nil && row != nil {
			err = r.budget.take(row)
		}
		if err != nil {
			_ = op.close() // the first failure is the one to report
			return nil, err
		}
		if row == nil {
			break
		}
		rows = append(rows, arena.copy(row))
	}
	return rows, op.close()
}

func (r *run) openShared(ctx context.Context, n *plan.Shared) (operator, error) {
	rows, known := r.state.shared[n]
	if !known {
		var err error
		if rows, err = r.collect(ctx, n.Input, 0); err != nil {
			return nil, err
		}
		if r.state.shared == nil {
			r.state.shared = map[*plan.Shared][][]datum.Datum{}
		}
		r.state.shared[n] = rows
		for _, row := range rows {
			r.state.keptBytes += rowBytes(row)
		}
	}
	return &rowsOperator{rows: rows}, nil
}

// openRecursive computes all rounds.
func (r *run) openRecursive(ctx context.Context, n *plan.Recursive) (operator, error) {
	seen := map[string]struct{}{}
	var all [][]datum.Datum
	if r.state.work == nil {
		r.state.work = map[*plan.WorkTable][][]datum.Datum{}
	}
	added, err := r.collect(ctx, n.Base, 0)
	for err == nil {
		if n.Distinct {
			if added, err = r.unseen(added, seen); err != nil {
				break
			}
		}
		if len(added) == 0 {
			return &rowsOperator{rows: all}, nil
		}
		if len(all)+len(added) > maxRecursiveRows {
			return nil, fault.New(fault.LimitExceeded, "a recursive query may give %d rows; end its recursion with WHERE", maxRecursiveRows)
		}
		if err = ctx.Err(); err != nil {
			break
		}
		all = append(all, added...)
		r.state.work[n.Work] = added
		added, err = r.collect(ctx, n.Step, maxRecursiveRows+1)
	}
	return nil, err
}

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
