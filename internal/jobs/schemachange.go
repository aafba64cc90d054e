package jobs

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schemachange"
)

// SchemaChange finishes what ALTER TABLE, CREATE INDEX and DROP INDEX leave to be done with the rows of a table, when the
// statement that began it was interrupted. Every step can be repeated.
func SchemaChange(worker *schemachange.Worker) Kind {
	return Kind{Type: applier.JobTypeSchemaChange, Run: func(ctx context.Context, work *Work) error {
		var parameters applier.SchemaChangeParameters
		if err := json.Unmarshal([]byte(work.Job.GetParameters()), &parameters); err != nil {
			return Permanent(fmt.Errorf("parameters: %w", err))
		}
		worked, err := worker.Finish(ctx, ident.TableID(parameters.Table), func(done, all int) {
			work.Report(uint32(100*done/all), fmt.Sprintf("changed %d of %d groups", done, all)) //nolint:gosec // a percentage
		})
		switch {
		case fault.KindOf(err) == fault.DuplicateKey, fault.KindOf(err) == fault.NotNull:
			return Permanent(err) // it was taken back
		case err != nil:
			return err
		case !worked:
			return fmt.Errorf("%w: the table is as it should be", ErrNothingToDo)
		}
		return nil
	}}
}
