package backup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// proposer collects rows into one command for each group, and proposes some of them at a time. Rows have no order among each other: every
// key comes once.
type proposer struct {
	rs     *restorer
	shards shard.Map
	origin uint32
	open   map[shard.GroupID]*openBatch
	slots  chan struct{}
	under  sync.WaitGroup

	mu     sync.Mutex // guards failed
	failed error
}

// openBatch is a command that is not full.
type openBatch struct {
	rows  []*commandv1.RowWrite
	bytes int
}

// originOf is the ordinal from which rows are numbered in a cluster into which rows were restored: another one in each, and above those of statements that
// write fewer than 32,768 rows in a cluster where all began at zero.
func originOf(uid ident.ClusterUID) uint32 {
	const least, choices = 1 << 15, 1 << 14
	return least + uint32(xxhash.Sum64(uid[:])%choices)
}

// begin tells every group that rows are restored into it: from then on what an earlier run of the job has under way is refused, and so are cursors of
// the cluster that was backed up.
func (p *proposer) begin(ctx context.Context) error {
	if p.rs.target.Token == 0 {
		return nil
	}
	for _, group := range p.shards.Groups() {
		if group == shard.Meta {
			continue
		}
		if err := p.send(ctx, group, &openBatch{}); err != nil {
			return errors.Join(err, p.wait())
		}
	}
	return p.wait()
}

// add puts a row into the command of its group.
func (p *proposer) add(ctx context.Context, record *Record) error {
	table := p.rs.tables[record.Table]
	if table == nil {
		return fmt.Errorf("%w: a row of table %d, which the backup's catalog does not have", ErrDamaged, record.Table)
	}
	if (record.User == "") != (table.Kind == schema.KindShared) {
		return fmt.Errorf("%w: a row of %s with the owner '%s'", ErrDamaged, table.FullName(), record.User)
	}
	group := table.Group
	if record.User != "" {
		group = p.shards.RouteUser(record.User)
	}
	row, err := table.rowOf(record)
	if err != nil {
		return err
	}
	p.rs.done++
	batch := p.open[group]
	if batch == nil {
		batch = &openBatch{}
		p.open[group] = batch
	}
	batch.rows = append(batch.rows, row)
	batch.bytes += len(row.GetRow()) + len(row.GetPrimaryKey()) + len(row.GetUser()) + 64
	if len(batch.rows) < batchRows && batch.bytes < batchBytes {
		return nil
	}
	delete(p.open, group)
	return p.send(ctx, group, batch)
}

// index adds the entries of the indexes of a table to a row.
func (t *restoredTable) index(row *commandv1.RowWrite) error {
	if len(t.Indexes) == 0 {
		return nil
	}
	if err := t.decoder.Decode(row.GetRow(), t.values); err != nil {
		return err
	}
	for i := range t.Indexes {
		entry := &commandv1.IndexEntry{IndexId: t.Indexes[i].ID}
		entry.Key, entry.Unique = schema.AppendIndexKey(nil, &t.Indexes[i], t.places[i], t.values)
		row.Index = append(row.Index, entry)
	}
	return nil
}

func (p *proposer) send(ctx context.Context, group shard.GroupID, batch *openBatch) error {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := p.failure(); err != nil {
		<-p.slots
		return err
	}
	propose := func() {
		defer func() { <-p.slots }()
		err := At(p.rs.target.Step, "rows")
		if err == nil {
			err = inParts(batch.rows, true, func(rows []*commandv1.RowWrite, _ bool) error {
				_, failed := p.rs.execute(ctx, group, &commandv1.Command{Body: &commandv1.Command_WriteRows{
					WriteRows: &commandv1.WriteRows{Rows: rows, RestoreToken: p.rs.target.Token, RestoreOrigin: p.origin},
				}})
				if len(rows) == 1 && fault.KindOf(failed) == fault.LimitExceeded {
					return errors.Join(p.rs.tooLarge(rows[0]), failed)
				}
				return failed
			})
		}
		if err != nil {
			p.mu.Lock()
			p.failed = errors.Join(p.failed, fmt.Errorf("write rows into %s: %w", group, err))
			p.mu.Unlock()
		}
	}
	if p.rs.target.InTurn {
		propose()
		return p.failure()
	}
	p.under.Go(propose)
	return nil
}

func (p *proposer) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// wait returns when no command is under way any more.
func (p *proposer) wait() error {
	p.under.Wait()
	return p.failure()
}

// finish sends what is left and waits.
func (p *proposer) finish(ctx context.Context) error {
	for _, group := range slices.Sorted(maps.Keys(p.open)) {
		if err := p.send(ctx, group, p.open[group]); err != nil {
			return errors.Join(err, p.wait())
		}
	}
	return p.wait()
}
