package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// collect keeps all rows of a node; it stops after a number of rows unless that is zero.
func (r *run) collect(ctx context.Context, node plan.Node, stop int) ([][]datum.Datum, error) {
	return r.collectWide(ctx, node, stop, 0)
}

// collectWide is collect with rows of at least a width: the values behind those of the node are NULL.
func (r *run) collectWide(ctx context.Context, node plan.Node, stop, width int) ([][]datum.Datum, error) {
	op, err := r.open(ctx, node)
	if err != nil {
		return nil, err
	}
	var rows [][]datum.Datum
	var arena rowArena
	for stop == 0 || len(rows) < stop {
		row, err := op.next(ctx)
		if err == nil && row != nil {
			wide := max(width, len(row))
			if err = r.budget.takeBytes(rowBytes(row) + int64(wide-len(row))*datumBytes); err == nil {
				rows, err = keepIn(r.budget, rows, arena.copyWide(row, wide))
			}
		}
		if err != nil {
			_ = op.close() // the first failure is the one to report
			return nil, err
		}
		if row == nil {
			break
		}
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
		r.state.keptBytes += int64(cap(rows)) * sliceBytes
	}
	return &rowsOperator{rows: rows}, nil
}
