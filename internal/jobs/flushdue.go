package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/flush"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/schemachange"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

const (
	// flushPeriod is the time between two looks at the policies of tables.
	flushPeriod = 10 * time.Second
	// A table whose flush by policy failed, with all its tries, rests for so long before the next, and twice as long each time.
	// Jobs that fail every few seconds would push all others out of the history.
	leastFlushRest = time.Minute
	mostFlushRest  = 30 * time.Minute
)

// flushes is what the leader's runner remembers of policies. Losing it makes an interval begin anew.
type flushes struct {
	looked time.Time
	last   map[ident.TableID]time.Time // when a table was flushed, or first seen
	made   map[ident.TableID]madeFlush // the job that was made last for a table, of those that exist
}

// madeFlush is a job that a policy made, and how long the table rests should it fail.
type madeFlush struct {
	job  uint64
	rest time.Duration
}

// flushDue makes flush jobs for tables whose policy says so.
func (r *Runner) flushDue(ctx context.Context, now time.Time) error {
	if now.Sub(r.chores.flushes.looked) < flushPeriod {
		return nil
	}
	r.chores.flushes.looked = now
	last, made := make(map[ident.TableID]time.Time), make(map[ident.TableID]madeFlush)
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
		before, rests, err := r.flushBefore(t.ID, now)
		if err != nil {
			return err
		}
		if before.job != 0 {
			made[t.ID] = before
		}
		if rests {
			continue
		}
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
		response, err := r.execute(ctx, create(applier.NewFlushJob(uint64(t.ID), "")))
		if err != nil && !refused(err) {
			return fmt.Errorf("flush %s: %w", t.FullName(), err)
		}
		if err == nil {
			made[t.ID] = madeFlush{response.GetObjectId(), min(max(2*before.rest, leastFlushRest), mostFlushRest)}
		}
	}
	r.chores.flushes.last, r.chores.flushes.made = last, made
	return nil
}

// flushBefore returns the last job that a policy made for a table, if it has failed, and whether the table rests because of that.
func (r *Runner) flushBefore(table ident.TableID, now time.Time) (before madeFlush, rests bool, err error) {
	before, ok := r.chores.flushes.made[table]
	if !ok {
		return madeFlush{}, false, nil
	}
	job, ended, err := catalog.LoadJob(r.cfg.Store, before.job)
	if err != nil {
		return madeFlush{}, false, fmt.Errorf("look at flush job %d: %w", before.job, err)
	}
	switch {
	case job != nil && !ended: // the next look tells how it ended
		return before, false, nil
	case job == nil || catalog.JobState(job.GetState()) != catalog.JobFailed:
		return madeFlush{}, false, nil
	}
	return before, now.Before(time.UnixMicro(job.GetUpdatedMicros()).Add(before.rest)), nil
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
