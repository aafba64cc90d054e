package exec

import (
	"bytes"
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// resolve deals with the row at hand under ON CONFLICT. It reports true when the row was dealt with, and
// false when its key is free.
func (b *rowBuilder) resolve() (done bool, err error) {
	key := datum.AppendKey(nil, b.row[b.set.key])
	if b.keys.has(key) {
		if b.conflict.Update {
			return false, fault.New(fault.InvalidStatement, "ON CONFLICT DO UPDATE would change the row with key %s twice", keyText(b.row[b.set.key]))
		}
		return true, nil
	}
	there, err := b.lookUp(key)
	if err != nil {
		return false, err
	}
	if !there {
		return b.resolveUnique(key, b.row)
	}
	if !b.conflict.Update {
		b.skipped = true
		return true, nil
	}
	b.keys.add(key)
	width := len(b.columns) + 2
	copy(b.found[width:], b.row)
	if b.conflict.Where != nil {
		keep, failure := expr.Test(b.conflict.Where, b.run.eval, b.found)
		if failure != nil {
			return false, failure
		}
		if !keep {
			b.skipped = true
			return true, nil
		}
	}
	changed := make([]datum.Datum, len(b.columns))
	copy(changed, b.found)
	for _, assignment := range b.conflict.Assignments {
		if changed[assignment.Position], err = assignment.Value.Eval(b.run.eval, b.found); err != nil {
			return false, inColumn(err, b.columns[assignment.Position].Name)
		}
	}
	if err = checkNotNull(b.columns, changed); err != nil {
		return false, err
	}
	if _, err = b.resolveUnique(key, changed); err != nil {
		return false, err
	}
	_, err = b.set.add(changed, b.found[:width], false, commandv1.Expect_EXPECT_SEQ, b.set.seqOf(b.found))
	return true, err
}

// checkFree refuses a row whose key is taken inside the transaction. Whether somebody else takes it before
// the commit is decided when that is applied.
func (b *rowBuilder) checkFree() error {
	key := datum.AppendKey(nil, b.row[b.set.key])
	there, err := b.lookUp(key)
	if err != nil || !there {
		return err // the row's own expectation says that nobody else has the key
	}
	if err = b.run.tx.ReadKeys(&b.set.scope, [][]byte{key}); err != nil {
		return err
	}
	return fault.New(fault.DuplicateKey, "Primary key violation: a row with key %s exists", keyText(b.row[b.set.key]))
}

// errTaken marks the failure of a row whose unique values another row has already; to run the statement again would
// not help.
var errTaken = errors.New("taken")

// resolveUnique reports true when a row is left out because another one has its values in a unique index. Where a
// conflict was said to be one of the primary key, or is to change a row, that is an error.
func (b *rowBuilder) resolveUnique(key []byte, row []datum.Datum) (done bool, err error) {
	for i := range b.set.indexes {
		m := &b.set.indexes[i]
		entry := m.entry(row)
		if !entry.GetUnique() {
			continue
		}
		scope := b.set.scope
		place := keys.IndexEntry(scope.Group, scope.Table.ID, entry.GetIndexId(), scope.User, entry.GetKey(), nil)
		owner, found, err := b.uniqueOwner(place)
		if err != nil {
			return false, err
		}
		if !found {
			b.claim(place, key)
			continue
		}
		if bytes.Equal(owner, key) {
			continue
		}
		if b.conflict.Update || b.conflict.Target {
			return false, fault.New(fault.DuplicateKey, "Unique violation: another row has %s%w",
				table.IndexText(scope.Table, m.index, m.positions, row), silent{errTaken})
		}
		b.skipped = true
		return true, nil
	}
	return false, nil
}

// uniqueOwner returns the row that has a unique key: of this statement, of its transaction, or of the snapshot.
func (b *rowBuilder) uniqueOwner(place []byte) (owner []byte, found bool, err error) {
	if b.unique == nil {
		b.unique, b.freed = map[string][]byte{}, map[string]bool{}
		b.overlayUnique()
	}
	if owner, found = b.unique[string(place)]; found || b.freed[string(place)] {
		return owner, found, nil
	}
	return b.run.openSnapshot().Get(place)
}

// overlayUnique notes which unique keys the transaction has taken and given up so far.
func (b *rowBuilder) overlayUnique() {
	if b.run.tx == nil {
		return
	}
	scope := &b.set.scope
	at := func(entry *commandv1.IndexEntry) string {
		return string(keys.IndexEntry(scope.Group, scope.Table.ID, entry.GetIndexId(), scope.User, entry.GetKey(), nil))
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
	}
}

// claim remembers a unique key that the statement takes.
func (b *rowBuilder) claim(place, key []byte) {
	b.unique[string(place)] = key
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
