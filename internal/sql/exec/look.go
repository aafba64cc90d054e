package exec

import (
	"context"
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// lookMemoryBytes bounds the memory of one Look. Live queries run it again and again.
const lookMemoryBytes = 64 << 20

// Look runs a query over a picture of the store that the caller holds. It waits for nothing: the result is that of the
// picture. A result of more than maxRows rows is refused with fault.LimitExceeded; nothing is cut off. The limits
// on rows that requests have do not apply. The query may be run again.
func (e *Engine) Look(
	ctx context.Context, caller session.Session, query *parse.Query, snapshot *storage.Snapshot, maxRows int,
) (result Result, err error) {
	current := e.deps.Catalog.Current()
	bound, err := plan.Build(&plan.Environment{
		Catalog: current, Views: e.views, Caller: caller.Viewpoint(), NowMicros: e.deps.Clock.Now().UnixMicro(),
	}, query)
	if err != nil {
		return Result{}, err
	}
	planned, ok := bound.(*plan.Query)
	if !ok {
		return Result{}, fmt.Errorf("a query became %T", bound)
	}
	r := e.newRun(current, caller, nil)
	if masked := r.maskedColumns(planned.Columns); len(masked) > 0 {
		// A result that is kept is told by its values, so that no two of them may look the same.
		return Result{}, fault.New(fault.PermissionDenied,
			"access denied: column '%s' of a result that is followed needs role dba or system", planned.Columns[masked[0]].Name)
	}
	r.budget.limitBytes = min(r.budget.limitBytes, lookMemoryBytes)
	r.snapshot, r.state.held, r.state.ctx = snapshot, true, ctx
	defer func() {
		r.snapshot = nil // it is the caller's
		r.budget.lease.giveBack()
		err = errors.Join(err, r.close())
	}()
	result = Result{Columns: planned.Columns, HasRows: true, AsUser: caller.User}
	var arena rowArena
	err = r.each(ctx, planned.Root, func(row []datum.Datum) error {
		if len(result.Rows) == maxRows {
			return fault.New(fault.LimitExceeded, "the result has more than %d rows", maxRows)
		}
		full := r.budget.take(row)
		if full == nil {
			result.Rows, full = keepIn(r.budget, result.Rows, arena.copy(row))
		}
		return full
	})
	result.RowCount = len(result.Rows)
	return result, err
}
