package jobs

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/flush"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// Flush makes the rows of a table cold: it asks the leader of each group to. It may be repeated and interrupted anywhere.
func Flush(worker *flush.Worker) Kind {
	return Kind{Type: applier.JobTypeFlush, Run: func(ctx context.Context, work *Work) error {
		var parameters applier.FlushParameters
		if err := json.Unmarshal([]byte(work.Job.GetParameters()), &parameters); err != nil {
			return Permanent(fmt.Errorf("parameters: %w", err))
		}
		order := flush.Order{Job: work.Job.GetNumber(), Token: work.Token, Table: ident.TableID(parameters.Table)}
		moved, err := worker.Flush(ctx, order, func(done, all int, moved flush.Result) {
			work.Report(uint32(100*done/all), fmt.Sprintf("flushed %d rows, %d of %d groups done", moved.Rows, done, all)) //nolint:gosec // a percentage
		})
		switch {
		case fault.KindOf(err) == fault.TableNotFound:
			return fmt.Errorf("%w: the table was dropped", ErrNothingToDo)
		case fault.KindOf(err) == fault.InvalidStatement, fault.KindOf(err) == fault.Unsupported:
			return Permanent(err)
		case err != nil:
			return err
		case moved.Rows == 0 && !moved.More:
			return fmt.Errorf("%w: no rows are waiting", ErrNothingToDo)
		}
		did := fmt.Sprintf("flushed %d rows of %d scopes into %d segments, %d bytes", moved.Rows, moved.Scopes, moved.Segments, moved.Bytes)
		if moved.More {
			did += ", and what a leader moved that gave no answer"
		}
		work.Report(100, did)
		return nil
	}}
}
