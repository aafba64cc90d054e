package schema

import (
	"maps"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// IndexState says what may be done with an index. The numbers are part of the catalog format.
type IndexState uint8

// The states of an index.
const (
	IndexBuilding IndexState = 1 // new rows are in it, older ones are being added; nobody reads it
	IndexReady    IndexState = 2
	IndexDropping IndexState = 3 // new rows are not in it; its entries are being removed
	// IndexRetiring comes before IndexDropping: new rows are in it and nobody begins to read it. Commands that depend on
	// what they read of it are still on their way, until every group is fenced.
	IndexRetiring IndexState = 4
)

// String prints the state as system tables show it.
func (s IndexState) String() string {
	switch s {
	case IndexBuilding:
		return "building"
	case IndexReady:
		return "ready"
	case IndexDropping, IndexRetiring:
		return "dropping"
	}
	return "unknown"
}

// MaxIndexes bounds the indexes of a table, those that are being dropped included.
const MaxIndexes = 16

// MaxIndexColumns bounds the columns of an index.
const MaxIndexColumns = 8

// Index is a secondary index. Its entries lie beside the rows, in the same group and under the same user, so that a
// row and its entries change together.
type Index struct {
	ID      uint32
	Name    string
	Columns []uint32 // column ids
	Unique  bool     // no two rows of a scope have the same values, unless one is NULL
	State   IndexState
}

// Maintained reports whether rows that are written now belong into the index.
func (x *Index) Maintained() bool {
	return x.State == IndexBuilding || x.State == IndexReady || x.State == IndexRetiring
}

// Dropped reports whether the index is on its way out.
func (x *Index) Dropped() bool { return x.State == IndexDropping || x.State == IndexRetiring }

// Index returns the position of the named index that is not being dropped.
func (t *Table) Index(name string) (position int, ok bool) {
	for i := range t.Indexes {
		if t.Indexes[i].Name == name && !t.Indexes[i].Dropped() {
			return i, true
		}
	}
	return 0, false
}

// IndexedBy lists the maintained indexes that hold a column.
func (t *Table) IndexedBy(column uint32) []*Index {
	var found []*Index
	for i := range t.Indexes {
		if t.Indexes[i].Maintained() && slices.Contains(t.Indexes[i].Columns, column) {
			found = append(found, &t.Indexes[i])
		}
	}
	return found
}

// UniqueColumn reports whether no two rows of a scope have the same value in a column: it is the primary key, or a unique
// index that is ready holds it alone.
func (t *Table) UniqueColumn(position int) bool {
	column := &t.Columns[position]
	return column.PrimaryKey || slices.ContainsFunc(t.Indexes, func(x Index) bool {
		return x.Unique && x.State == IndexReady && len(x.Columns) == 1 && x.Columns[0] == column.ID
	})
}

// Positions returns the positions of an index's columns in Columns; ok is false when one of them is not there.
func (t *Table) Positions(x *Index) (positions []int, ok bool) {
	positions = make([]int, len(x.Columns))
	for i, id := range x.Columns {
		positions[i] = slices.IndexFunc(t.Columns, func(c Column) bool { return c.ID == id })
		if positions[i] < 0 {
			return nil, false
		}
	}
	return positions, true
}

// AppendIndexKey appends the encoded values of an index, in order. unique reports whether the key is one that no
// other row may have: NULL equals nothing.
func AppendIndexKey(dst []byte, x *Index, positions []int, row []datum.Datum) (key []byte, unique bool) {
	unique = x.Unique
	for _, position := range positions {
		dst = datum.AppendKey(dst, row[position])
		unique = unique && !row[position].IsNull()
	}
	return dst, unique
}

// Clone returns a copy whose columns and indexes may be changed.
func (t *Table) Clone() *Table {
	clone := *t
	clone.Columns = slices.Clone(t.Columns)
	clone.Indexes = slices.Clone(t.Indexes)
	options := make(map[string]string, len(t.Options))
	maps.Copy(options, t.Options)
	clone.Options = options
	return &clone
}

// Unfinished reports whether work on the rows is left from changes of the descriptor.
func (t *Table) Unfinished() bool {
	return slices.ContainsFunc(t.Columns, func(c Column) bool { return c.Proof != ProofDone }) ||
		slices.ContainsFunc(t.Indexes, func(x Index) bool { return x.State != IndexReady })
}

// LeadsIndex reports whether a column is the first one of an index that is ready.
func (t *Table) LeadsIndex(position int) bool {
	return position < len(t.Columns) && slices.ContainsFunc(t.Indexes, func(x Index) bool {
		return x.State == IndexReady && len(x.Columns) > 0 && x.Columns[0] == t.Columns[position].ID
	})
}
