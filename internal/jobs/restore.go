package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/backup"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// Restore puts a backup into this cluster, which must have no tables. Every step can be repeated.
func Restore(target backup.Target, open Place) Kind {
	return Kind{Type: applier.JobTypeRestore, Limit: 1, Run: func(ctx context.Context, work *Work) error {
		parameters, store, err := place(work, open)
		if err != nil {
			return err
		}
		target := target
		target.Job, target.Token = work.Job.GetNumber(), work.Token
		name := parameters.Backup
		if begun := work.Job.GetRestoring(); begun != "" { // with the newest one of that time, perhaps
			name = begun[strings.LastIndexByte(begun, '/')+1:]
		}
		m, err := backup.Restore(ctx, target, store, name, work.Report)
		switch {
		case errors.Is(err, backup.ErrDamaged), errors.Is(err, backup.ErrNoBackup):
			return Permanent(err)
		case refusedForGood(err), fault.KindOf(err) == fault.LimitExceeded:
			return Permanent(err)
		case err != nil:
			return err
		}
		work.Report(100, fmt.Sprintf("restored backup %s: %d rows of %d tables, digests equal", m.Name, m.Totals.Rows, len(m.Tables)))
		return nil
	}}
}
