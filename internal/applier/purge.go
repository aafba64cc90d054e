package applier

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func (d *Data) restorePurged(reader storage.Reader) error {
	d.purged = make(map[ident.TableID]struct{})
	lo, hi := keys.PurgedSpan(d.group)
	it, err := reader.Scan(lo, hi)
	if err != nil {
		return fmt.Errorf("restore purged tables: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		_, table, err := keys.ParsePurged(it.Key())
		if err != nil {
			_ = it.Close() // the malformed key is the error that matters
			return fmt.Errorf("restore purged tables: %w", err)
		}
		d.purged[table] = struct{}{}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("restore purged tables: %w", err)
	}
	return nil
}

// purgeTable removes the rows of a dropped table. Repeating it changes nothing.
func (d *Data) purgeTable(batch *storage.Batch, at place, table ident.TableID) (*commandv1.Response, error) {
	d.forgetCold(table)
	err := batch.DeleteRanges(
		storage.RangeOf(keys.TableSpan(d.group, table)), storage.RangeOf(keys.ScopeSpan(d.group, table)),
		storage.RangeOf(keys.IndexesSpan(d.group, table)), storage.RangeOf(keys.ManifestSpan(d.group, table)),
	)
	if err != nil {
		return nil, err
	}
	if err := batch.Set(keys.Purged(d.group, table), nil); err != nil {
		return nil, err
	}
	d.purged[table] = struct{}{}
	d.changes = append(d.changes, changefeed.Change{Kind: changefeed.Purge, Table: table, Seq: at.seq(0)})
	return done("Table %d purged", table), nil
}

// purgeUser removes the rows of a user from tables, with what their keys tell. Repeating it changes nothing. Live queries are
// not told: the account is gone, and its connections with it.
func (d *Data) purgeUser(batch *storage.Batch, body *commandv1.PurgeUser) (*commandv1.Response, error) {
	user := ident.UserID(body.GetUser())
	if user == "" || !d.private {
		return command.Refuse(fault.Internal, "the rows of no user are to be purged from %s", d.group), nil
	}
	if refused, err := d.admitPurge(batch, body); refused != nil || err != nil {
		return refused, err
	}
	for _, t := range body.GetTables() {
		table := ident.TableID(t.GetTableId())
		if err := batch.DeleteRange(keys.UserTableSpan(d.group, table, user)); err != nil {
			return nil, err
		}
		for _, index := range t.GetIndexIds() {
			if err := batch.DeleteRange(keys.UserIndexSpan(d.group, table, index, user)); err != nil {
				return nil, err
			}
		}
		for _, key := range [][]byte{keys.Scope(d.group, table, user), keys.Manifest(d.group, table, user)} {
			if err := batch.Delete(key); err != nil {
				return nil, err
			}
		}
		delete(d.cold, coldScope{table: table, user: user})
	}
	return done("The rows of user '%s' are purged from %d tables", user, len(body.GetTables())), nil
}

// admitPurge refuses to remove what was written since the sender found the account gone: a run that lost its job may have the command under way while
// another account has the name by now.
func (d *Data) admitPurge(batch *storage.Batch, body *commandv1.PurgeUser) (*commandv1.Response, error) {
	if body.GetUptoIndex() == 0 {
		return nil, nil
	}
	for _, t := range body.GetTables() {
		last, err := d.lastWrite(batch, t.GetTableId(), body.GetUser())
		if err != nil {
			return nil, err
		}
		if last > body.GetUptoIndex() {
			return command.Refuse(fault.Conflict, "rows of user '%s' were written at index %d, behind %d; run the job again", body.GetUser(), last, body.GetUptoIndex()), nil
		}
	}
	return nil, nil
}
