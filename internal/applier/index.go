package applier

import (
	"bytes"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// indexChanges collects what a command does to index entries. A unique key may change hands within a command, so
// who has it is judged at the end.
type indexChanges struct {
	data   *Data
	batch  *storage.Batch
	byKey  map[string]*indexOwners
	inTurn []*indexOwners // in the order of the command
}

// indexOwners are the rows that have one key.
type indexOwners struct {
	key    []byte
	rows   [][]byte // primary keys
	unique bool
	text   string
}

func (d *Data) newIndexChanges(batch *storage.Batch) *indexChanges {
	return &indexChanges{data: d, batch: batch, byKey: map[string]*indexOwners{}}
}

// owners returns who has the key of an entry, as far as the command has come.
func (c *indexChanges) owners(table ident.TableID, user ident.UserID, entry *commandv1.IndexEntry, primaryKey []byte) (*indexOwners, error) {
	below := primaryKey
	if entry.GetUnique() {
		below = nil
	}
	key := keys.IndexEntry(c.data.group, table, entry.GetIndexId(), user, entry.GetKey(), below)
	if known, ok := c.byKey[string(key)]; ok {
		return known, nil
	}
	found := &indexOwners{key: key, unique: entry.GetUnique()}
	if found.unique {
		stored, ok, err := c.batch.Get(key)
		if err != nil {
			return nil, err
		}
		if ok {
			found.rows = append(found.rows, stored)
		}
	}
	c.byKey[string(key)] = found
	c.inTurn = append(c.inTurn, found)
	return found, nil
}

func (c *indexChanges) remove(table ident.TableID, user ident.UserID, entry *commandv1.IndexEntry, primaryKey []byte) error {
	owners, err := c.owners(table, user, entry, primaryKey)
	if err != nil {
		return err
	}
	for i, row := range owners.rows {
		if bytes.Equal(row, primaryKey) {
			owners.rows = append(owners.rows[:i:i], owners.rows[i+1:]...)
			break
		}
	}
	return nil
}

func (c *indexChanges) add(table ident.TableID, user ident.UserID, entry *commandv1.IndexEntry, primaryKey []byte) error {
	owners, err := c.owners(table, user, entry, primaryKey)
	if err != nil {
		return err
	}
	owners.text = entry.GetText()
	for _, row := range owners.rows {
		if bytes.Equal(row, primaryKey) {
			return nil
		}
	}
	owners.rows = append(owners.rows, primaryKey)
	return nil
}

// write refuses a unique key of two rows, or puts everything into the batch.
func (c *indexChanges) write() (*commandv1.Response, error) {
	for _, owners := range c.inTurn {
		if len(owners.rows) > 1 {
			if owners.text == "" {
				return command.RefuseTaken(fault.UniqueIndex, "another row has the same values in a unique index"), nil
			}
			return command.RefuseTaken(fault.UniqueIndex, "another row has %s", owners.text), nil
		}
	}
	for _, owners := range c.inTurn {
		var err error
		if len(owners.rows) == 0 {
			err = c.batch.Delete(owners.key)
		} else {
			err = c.batch.Set(owners.key, owners.rows[0])
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// writeIndexes changes the index entries of rows whose expectations hold.
func (d *Data) writeIndexes(batch *storage.Batch, rows []*commandv1.RowWrite) (*commandv1.Response, error) {
	var changes *indexChanges
	for _, row := range rows {
		if len(row.GetUnindex()) == 0 && len(row.GetIndex()) == 0 {
			continue
		}
		if changes == nil {
			changes = d.newIndexChanges(batch)
		}
		table, user := ident.TableID(row.GetTableId()), ident.UserID(row.GetUser())
		for _, entry := range row.GetUnindex() {
			if err := changes.remove(table, user, entry, row.GetPrimaryKey()); err != nil {
				return nil, err
			}
		}
		for _, entry := range row.GetIndex() {
			if err := changes.add(table, user, entry, row.GetPrimaryKey()); err != nil {
				return nil, err
			}
		}
	}
	if changes == nil {
		return nil, nil
	}
	return changes.write()
}

// indexRows adds the entries of rows that are still the ones that were read.
func (d *Data) indexRows(batch *storage.Batch, body *commandv1.IndexRows) (*commandv1.Response, error) {
	table := ident.TableID(body.GetTableId())
	if refusal := d.admitTable(table); refusal != nil {
		return refusal, nil
	}
	changes, added := d.newIndexChanges(batch), uint32(0)
	for _, row := range body.GetRows() {
		user := ident.UserID(row.GetUser())
		current, hot, err := readHot(batch, keys.Row(d.group, table, user, row.GetPrimaryKey()))
		if err != nil {
			return nil, err
		}
		// A row that was read in a segment is still there when it is not hot: nothing is moved behind the fence.
		if hot == row.GetCold() || hot && (!current.live || current.seq != row.GetExpectSeq()) {
			continue
		}
		if err := changes.add(table, user, row.GetEntry(), row.GetPrimaryKey()); err != nil {
			return nil, err
		}
		added++
	}
	refusal, err := changes.write()
	if refusal != nil || err != nil {
		return refusal, err
	}
	return &commandv1.Response{Affected: added}, nil
}

// purgeIndex removes the entries of a dropped index. Repeating it changes nothing.
func (d *Data) purgeIndex(batch *storage.Batch, body *commandv1.PurgeIndex) (*commandv1.Response, error) {
	table := ident.TableID(body.GetTableId())
	if refusal := d.admitTable(table); refusal != nil {
		return refusal, nil
	}
	if err := batch.DeleteRange(keys.IndexSpan(d.group, table, body.GetIndexId())); err != nil {
		return nil, err
	}
	return done("Index %d of table %d purged", body.GetIndexId(), table), nil
}
