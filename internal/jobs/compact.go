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

// Compact merges the segments of a table. It may be repeated and interrupted anywhere.
func Compact(worker *flush.Worker) Kind {
	return Kind{Type: applier.JobTypeCompact, Limit: 1, Run: func(ctx context.Context, work *Work) error {
		var parameters applier.CompactParameters
		if err := json.Unmarshal([]byte(work.Job.GetParameters()), &parameters); err != nil {
			return Permanent(fmt.Errorf("parameters: %w", err))
		}
		did, err := worker.Compact(ctx, ident.TableID(parameters.Table), parameters.Light, func(done, all int, did flush.Compacted) {
			work.Report(uint32(100*done/all), fmt.Sprintf("merged %d segments, %d of %d groups done", did.Merged, done, all)) //nolint:gosec // a percentage
		})
		switch {
		case fault.KindOf(err) == fault.TableNotFound:
			return fmt.Errorf("%w: the table was dropped", ErrNothingToDo)
		case fault.KindOf(err) == fault.InvalidStatement, fault.KindOf(err) == fault.Unsupported:
			return Permanent(err)
		case err != nil:
			return err
		case did.Merged == 0:
			return fmt.Errorf("%w: no segments are worth merging", ErrNothingToDo)
		}
		work.Report(100, fmt.Sprintf("merged %d segments of %d scopes into %d, %d versions dropped, %d bytes",
			did.Merged, did.Scopes, did.Written, did.Dropped, did.Bytes))
		return nil
	}}
}
