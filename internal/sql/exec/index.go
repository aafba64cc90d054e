package exec

import (
	"bytes"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// maintained is an index that a write set keeps in line with the rows.
type maintained struct {
	index     *schema.Index
	positions []int
}

// maintain finds the indexes of the table.
func (s *writeSet) maintain() error {
	found := s.scope.Table
	for i := range found.Indexes {
		x := &found.Indexes[i]
		if !x.Maintained() {
			continue
		}
		positions, ok := found.Positions(x)
		if !ok {
			return fmt.Errorf("index %s of %s names a column that is not there", x.Name, found.FullName())
		}
		s.indexes = append(s.indexes, maintained{x, positions})
	}
	return nil
}

// index puts the index entries of a row version into its write: those of the old one go, those of the new one come.
// What stays the same is left out, unless the index is being built: the row's old entry may be missing, and will not be
// added once the row has another _seq.
func (s *writeSet) index(write *commandv1.RowWrite, row, old []datum.Datum) error {
	for _, m := range s.indexes {
		var before, after *commandv1.IndexEntry
		if old != nil {
			before = m.entry(old)
		}
		if !write.GetDeleted() {
			after = m.entry(row)
		}
		if before != nil && after != nil && m.index.State == schema.IndexReady && bytes.Equal(before.GetKey(), after.GetKey()) {
			continue
		}
		size := 0
		if before != nil {
			write.Unindex = append(write.Unindex, before)
			size += len(before.GetKey()) + datumBytes
		}
		if after != nil {
			if after.GetUnique() {
				after.Text = table.IndexText(s.scope.Table, m.index, m.positions, row)
			}
			write.Index = append(write.Index, after)
			size += len(after.GetKey()) + len(after.GetText()) + datumBytes
		}
		if err := s.run.budget.takeBytes(int64(size)); err != nil {
			return err
		}
	}
	return nil
}

func (m *maintained) entry(row []datum.Datum) *commandv1.IndexEntry {
	entry := &commandv1.IndexEntry{IndexId: m.index.ID}
	entry.Key, entry.Unique = schema.AppendIndexKey(nil, m.index, m.positions, row)
	return entry
}
