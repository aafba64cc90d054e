package exec

import (
	"bytes"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// uniqueEntry is an entry of a unique index that a statement gives to a row or takes from one.
type uniqueEntry struct {
	place string // in the store
	row   *commandv1.RowWrite
	entry *commandv1.IndexEntry
}

// refuseDuplicates refuses unique values that two rows would have after the command of a statement of several parts. Parts with ON CONFLICT
// have found none, so they are those of a part without it, and to run the statement again would not help. As applying does, it judges at the
// end: values may change hands within a statement.
func (r *run) refuseDuplicates() error {
	group, _ := r.tx.Begun()
	freed, given := map[string][]byte{}, []uniqueEntry{}
	for _, row := range r.tx.All() {
		for _, entry := range row.GetUnindex() {
			if entry.GetUnique() {
				freed[placeOf(group, row, entry)] = row.GetPrimaryKey()
			}
		}
		for _, entry := range row.GetIndex() {
			if entry.GetUnique() {
				given = append(given, uniqueEntry{placeOf(group, row, entry), row, entry})
			}
		}
	}
	owners := map[string][]byte{}
	for _, g := range given {
		if err := r.budget.takeBytes(int64(len(g.place)) + 2*entryBytes); err != nil {
			return err
		}
		owner, found := owners[g.place]
		if !found {
			var err error
			if owner, found, err = r.openSnapshot().Get([]byte(g.place)); err != nil {
				return err
			}
			found = found && !bytes.Equal(freed[g.place], owner)
		}
		if found && !bytes.Equal(owner, g.row.GetPrimaryKey()) {
			return r.duplicate(&g)
		}
		owners[g.place] = g.row.GetPrimaryKey()
	}
	return nil
}

func placeOf(group shard.GroupID, row *commandv1.RowWrite, entry *commandv1.IndexEntry) string {
	return string(keys.IndexEntry(group, ident.TableID(row.GetTableId()), entry.GetIndexId(), ident.UserID(row.GetUser()), entry.GetKey(), nil))
}

// duplicate is the failure of a value that another row has, unless the index is gone that says so: then its entries are those of any time.
func (r *run) duplicate(g *uniqueEntry) error {
	newest, err := r.newestCatalog()
	if err != nil {
		return err
	}
	current, ok := newest.TableByID(ident.TableID(g.row.GetTableId()))
	if ok {
		for i := range current.Indexes {
			if current.Indexes[i].ID == g.entry.GetIndexId() && current.Indexes[i].Maintained() {
				return fault.Taken(fault.UniqueIndex, "another row has %s%w", g.entry.GetText(), silent{errTaken})
			}
		}
	}
	return fault.New(fault.Altered, "an index was dropped meanwhile; run the statement again")
}
