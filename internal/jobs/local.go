package jobs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

const (
	// localUsersPeriod is the time between two looks for rows of accounts that are gone.
	localUsersPeriod = time.Minute
	// localReturn is how much later than its rows an account must have been made for the rows to be another's: more than clocks
	// of nodes differ, and less than the time after which the id of a dropped account is free.
	localReturn = time.Minute
)

// LocalRows keeps the node-local rows of one node in order, which no job of the cluster can: it removes those whose time is over,
// and those of tables and accounts that are gone. It belongs to one goroutine.
type LocalRows struct {
	Catalog  *catalog.Store
	Store    storage.Reader
	Executor executor.CommandExecutor // of the node-local group
	Clock    clock.Clock

	known     map[ident.TableID]struct{}
	evictions map[ident.TableID]time.Time // when a table is looked through again
	users     time.Time                   // when accounts are looked at again
}

// Tend does what is due. It is called about once a second.
func (l *LocalRows) Tend(ctx context.Context) error {
	current, now := l.Catalog.Current(), l.Clock.Now()
	var tables []*schema.Table
	for _, t := range current.Tables() {
		if t.NodeLocal() {
			tables = append(tables, t)
		}
	}
	if err := l.purgeTables(ctx, current, tables); err != nil {
		return err
	}
	if !now.Before(l.users) {
		for _, t := range tables {
			if err := l.purgeUsers(ctx, current, t, now); err != nil {
				return fmt.Errorf("look for rows of dropped users in %s: %w", t.FullName(), err)
			}
		}
		l.users = now.Add(localUsersPeriod)
	}
	return l.evict(ctx, tables, now)
}

// purgeTables removes what is left of dropped tables. Those that were there the last time are purged even when they have no row:
// live queries of them end with it.
func (l *LocalRows) purgeTables(ctx context.Context, current *catalog.Catalog, tables []*schema.Table) error {
	gone := l.known
	if gone == nil {
		gone = make(map[ident.TableID]struct{})
	}
	if err := l.written(gone); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(gone)) {
		if _, ok := current.TableByID(id); ok {
			continue
		}
		_, err := l.Executor.Execute(ctx, shard.Local, &commandv1.Command{Body: &commandv1.Command_PurgeTable{
			PurgeTable: &commandv1.PurgeTable{TableId: uint64(id)},
		}})
		if err != nil {
			return fmt.Errorf("purge the node-local rows of table %d: %w", id, err)
		}
	}
	l.known = make(map[ident.TableID]struct{}, len(tables))
	for _, t := range tables {
		l.known[t.ID] = struct{}{}
	}
	return nil
}

// written adds the tables that anything was ever written to and that were not purged.
func (l *LocalRows) written(tables map[ident.TableID]struct{}) error {
	lo, hi := keys.ScopesSpan(shard.Local)
	it, err := l.Store.Scan(lo, hi)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; {
		scope, err := keys.ParseScope(it.Key())
		if err != nil {
			_ = it.Close() // the malformed key is the error that matters
			return err
		}
		tables[scope.Table] = struct{}{}
		_, next := keys.ScopeSpan(shard.Local, scope.Table)
		ok = it.SeekGE(next)
	}
	return it.Close()
}

// purgeUsers removes the rows of accounts that are gone, also when there is a new one of the same id.
func (l *LocalRows) purgeUsers(ctx context.Context, current *catalog.Catalog, t *schema.Table, now time.Time) error {
	var gone []ident.UserID
	lo, hi := keys.ScopeSpan(shard.Local, t.ID)
	it, err := l.Store.Scan(lo, hi)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		scope, err := keys.ParseScope(it.Key())
		if err == nil {
			account, exists := current.UserOrDeleted(scope.User)
			orphaned := !exists
			if exists && now.Sub(time.UnixMicro(account.CreatedMicros)) < ttlOf(t)+localReturn {
				orphaned, err = l.older(t, scope.User, account.CreatedMicros-localReturn.Microseconds())
			}
			if orphaned {
				gone = append(gone, scope.User)
			}
		}
		if err != nil {
			_ = it.Close() // the first error is the one that matters
			return err
		}
	}
	if err := it.Close(); err != nil {
		return err
	}
	for _, user := range gone {
		_, err := l.Executor.Execute(ctx, shard.Local, &commandv1.Command{Body: &commandv1.Command_PurgeUser{PurgeUser: &commandv1.PurgeUser{
			User: string(user), Tables: []*commandv1.UserTable{{TableId: uint64(t.ID)}},
		}}})
		if err != nil {
			return err
		}
	}
	return nil
}

// older reports whether a user has a row that was written before a time.
func (l *LocalRows) older(t *schema.Table, user ident.UserID, micros int64) (bool, error) {
	lo, hi := keys.UserTableSpan(shard.Local, t.ID, user)
	e := evictor{reader: l.Store}
	// What was written then ceases to exist its whole life later.
	body, _, err := e.expired(t, lo, hi, micros+ttlOf(t).Microseconds(), 1)
	return len(body.GetRows()) > 0, err
}

func (l *LocalRows) evict(ctx context.Context, tables []*schema.Table, now time.Time) error {
	due := make(map[ident.TableID]time.Time, len(tables))
	e := evictor{reader: l.Store, executor: l.Executor}
	for _, t := range tables {
		if next := l.evictions[t.ID]; now.Before(next) {
			due[t.ID] = next
			continue
		}
		if _, err := e.evict(ctx, shard.Local, t, now.UnixMicro()); err != nil {
			return fmt.Errorf("remove old node-local rows of %s: %w", t.FullName(), err)
		}
		due[t.ID] = now.Add(evictionPause(t))
	}
	l.evictions = due
	return nil
}

// ttlOf is how long the rows of a stream table exist; zero when that cannot be read.
func ttlOf(t *schema.Table) time.Duration {
	seconds, _ := strconv.ParseInt(t.Options[schema.TTLOption], 10, 64)
	return time.Duration(seconds) * time.Second
}

// evictionPause is the time between two looks for rows of a stream table whose time is over.
func evictionPause(t *schema.Table) time.Duration {
	return min(max(ttlOf(t)/evictionsOfTTL, evictShortest), evictLongest)
}
