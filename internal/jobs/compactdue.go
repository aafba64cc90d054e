package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/flush"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/schemachange"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

const (
	compactPeriod = time.Minute // between two looks at the segments of tables
	// forgetPeriod is the time between two compactions of a table that are for nothing but deletions that grew old. It is
	// shorter for tables that keep them for a shorter time.
	forgetPeriod = 6 * time.Hour
)

// compactions is what the leader's runner remembers of tables' segments. Losing it makes it look again.
type compactions struct {
	looked time.Time
	forgot map[ident.TableID]time.Time // when a table was last made to forget deletions
}

// compactDue makes compact jobs for tables some scope of which has many small segments, many that overlap, or deletions that
// need not be kept any more.
func (r *Runner) compactDue(ctx context.Context, now time.Time) error {
	if now.Sub(r.chores.compactions.looked) < compactPeriod {
		return nil
	}
	r.chores.compactions.looked = now
	forgot := make(map[ident.TableID]time.Time)
	current := r.cfg.Catalog.Current()
	for _, t := range current.Tables() {
		if flush.Flushable(current, t.ID) != nil {
			continue
		}
		before := now.Add(-t.DeletedRetention()).UnixMicro()
		last, known := r.chores.compactions.forgot[t.ID]
		if known && now.Sub(last) < min(forgetPeriod, t.DeletedRetention()/8) {
			forgot[t.ID], before = last, 0 // nothing was written before
		}
		due, err := r.worthCompacting(t, before)
		if err != nil {
			return fmt.Errorf("look at the segments of %s: %w", t.FullName(), err)
		}
		if !due {
			continue
		}
		if before != 0 {
			forgot[t.ID] = now
		}
		if err := r.propose(ctx, create(applier.NewCompactJob(uint64(t.ID), true, ""))); err != nil {
			return fmt.Errorf("compact %s: %w", t.FullName(), err)
		}
	}
	r.chores.compactions.forgot = forgot
	return nil
}

// worthCompacting reports whether some scope of a table has what a light compaction is for, as far as this node knows.
func (r *Runner) worthCompacting(t *schema.Table, beforeMicros int64) (due bool, err error) {
	for _, group := range schemachange.Groups(r.cfg.Catalog.Current(), t) {
		lo, hi := keys.ManifestSpan(group, t.ID)
		err := manifest.Each(r.cfg.Store, lo, hi, func(_ []byte, m *commandv1.Manifest) error {
			due = due || flush.Worth(m.GetSegments(), beforeMicros)
			return nil
		})
		if due || err != nil {
			return due, err
		}
	}
	return false, nil
}
