package schemachange

import (
	"context"
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// The bounds of one command that adds index entries. A row alone may pass the bytes.
const (
	chunkRows  = 1000
	chunkBytes = 256 << 10
)

// storedRow is a live row of a table, of whatever user.
type storedRow struct {
	key    keys.RowKey
	seq    uint64
	values []datum.Datum
}

// each visits the live rows of a table in a group from a key on, until visit returns false. It returns the key to go on
// with, nil at the end. The values at positions are decoded.
func (w *Worker) each(
	group shard.GroupID, t *schema.Table, from []byte, positions []int, visit func(*storedRow) bool,
) (next []byte, err error) {
	low, high := keys.TableSpan(group, t.ID)
	if from != nil {
		low = from
	}
	it, err := w.Storage.Scan(low, high)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	decoder := schema.NewRowDecoder(t, positions)
	row := storedRow{values: make([]datum.Datum, len(t.Columns))}
	for ok := it.First(); ok; ok = it.Next() {
		live, err := row.read(it.Key(), it.Value, decoder)
		if errors.Is(err, schema.ErrAltered) {
			return nil, fault.New(fault.Altered, "table '%s' was altered meanwhile", t.FullName())
		}
		if err != nil {
			return nil, err
		}
		if live && !visit(&row) {
			return append(append([]byte(nil), it.Key()...), 0), nil
		}
	}
	return nil, it.Err()
}

// read takes a stored row apart; live is false for a deleted one.
func (r *storedRow) read(key []byte, value func() ([]byte, error), decoder *schema.RowDecoder) (live bool, err error) {
	if r.key, err = keys.ParseRow(key); err != nil {
		return false, err
	}
	stored, err := value()
	if err != nil {
		return false, err
	}
	seq, deleted, encoded, err := rowvalue.Decode(stored)
	if err != nil || deleted {
		return false, err
	}
	r.seq = seq
	return true, decoder.Decode(encoded, r.values)
}

// fill adds the entries of all rows of a group to an index.
func (w *Worker) fill(ctx context.Context, group shard.GroupID, t *schema.Table, x *schema.Index) error {
	positions, ok := t.Positions(x)
	if !ok {
		return fmt.Errorf("index %s of %s has no columns", x.Name, t.FullName())
	}
	var from []byte
	for {
		body := &commandv1.IndexRows{TableId: uint64(t.ID)}
		size := 0
		next, err := w.each(group, t, from, positions, func(row *storedRow) bool {
			size += addEntry(body, t, x, positions, row, false)
			return len(body.GetRows()) < chunkRows && size < chunkBytes
		})
		if err != nil {
			return err
		}
		if err = w.addEntries(ctx, group, body); err != nil {
			return err
		}
		if next == nil {
			break
		}
		from = next
	}
	return w.fillCold(ctx, group, t, x, positions)
}

// addEntry appends the entry of a row and returns its size. Private rows are not their reader's who asked for the index: what they
// have in common is not told, so that it goes without a text.
func addEntry(body *commandv1.IndexRows, t *schema.Table, x *schema.Index, positions []int, row *storedRow, cold bool) int {
	entry := &commandv1.IndexEntry{IndexId: x.ID}
	entry.Key, entry.Unique = schema.AppendIndexKey(nil, x, positions, row.values)
	if entry.Unique && t.Kind == schema.KindShared {
		entry.Text = table.IndexText(t, x, positions, row.values)
	}
	body.Rows = append(body.Rows, &commandv1.IndexRow{
		User: string(row.key.User), PrimaryKey: append([]byte(nil), row.key.PrimaryKey...), ExpectSeq: row.seq, Entry: entry, Cold: cold,
	})
	return len(entry.Key) + len(row.key.PrimaryKey) + len(entry.Text)
}

func (w *Worker) addEntries(ctx context.Context, group shard.GroupID, body *commandv1.IndexRows) error {
	if len(body.GetRows()) == 0 {
		return nil
	}
	_, err := w.Executor.Execute(ctx, group, &commandv1.Command{Body: &commandv1.Command_IndexRows{IndexRows: body}})
	return err
}

// hasNull looks for a live row without a value in a column.
func (w *Worker) hasNull(group shard.GroupID, t *schema.Table, position int) (found bool, err error) {
	look := func(row *storedRow) bool {
		found = row.values[position].IsNull()
		return !found
	}
	if _, err = w.each(group, t, nil, []int{position}, look); err != nil || found {
		return found, err
	}
	err = w.eachCold(group, t, []int{position}, func(row *storedRow) (bool, error) { return look(row), nil })
	return found, err
}

// HasRows reports whether a table has a live row in any of its groups.
func (w *Worker) HasRows(ctx context.Context, t *schema.Table) (found bool, err error) {
	for _, group := range Groups(w.Catalog.Current(), t) {
		if _, err := w.Executor.Barrier(ctx, group); err != nil {
			return false, err
		}
		if _, err := w.each(group, t, nil, []int{}, func(*storedRow) bool { found = true; return false }); err != nil || found {
			return found, err
		}
		if err := w.eachCold(group, t, nil, func(*storedRow) (bool, error) { found = true; return false, nil }); err != nil || found {
			return found, err
		}
	}
	return false, nil
}
