package exec

import (
	"bytes"
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// resolve deals with the row at hand under ON CONFLICT. It reports true when the row was dealt with, and false when nobody has what is
// unique in it.
func (b *rowBuilder) resolve() (done bool, err error) {
	key := datum.AppendKey(nil, b.row[b.set.key])
	owner, by, err := b.arbitrate(key)
	if err != nil {
		return false, err
	}
	if owner != nil {
		return true, b.resolveWith(owner, by)
	}
	if !b.heedsKey() {
		if err = b.refuseKey(key); err != nil {
			return false, err
		}
	}
	return false, b.claimUnique(key, b.row, b.arbiter)
}

// arbiter reports whether an index says what conflicts. Without a target it is one that knows all rows: not one that is being built or dropped,
// of which a duplicate is an error.
func (b *rowBuilder) arbiter(m *maintained) bool {
	return b.conflict.Heeds(m.index.ID) && (!b.conflict.Any || m.index.State == schema.IndexReady)
}

// heedsKey reports whether the primary key is an arbiter.
func (b *rowBuilder) heedsKey() bool { return b.conflict.Any || b.conflict.Key }

// arbitrate finds the row that has what the row at hand has in an arbiter, and the index that says so; nil when there is none, and a nil
// index for the primary key.
func (b *rowBuilder) arbitrate(key []byte) (owner []byte, by *maintained, err error) {
	if b.heedsKey() {
		if b.keys.has(key) {
			return key, nil, nil
		}
		if there, failed := b.lookUp(key); there || failed != nil {
			return key, nil, failed
		}
	}
	for i := range b.set.indexes {
		m := &b.set.indexes[i]
		if !b.arbiter(m) {
			continue
		}
		if owner, err = b.ownerOf(m, b.row); owner != nil || err != nil {
			return owner, m, err
		}
	}
	return nil, nil, nil
}

// resolveWith deals with a row that conflicts with another one, by an index.
func (b *rowBuilder) resolveWith(owner []byte, by *maintained) error {
	own := b.keys.has(owner) || b.run.wroteBefore(b.set, owner)
	switch {
	case !b.conflict.Update && own:
		return nil
	case !b.conflict.Update:
		return b.skip(by)
	case own:
		return fault.New(fault.InvalidStatement, "ON CONFLICT DO UPDATE would change the row with key %s twice", b.keyTextOf(owner))
	}
	there, err := b.lookUp(owner)
	if err != nil {
		return err
	}
	if !there || !b.stillConflicts() {
		// An index that is being dropped points to rows that are not there any more.
		return b.droppedMeanwhile()
	}
	return b.update(owner, by)
}

// droppedMeanwhile is the failure of a statement that was planned with an index which is gone. It is planned anew.
func (b *rowBuilder) droppedMeanwhile() error {
	return fault.New(fault.Altered, "an index of table '%s' was dropped meanwhile; run the statement again", b.set.scope.Table.FullName())
}

// skip leaves a row out because of one that has its value in an index. The command, which would meet the fence of a dropped index, may have no
// rows and so not be sent: entries that nobody keeps any more must not be what decides.
func (b *rowBuilder) skip(by *maintained) error {
	b.skipped = true
	if by == nil {
		return nil
	}
	if ok, err := b.run.indexStands(b.set.scope.Table, by.index); ok || err != nil {
		return err
	}
	return b.droppedMeanwhile()
}

// stillConflicts reports whether the row that was found has what the row at hand has, in an arbiter.
func (b *rowBuilder) stillConflicts() bool {
	if b.heedsKey() && datum.Equal(b.found[b.set.key], b.row[b.set.key]) {
		return true
	}
	for i := range b.set.indexes {
		m := &b.set.indexes[i]
		if b.arbiter(m) && bytes.Equal(m.entry(b.found).GetKey(), m.entry(b.row).GetKey()) {
			return true
		}
	}
	return false
}

// update changes the row that was found as DO UPDATE says.
func (b *rowBuilder) update(key []byte, by *maintained) error {
	width := len(b.columns) + 2
	copy(b.found[width:], b.row)
	if b.conflict.Where != nil {
		keep, err := expr.Test(b.conflict.Where, b.run.eval, b.found)
		if err != nil {
			return err
		}
		if !keep {
			return b.skip(by)
		}
	}
	b.keys.add(key)
	changed := make([]datum.Datum, len(b.columns))
	copy(changed, b.found)
	for _, assignment := range b.conflict.Assignments {
		var err error
		if changed[assignment.Position], err = assignment.Value.Eval(b.run.eval, b.found); err != nil {
			return inColumn(err, b.columns[assignment.Position].Name)
		}
	}
	if err := checkNotNull(b.columns, changed); err != nil {
		return err
	}
	if err := b.freeUnique(key, changed); err != nil {
		return err
	}
	if err := b.claimUnique(key, changed, func(*maintained) bool { return false }); err != nil {
		return err
	}
	_, err := b.set.add(changed, b.found[:width], false, commandv1.Expect_EXPECT_SEQ, b.set.seqOf(b.found))
	return err
}

// checkFree refuses a row whose key is taken inside the transaction. Whether somebody else takes it before
// the commit is decided when that is applied.
func (b *rowBuilder) checkFree() error {
	return b.refuseKey(datum.AppendKey(nil, b.row[b.set.key]))
}

// refuseKey refuses a row whose key another row has.
func (b *rowBuilder) refuseKey(key []byte) error {
	there, err := b.lookUp(key)
	if err != nil || !there {
		return err // the row's own expectation says that nobody else has the key
	}
	if tx := b.run.tx; tx != nil {
		if err = tx.ReadKeys(&b.set.scope, [][]byte{key}); err != nil {
			return err
		}
	}
	return fault.Taken(fault.PrimaryKey, "a row with key %s exists%w", keyText(b.row[b.set.key]), silent{errTaken})
}

// errTaken marks the failure of a row whose unique values another row has already; to run the statement again would
// not help.
var errTaken = errors.New("taken")

// ownerOf finds the row that has the values of a row in a unique index; nil when there is none, as for values of which one is NULL.
func (b *rowBuilder) ownerOf(m *maintained, row []datum.Datum) (owner []byte, err error) {
	if err = b.heed(m); err != nil {
		return nil, err
	}
	entry := m.entry(row)
	if !entry.GetUnique() {
		return nil, nil
	}
	owner, found, err := b.uniqueOwner(b.place(entry))
	if !found || err != nil {
		return nil, err
	}
	return owner, nil
}

// heed refuses an arbiter that the snapshot of the transaction does not have whole.
func (b *rowBuilder) heed(m *maintained) error {
	tx := b.run.tx
	if tx != nil && m.index.Unique {
		tx.Arbitrated = true
	}
	if tx == nil || !m.index.Unique || isReady(tx.Before, b.set.scope.Table, m.index) {
		return nil
	}
	return fault.New(fault.Conflict, "index '%s' was made after the transaction had begun; run the transaction again from its start", m.index.Name)
}

// place is where the store has a unique entry.
func (b *rowBuilder) place(entry *commandv1.IndexEntry) []byte {
	scope := &b.set.scope
	return keys.IndexEntry(scope.Group, scope.Table.ID, entry.GetIndexId(), scope.User, entry.GetKey(), nil)
}

// claimUnique takes the unique values of a row for it, and refuses it when another row has some of them; in indexes that are known to be
// free nobody looks.
func (b *rowBuilder) claimUnique(key []byte, row []datum.Datum, free func(*maintained) bool) error {
	for i := range b.set.indexes {
		m := &b.set.indexes[i]
		entry := m.entry(row)
		if !entry.GetUnique() {
			continue
		}
		place := b.place(entry)
		if err := b.run.budget.takeBytes(int64(len(place)) + entryBytes); err != nil {
			return err
		}
		if free(m) {
			b.unique[string(place)] = key
			continue
		}
		owner, found, err := b.uniqueOwner(place)
		if err != nil {
			return err
		}
		if found && !bytes.Equal(owner, key) {
			return fault.Taken(fault.UniqueIndex, "another row has %s%w",
				table.IndexText(b.set.scope.Table, m.index, m.positions, row), silent{errTaken})
		}
		b.unique[string(place)] = key
	}
	return nil
}

// freeUnique gives up the unique values of the row that was found and is to be changed, as far as they change.
func (b *rowBuilder) freeUnique(key []byte, changed []datum.Datum) error {
	for i := range b.set.indexes {
		m := &b.set.indexes[i]
		entry := m.entry(b.found)
		if !entry.GetUnique() || bytes.Equal(entry.GetKey(), m.entry(changed).GetKey()) {
			continue
		}
		place := b.place(entry)
		owner, found, err := b.uniqueOwner(place)
		if err != nil {
			return err
		}
		if found && bytes.Equal(owner, key) {
			delete(b.unique, string(place))
			b.freed[string(place)] = true
		}
	}
	return nil
}

// uniqueOwner returns the row that has a unique key: of this statement, of its transaction, or of the snapshot.
func (b *rowBuilder) uniqueOwner(place []byte) (owner []byte, found bool, err error) {
	if b.unique == nil {
		b.unique, b.freed = map[string][]byte{}, map[string]bool{}
		if err = b.overlayUnique(); err != nil {
			return nil, false, err
		}
	}
	if owner, found = b.unique[string(place)]; found || b.freed[string(place)] {
		return owner, found, nil
	}
	return b.run.openSnapshot().Get(place)
}

// overlayUnique notes which unique keys the transaction has taken and given up so far.
func (b *rowBuilder) overlayUnique() error {
	if b.run.tx == nil {
		return nil
	}
	scope, held := &b.set.scope, 0
	at := func(entry *commandv1.IndexEntry) string {
		place := string(b.place(entry))
		held += len(place) + entryBytes
		return place
	}
	for _, row := range b.run.tx.Within(scope, &table.Bounds{}) {
		for _, entry := range row.GetUnindex() {
			if entry.GetUnique() {
				b.freed[at(entry)] = true
			}
		}
		for _, entry := range row.GetIndex() {
			if entry.GetUnique() {
				b.unique[at(entry)] = row.GetPrimaryKey()
			}
		}
		if err := b.run.budget.takeBytes(int64(held)); err != nil {
			return err
		}
		held = 0
	}
	return nil
}

// silent is an error that adds no words.
type silent struct{ error }

// Error implements error.
func (silent) Error() string { return "" }

// Unwrap returns the error that stays silent.
func (s silent) Unwrap() error { return s.error }

// lookUp reads the row that has a key.
func (b *rowBuilder) lookUp(key []byte) (there bool, err error) {
	if b.found == nil {
		b.found = make([]datum.Datum, 2*len(b.columns)+2)
	}
	if tx := b.run.tx; tx != nil {
		if row, written := tx.Written(&b.set.scope, key); written {
			if row.GetDeleted() {
				return false, nil
			}
			return true, decodeWritten(table.NewDecoder(b.set.scope.Table, nil), b.set.scope.Table, row, b.found)
		}
	}
	cursor, err := table.Open(b.run.openSnapshot(), b.set.scope, table.Bounds{Points: [][]byte{key}},
		table.ScanOptions{NowMicros: b.run.eval.Env.NowMicros, Memory: b.run.budget.takeBytes})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, cursor.Close()) }()
	return cursor.Next(b.found)
}

// keyTextOf says an encoded key in a message.
func (b *rowBuilder) keyTextOf(key []byte) string {
	value, _, err := datum.DecodeKey(key, b.columns[b.set.key].Type)
	if err != nil {
		return "of another row"
	}
	return keyText(value)
}

// finish makes the command fail when a row that was left out because of what is there might be wanted by
// the time it is applied.
func (b *rowBuilder) finish() error {
	if tx := b.run.tx; tx != nil && b.skipped {
		return tx.ReadScope(&b.set.scope)
	}
	if !b.skipped || len(b.set.body.GetRows()) == 0 {
		return nil
	}
	return b.set.expectUnchanged(b.set.scope)
}
