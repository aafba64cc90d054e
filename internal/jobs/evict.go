package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Bounds of the eviction of rows whose time is over. Nobody sees such rows, so that it may come late.
const (
	evictRows      = 1000 // of one command; the others follow in the next one
	evictRounds    = 64   // commands for one group at a time; the others follow in the next period
	evictShortest  = time.Second
	evictLongest   = time.Minute
	evictionsOfTTL = 4 // a table is looked through that often in the life of a row
)

// StreamEviction removes the rows of stream tables whose time is over. The leader's runner makes a job when it has seen such rows.
func StreamEviction(store *catalog.Store, reader storage.Reader, exec executor.CommandExecutor, wall clock.Clock) Kind {
	return Kind{Type: applier.JobTypeStreamEviction, Limit: 1, Run: func(ctx context.Context, work *Work) error {
		e := evictor{reader: reader, executor: exec}
		now := wall.Now().UnixMicro()
		tables, groups := streamTables(store.Current())
		removed := 0
		for i, found := range tables {
			for _, group := range groups {
				n, err := e.evict(ctx, group, found, now)
				removed += n
				if err != nil {
					return fmt.Errorf("remove old rows of %s: %w", found.FullName(), err)
				}
			}
			work.Report(uint32(100*(i+1)/len(tables)), fmt.Sprintf("removed %d rows from %d of %d stream tables", removed, i+1, len(tables))) //nolint:gosec // a percentage
		}
		if removed == 0 {
			return fmt.Errorf("%w: no row's time is over", ErrNothingToDo)
		}
		return nil
	}}
}

// streamTables lists the replicated stream tables and the groups of their rows.
func streamTables(current *catalog.Catalog) (tables []*schema.Table, groups []shard.GroupID) {
	cluster := current.Cluster()
	if cluster == nil {
		return nil, nil
	}
	for _, found := range current.Tables() {
		if found.Kind == schema.KindStream && !found.NodeLocal() {
			tables = append(tables, found)
		}
	}
	for _, group := range cluster.Shards.Groups() {
		if group.Class() == shard.ClassUser {
			groups = append(groups, group)
		}
	}
	return tables, groups
}

// evictStreams looks for rows of stream tables whose time is over, and makes the job that removes them.
func (r *Runner) evictStreams(ctx context.Context, now time.Time) error {
	tables, groups := streamTables(r.cfg.Catalog.Current())
	e := evictor{reader: r.cfg.Store, executor: r.cfg.Executor}
	due := make(map[ident.TableID]time.Time)
	wanted := false
	for _, found := range tables {
		if next := r.chores.evictions[found.ID]; now.Before(next) {
			due[found.ID] = next
			continue
		}
		for _, group := range groups {
			if wanted {
				break
			}
			lo, hi := keys.TableSpan(group, found.ID)
			body, _, err := e.expired(found, lo, hi, now.UnixMicro(), 1)
			if err != nil {
				return fmt.Errorf("look for old rows of %s: %w", found.FullName(), err)
			}
			wanted = len(body.GetRows()) > 0
		}
		due[found.ID] = now.Add(evictionPause(found))
	}
	r.chores.evictions = due
	if !wanted {
		return nil
	}
	return r.propose(ctx, create(&commandv1.Job{
		Type: applier.JobTypeStreamEviction, IdPrefix: "SE", IdempotencyKey: applier.JobTypeStreamEviction, MaxRetries: 3, LeaderOnly: true,
		Transient: true,
	}))
}

// evictor removes rows of stream tables.
type evictor struct {
	reader   storage.Reader
	executor executor.CommandExecutor
}

// evict removes the old rows of one table in one group. A row that was written anew meanwhile makes the command fail
// as a whole, and so does an alteration of the table; the next period tries again.
func (e evictor) evict(ctx context.Context, group shard.GroupID, found *schema.Table, nowMicros int64) (removed int, err error) {
	from, hi := keys.TableSpan(group, found.ID)
	for range evictRounds {
		body, next, err := e.expired(found, from, hi, nowMicros, evictRows)
		if err != nil || len(body.GetRows()) == 0 {
			return removed, err
		}
		_, err = e.executor.Execute(ctx, group, &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: body}})
		if err != nil && !refused(err) && fault.KindOf(err) != fault.Altered {
			return removed, err
		}
		if err == nil {
			removed += len(body.GetRows())
		}
		from = next
	}
	return removed, nil
}

// expired collects the first rows of a span of a table whose time is over, and where to go on. The command passes the fences that the
// descriptor passes.
func (e evictor) expired(found *schema.Table, lo, hi []byte, nowMicros int64, limit int) (body *commandv1.WriteRows, next []byte, err error) {
	it, err := e.reader.Scan(lo, hi)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if closeErr := it.Close(); err == nil {
			err = closeErr
		}
	}()
	body = &commandv1.WriteRows{Revisions: []*commandv1.TableRevision{{TableId: uint64(found.ID), Revision: found.Revision}}}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		if err != nil {
			return nil, nil, err
		}
		seq, _, row, err := rowvalue.Decode(value)
		if err != nil {
			return nil, nil, err
		}
		if until, expires := schema.RowExpiry(row); !expires || until > nowMicros {
			continue
		}
		key, err := keys.ParseRow(it.Key())
		if err != nil {
			return nil, nil, err
		}
		next = append([]byte(nil), it.Key()...)
		if len(body.GetRows()) == limit {
			break
		}
		body.Rows = append(body.Rows, &commandv1.RowWrite{
			TableId: uint64(key.Table), User: string(key.User), PrimaryKey: append([]byte(nil), key.PrimaryKey...),
			Row: append([]byte(nil), row...), Deleted: true, Expect: commandv1.Expect_EXPECT_SEQ, ExpectSeq: seq,
		})
	}
	return body, next, nil
}
