package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/schemachange"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

const (
	retentionPeriod = time.Hour // between two runs, and so the precision of the age of deletions
	retentionRows   = 1000      // deletions that one command removes
	// retentionLeast is the age that a deletion has at least when it goes, whatever its table wants. A flush that read the row
	// before it was deleted, and says so after the deletion went, would bring the row back; none takes nearly as long.
	retentionLeast = time.Hour
)

// retention is what a job of that kind works with.
type retention struct {
	store *storage.Engine
	exec  executor.CommandExecutor
	cold  *cold.Store
	clock clock.Clock
}

// Retention removes deletions from the row store that are older than their table wants them kept (DELETED_RETENTION_HOURS). It marks the
// times of the groups too, by which later runs know how old a deletion is. A deletion whose key has a cold version stays, because it
// hides it; flush and compaction take both away. A node does nothing while clockAgrees says why its clock cannot be trusted: what it marks is true for
// ever, and what it removes is gone.
func Retention(store *catalog.Store, engine *storage.Engine, exec executor.CommandExecutor, segments *cold.Store, wall clock.Clock, clockAgrees func() error) Kind {
	r := &retention{store: engine, exec: exec, cold: segments, clock: wall}
	return Kind{Type: applier.JobTypeRetention, Limit: 1, Run: func(ctx context.Context, work *Work) error {
		if err := clockAgrees(); err != nil {
			return err
		}
		if _, err := exec.Barrier(ctx, shard.Meta); err != nil {
			return err
		}
		current := store.Current()
		restoring, err := catalog.LoadSequence(engine, catalog.SequenceRestoring)
		if err != nil {
			return err
		}
		if restoring != 0 {
			return fmt.Errorf("%w: a backup is being restored", ErrNothingToDo)
		}
		byGroup := map[shard.GroupID][]*schema.Table{}
		for _, t := range current.Tables() {
			if t.Kind != schema.KindStream && !t.Unfinished() {
				for _, group := range schemachange.Groups(current, t) {
					byGroup[group] = append(byGroup[group], t)
				}
			}
		}
		removed, groups := uint64(0), current.Cluster().Shards.Groups()
		for i, group := range groups {
			if len(byGroup[group]) == 0 {
				continue
			}
			n, err := r.group(ctx, group, byGroup[group])
			removed += n
			if err != nil {
				return fmt.Errorf("purge deletions from %s: %w", group, err)
			}
			work.Report(uint32(100*(i+1)/len(groups)), fmt.Sprintf("removed %d deletions, %d of %d groups done", removed, i+1, len(groups))) //nolint:gosec // a percentage
		}
		if removed == 0 {
			return fmt.Errorf("%w: no deletion is old enough", ErrNothingToDo)
		}
		work.Report(100, fmt.Sprintf("removed %d deletions", removed))
		return nil
	}}
}

// group marks the time of a group and removes the old deletions of its tables.
func (r *retention) group(ctx context.Context, group shard.GroupID, tables []*schema.Table) (removed uint64, err error) {
	if err = r.mark(ctx, group); err != nil {
		return 0, err
	}
	marks, err := applier.LoadMarks(r.store, group)
	if err != nil {
		return 0, err
	}
	now := r.clock.Now()
	for _, t := range tables {
		upto := applier.WrittenBy(marks, now.Add(-max(t.DeletedRetention(), retentionLeast)).UnixMicro())
		if upto == 0 {
			continue
		}
		n, err := r.table(ctx, group, t, upto)
		removed += n
		if err != nil {
			return removed, fmt.Errorf("%s: %w", t.FullName(), err)
		}
	}
	return removed, nil
}

// mark has the group remember the time, unless nothing was written since it last did.
func (r *retention) mark(ctx context.Context, group shard.GroupID) error {
	applied, err := r.exec.Barrier(ctx, group)
	if err != nil {
		return err
	}
	marks, err := applier.LoadMarks(r.store, group)
	if err != nil || len(marks) > 0 && marks[len(marks)-1].Index >= applied {
		return err
	}
	_, err = r.exec.Execute(ctx, group, &commandv1.Command{Body: &commandv1.Command_MarkTime{MarkTime: &commandv1.MarkTime{}}})
	if err == nil {
		_, err = r.exec.Barrier(ctx, group)
	}
	return err
}

// table removes the deletions of a table in a group that were written up to an index.
func (r *retention) table(ctx context.Context, group shard.GroupID, t *schema.Table, upto uint64) (removed uint64, err error) {
	view := r.store.NewSnapshot()
	defer func() { err = errors.Join(err, view.Close()) }()
	it, err := view.Scan(keys.TableSpan(group, t.ID))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	batch := &deletions{retention: r, view: view, group: group, table: t}
	for ok, n := it.First(), 0; ok; ok, n = it.Next(), n+1 {
		if n%1024 == 0 && ctx.Err() != nil {
			return batch.removed, context.Cause(ctx)
		}
		value, err := it.Value()
		if err != nil {
			return batch.removed, err
		}
		seq, deleted, _, err := rowvalue.Decode(value)
		if err != nil {
			return batch.removed, fmt.Errorf("%w: row %x: %w", storage.ErrCorruption, it.Key(), err)
		}
		if !deleted || command.SeqIndex(seq) > upto {
			continue
		}
		if err := batch.add(ctx, it.Key(), seq); err != nil {
			return batch.removed, err
		}
	}
	if err := it.Err(); err != nil {
		return batch.removed, err
	}
	return batch.removed, batch.send(ctx)
}

// deletions collects the rows of one command.
type deletions struct {
	*retention
	view    storage.Reader
	group   shard.GroupID
	table   *schema.Table
	scopes  []*commandv1.DeletedScope
	hidden  *cold.View // cold rows of the last scope, nil for none
	rows    int
	removed uint64
}

// add takes a deletion, unless it hides a cold version.
func (d *deletions) add(ctx context.Context, key []byte, seq uint64) error {
	row, err := keys.ParseRow(key)
	if err != nil {
		return err
	}
	if n := len(d.scopes); n == 0 || d.scopes[n-1].GetUser() != string(row.User) {
		if err := d.begin(row.User); err != nil {
			return err
		}
	}
	if d.hidden != nil {
		found, err := d.hidden.Find(row.PrimaryKey, nil)
		if err != nil {
			return err
		}
		if found != nil {
			return found.Close()
		}
	}
	scope := d.scopes[len(d.scopes)-1]
	scope.Rows = append(scope.Rows, &commandv1.DeletedRow{PrimaryKey: append([]byte(nil), row.PrimaryKey...), Seq: seq})
	if d.rows++; d.rows < retentionRows {
		return nil
	}
	return d.send(ctx)
}

// begin opens the scope of a user.
func (d *deletions) begin(user ident.UserID) (err error) {
	if d.hidden, err = d.cold.View(d.view, d.group, d.table, user); err != nil {
		return err
	}
	scope := &commandv1.DeletedScope{User: string(user)}
	if d.hidden != nil {
		scope.ExpectVersion = d.hidden.Version()
	}
	d.scopes = append(d.scopes, scope)
	return nil
}

// send has the group remove what was collected.
func (d *deletions) send(ctx context.Context) error {
	scopes, rows := d.scopes, d.rows
	d.scopes, d.rows, d.hidden = nil, 0, nil
	if rows == 0 {
		return nil
	}
	response, err := d.exec.Execute(ctx, d.group, &commandv1.Command{Body: &commandv1.Command_PurgeDeleted{
		PurgeDeleted: &commandv1.PurgeDeleted{TableId: uint64(d.table.ID), Scopes: scopes},
	}})
	if fault.KindOf(err) == fault.TableNotFound {
		return nil // it was dropped meanwhile
	}
	d.removed += uint64(response.GetAffected())
	return err
}

// retainDeleted makes the job that removes old deletions.
func (r *Runner) retainDeleted(ctx context.Context, now time.Time) error {
	if r.chores.retentionDone.IsZero() {
		r.chores.retentionDone = now // the first look comes a period after the node began to lead: others may be of an earlier version still
	}
	if now.Sub(r.chores.retentionDone) < retentionPeriod || len(r.cfg.Catalog.Current().Tables()) == 0 {
		return nil
	}
	r.chores.retentionDone = now
	return r.propose(ctx, create(&commandv1.Job{
		Type: applier.JobTypeRetention, IdPrefix: "RT", IdempotencyKey: applier.JobTypeRetention, MaxRetries: 3, LeaderOnly: true, Transient: true,
	}))
}
