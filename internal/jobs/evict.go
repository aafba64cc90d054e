package jobs

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
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

// evictStreams removes the rows of stream tables whose time is over.
func (r *Runner) evictStreams(ctx context.Context, now time.Time) error {
	current := r.cfg.Catalog.Current()
	cluster := current.Cluster()
	if cluster == nil {
		return nil
	}
	due := make(map[ident.TableID]time.Time)
	for _, found := range current.Tables() {
		if found.Kind != schema.KindStream {
			continue
		}
		if next := r.chores.evictions[found.ID]; now.Before(next) {
			due[found.ID] = next
			continue
		}
		for _, group := range cluster.Shards.Groups() {
			if group.Class() != shard.ClassUser {
				continue
			}
			if err := r.evict(ctx, group, found, now.UnixMicro()); err != nil {
				return fmt.Errorf("remove old rows of %s: %w", found.FullName(), err)
			}
		}
		seconds, _ := strconv.ParseInt(found.Options[schema.TTLOption], 10, 64) // the shortest pause if it cannot be read
		pause := time.Duration(seconds) * time.Second / evictionsOfTTL
		due[found.ID] = now.Add(min(max(pause, evictShortest), evictLongest))
	}
	r.chores.evictions = due
	return nil
}

// evict removes the old rows of one table in one group. A row that was written anew meanwhile makes the command fail
// as a whole; the next period tries again.
func (r *Runner) evict(ctx context.Context, group shard.GroupID, found *schema.Table, nowMicros int64) error {
	from, hi := keys.TableSpan(group, found.ID)
	for range evictRounds {
		body, next, err := r.expired(from, hi, nowMicros)
		if err != nil || len(body.GetRows()) == 0 {
			return err
		}
		_, err = r.cfg.Executor.Execute(ctx, group, &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: body}})
		if err != nil && !refused(err) {
			return err
		}
		from = next
	}
	return nil
}

// expired collects the first rows of a span whose time is over, and where to go on.
func (r *Runner) expired(lo, hi []byte, nowMicros int64) (body *commandv1.WriteRows, next []byte, err error) {
	it, err := r.cfg.Store.Scan(lo, hi)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if closeErr := it.Close(); err == nil {
			err = closeErr
		}
	}()
	body = &commandv1.WriteRows{}
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
		if len(body.GetRows()) == evictRows {
			break
		}
		body.Rows = append(body.Rows, &commandv1.RowWrite{
			TableId: uint64(key.Table), User: string(key.User), PrimaryKey: append([]byte(nil), key.PrimaryKey...),
			Row: append([]byte(nil), row...), Deleted: true, Expect: commandv1.Expect_EXPECT_SEQ, ExpectSeq: seq,
		})
	}
	return body, next, nil
}
