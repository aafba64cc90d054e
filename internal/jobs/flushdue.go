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
)

// flushPeriod is the time between two looks at the policies of tables.
const flushPeriod = 10 * time.Second

// flushes is what the leader's runner remembers of policies. Losing it makes an interval begin anew.
type flushes struct {
	looked time.Time
	last   map[ident.TableID]time.Time // when a table was flushed, or first seen
}

// flushDue makes flush jobs for tables whose policy says so.
func (r *Runner) flushDue(ctx context.Context, now time.Time) error {
	if now.Sub(r.chores.flushes.looked) < flushPeriod {
		return nil
	}
	r.chores.flushes.looked = now
	last := make(map[ident.TableID]time.Time)
	current := r.cfg.Catalog.Current()
	for _, t := range current.Tables() {
		policy := t.FlushPolicy()
		if policy == (schema.FlushPolicy{}) || flush.Flushable(current, t.ID) != nil {
			continue // STORAGE FLUSH says what is in the way
		}
		since, known := r.chores.flushes.last[t.ID]
		if !known {
			since = now
		}
		last[t.ID] = since
		wanted := policy.Rows
		if policy.Seconds > 0 && now.Sub(since) >= time.Duration(policy.Seconds)*time.Second {
			wanted, last[t.ID] = 1, now
		}
		if wanted == 0 {
			continue
		}
		due, err := r.hasRows(t, wanted)
		if err != nil {
			return fmt.Errorf("look at the rows of %s: %w", t.FullName(), err)
		}
		if !due {
			continue
		}
		last[t.ID] = now
		if err := r.propose(ctx, create(applier.NewFlushJob(uint64(t.ID), ""))); err != nil {
			return fmt.Errorf("flush %s: %w", t.FullName(), err)
		}
	}
	r.chores.flushes.last = last
	return nil
}

// hasRows reports whether the row store has that many versions of a table, as far as this node knows.
func (r *Runner) hasRows(t *schema.Table, wanted int64) (bool, error) {
	for _, group := range schemachange.Groups(r.cfg.Catalog.Current(), t) {
		it, err := r.cfg.Store.Scan(keys.TableSpan(group, t.ID))
		if err != nil {
			return false, err
		}
		for ok := it.First(); ok && wanted > 0; ok = it.Next() {
			wanted--
		}
		if err := it.Close(); err != nil {
			return false, err
		}
		if wanted == 0 {
			return true, nil
		}
	}
	return false, nil
}
