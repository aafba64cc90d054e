package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/export"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// UserExport writes what a user owns into a file on the shelf of the node that runs the job. The result of the job says which
// one: a run that lost its claim leaves a file that nobody knows.
func UserExport(source *export.Source, shelf *export.Shelf) Kind {
	return Kind{Type: applier.JobTypeUserExport, Limit: 1, Run: func(ctx context.Context, work *Work) error {
		user := ident.UserID(work.Job.GetUser())
		result, err := shelf.Put(ctx, work.Job, work.Token, func(to io.Writer) (*export.About, error) {
			return export.Write(ctx, source, user, to, work.Report)
		})
		switch {
		case fault.KindOf(err) == fault.NotFound:
			return fmt.Errorf("%w: %w", ErrNothingToDo, err)
		case errors.Is(err, export.ErrFull):
			return Permanent(err)
		case err != nil:
			return err
		}
		if err := work.Return(result); err != nil {
			return Permanent(err)
		}
		work.Report(100, fmt.Sprintf("exported %d rows, %d bytes", result.Rows, result.Bytes))
		return nil
	}}
}
