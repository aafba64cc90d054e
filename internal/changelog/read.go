package changelog

import (
	"bytes"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	"github.com/kalamdb/kalamdb-go/internal/storage/restorevalue"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	"github.com/kalamdb/kalamdb-go/internal/storage/scopevalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Last returns the _seq of the newest change of a group, zero when there never was one.
func Last(reader storage.Reader, group shard.GroupID) (uint64, error) {
	s, _, err := readStart(reader, group)
	if err != nil {
		return 0, err
	}
	lo, hi := keys.ChangesAfter(group, s.floor)
	it, err := reader.Scan(lo, hi)
	if err != nil {
		return 0, fmt.Errorf("newest change of %s: %w", group, err)
	}
	last := s.floor
	if it.Last() {
		_, last, err = keys.ParseChange(it.Key())
	}
	if closeErr := it.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return 0, fmt.Errorf("newest change of %s: %w", group, err)
	}
	return last, nil
}

// Check reports whether all changes of a group after a cursor are in the log; if not it is ErrTooOld.
func Check(reader storage.Reader, group shard.GroupID, after uint64) error {
	s, found, err := readStart(reader, group)
	if err != nil {
		return err
	}
	if found && after >= s.floor {
		return nil
	}
	return fmt.Errorf("changes of %s after %d: %w", group, after, ErrTooOld)
}

// CheckScope is Check for somebody who is interested in one table (and user) only: a cursor is also good when
// no row of it was written since. Then nothing was missed, whatever else was dropped.
func CheckScope(reader storage.Reader, group shard.GroupID, table ident.TableID, user ident.UserID, after uint64) error {
	tooOld := Check(reader, group, after)
	if tooOld == nil {
		return nil
	}
	written, found, err := writtenAt(reader, group, table, user)
	if err != nil || !found {
		return err
	}
	switch {
	case written.Index < command.SeqIndex(after):
		return nil
	case written.Index > command.SeqIndex(after), written.Seq > after:
		return tooOld
	case written.Seq != 0:
		return nil
	}
	// The cursor may stand between two rows of the last command. Either all of its rows in the scope are stored, or none:
	// what makes single ones vanish leaves a Seq.
	newest, err := newestVersion(reader, group, table, user)
	if err != nil {
		return err
	}
	// A command that left no row removed rows of a stream table, which leave nothing behind.
	if newest > after || command.SeqIndex(newest) != written.Index {
		return tooOld
	}
	return nil
}

// CheckCursor is CheckScope for a cursor that comes from outside: the _seq of a row that somebody was given. Of rows that
// went with their table or their account the log tells nothing, so whoever has such rows must start again: a cursor is refused
// when its change is one of a table that does not exist any more, when the scope has lost what was written at the cursor, and when its change was
// dropped from the log and the scope was written to since, or never. Where rows were restored, a cursor from before is of another cluster.
func CheckCursor(
	reader storage.Reader, group shard.GroupID, table ident.TableID, user ident.UserID, cursor uint64, exists func(ident.TableID) bool,
) error {
	if err := checkOrigin(reader, group, cursor); err != nil {
		return err
	}
	if err := CheckScope(reader, group, table, user, cursor); err != nil {
		return err
	}
	tooOld := fmt.Errorf("%d is no change that rows of this table in %s can have: %w", cursor, group, ErrTooOld)
	written, found, err := writtenAt(reader, group, table, user)
	if err != nil {
		return err
	}
	record, kept, err := reader.Get(keys.Change(group, cursor))
	if err != nil {
		return err
	}
	if !kept {
		start, _, failed := readStart(reader, group)
		if failed == nil && cursor <= start.floor && (!found || written.Index > command.SeqIndex(cursor) || written.Seq > cursor) {
			return tooOld
		}
		return failed
	}
	change, _, err := changefeed.DecodeRecord(cursor, record)
	switch {
	case err != nil:
		return fmt.Errorf("%w: change %d of %s: %w", storage.ErrCorruption, cursor, group, err)
	case !exists(change.Table):
		return tooOld
	case change.Table == table && change.User == user && (!found || written.Index < command.SeqIndex(cursor) || written.Seq != 0 && written.Seq < cursor):
		return tooOld
	}
	return nil
}

// checkOrigin refuses a cursor that was given out by the cluster from which the rows of a group were restored.
func checkOrigin(reader storage.Reader, group shard.GroupID, cursor uint64) error {
	value, found, err := reader.Get(keys.Restore(group))
	if err != nil || !found {
		return err
	}
	mark, err := restorevalue.Decode(value)
	switch {
	case err != nil:
		return fmt.Errorf("%w: restore into %s: %w", storage.ErrCorruption, group, err)
	case mark.Foreign(cursor):
		return fmt.Errorf("%d is of the cluster whose backup was restored into %s: %w", cursor, group, ErrTooOld)
	}
	return nil
}

// writtenAt is what last wrote to a scope; found is false for one that nothing was written to, or that was purged.
func writtenAt(reader storage.Reader, group shard.GroupID, table ident.TableID, user ident.UserID) (written scopevalue.Write, found bool, err error) {
	value, found, err := reader.Get(keys.Scope(group, table, user))
	if err != nil || !found {
		return written, false, err
	}
	if written, err = scopevalue.Decode(value); err != nil {
		err = fmt.Errorf("%w: table %d: %w", storage.ErrCorruption, table, err)
	}
	return written, true, err
}

// newestVersion is the highest _seq among the stored versions of a scope, tombstones included.
func newestVersion(reader storage.Reader, group shard.GroupID, table ident.TableID, user ident.UserID) (uint64, error) {
	lo, hi := keys.UserTableSpan(group, table, user)
	it, err := reader.Scan(lo, hi)
	if err != nil {
		return 0, err
	}
	newest := uint64(0)
	for ok := it.First(); ok; ok = it.Next() {
		var value []byte
		value, err = it.Value()
		if err == nil {
			var seq uint64
			seq, _, _, err = rowvalue.Decode(value)
			newest = max(newest, seq)
		}
		if err != nil {
			_ = it.Close() // the first error is the one that matters
			return 0, err
		}
	}
	if err = it.Close(); err != nil {
		return 0, err
	}
	// Versions that were moved into segments since they were written count too.
	cold, hi := keys.Manifest(group, table, user), append(keys.Manifest(group, table, user), 0)
	err = manifest.Each(reader, cold, hi, func(_ []byte, m *commandv1.Manifest) error {
		for _, s := range m.GetSegments() {
			newest = max(newest, s.GetMaxSeq())
		}
		return nil
	})
	return newest, err
}

// Interest says which changes Read gives; nil is all.
type Interest struct {
	Table ident.TableID
	User  ident.UserID // empty for shared tables
}

// Read gives the changes of a group after a cursor, in order, until give returns false. The changes may be
// kept. It does not check whether the log reaches back to the cursor.
func Read(
	reader storage.Reader, group shard.GroupID, after uint64, only *Interest, give func(changefeed.Change) bool,
) error {
	lo, hi := keys.ChangesAfter(group, after)
	it, err := reader.Scan(lo, hi)
	if err != nil {
		return fmt.Errorf("changes of %s: %w", group, err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		record, err := recordAt(it)
		if err != nil {
			_ = it.Close() // the malformed record is the error that matters
			return fmt.Errorf("changes of %s: %w", group, err)
		}
		change := record.Change
		if only != nil && (change.Table != only.Table || change.User != only.User) {
			continue
		}
		change.PrimaryKey, change.Old, change.New = bytes.Clone(change.PrimaryKey), bytes.Clone(change.Old), bytes.Clone(change.New)
		if !give(change) {
			break
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("changes of %s: %w", group, err)
	}
	return nil
}

// State is how much of the changes of a group is kept.
type State struct {
	Retention    Retention
	Kept         changefeed.Totals
	Floor        uint64 // _seq of the newest change that was dropped: the oldest cursor that can be resumed
	Newest       uint64 // _seq of the newest change; zero when there never was one
	OldestMicros int64  // of the oldest change that is kept; zero when there is none
}

// Describe says how much of the changes of a group is kept.
func Describe(reader storage.Reader, group shard.GroupID) (State, error) {
	w := NewWriter(group, DefaultRetention())
	if err := w.Restore(reader); err != nil {
		return State{}, err
	}
	newest, err := Last(reader, group)
	if err != nil {
		return State{}, err
	}
	state := State{
		Retention: w.retention, Floor: w.start.floor, Newest: newest, OldestMicros: w.start.oldestMicros,
		Kept: changefeed.Totals{Entries: w.totals.Entries - w.start.totals.Entries, Bytes: w.totals.Bytes - w.start.totals.Bytes},
	}
	return state, nil
}
