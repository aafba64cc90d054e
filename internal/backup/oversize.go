package backup

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

const (
	// headerBytes is what a command has beside its rows, at most.
	headerBytes = 256
	// widestKey is how many times as long as in its row a value can be in the key of an index: a small number in an array.
	widestKey = 5
	// maxKeyText bounds how much of a key a message repeats.
	maxKeyText = 128
)

// rowsFit looks for rows of which an entry of the log cannot take one alone, before anything is changed. A row can be that large only in a chunk that is larger than what
// entries take, counted with the indexes that repeat its values; most backups have none, and then no chunk is read.
func (rs *restorer) rowsFit(ctx context.Context) error {
	limit := rs.target.LargestCommand
	if limit == 0 {
		return nil
	}
	tables, indexes, err := rs.tablesOfBackup(ctx)
	if err != nil {
		return err
	}
	for _, group := range rs.manifest.Groups {
		for _, chunk := range group.Chunks {
			if chunk.Bytes*int64(1+widestKey*indexes) <= int64(limit) {
				continue
			}
			err := rs.reader.records(ctx, chunk, func(record *Record, _ []byte) error {
				table := tables[record.Table]
				if table == nil || (len(record.Value)+len(record.Key))*(1+widestKey*len(table.Indexes))+headerBytes <= limit {
					return nil
				}
				row, err := table.rowOf(record)
				if err != nil {
					return err
				}
				return table.fits(row, limit)
			})
			if err != nil {
				return damaged(err)
			}
		}
	}
	return nil
}

// tablesOfBackup reads the tables of the backup's catalog, and the most indexes that one has.
func (rs *restorer) tablesOfBackup(ctx context.Context) (tables map[ident.TableID]*restoredTable, indexes int, err error) {
	tables = map[ident.TableID]*restoredTable{}
	for _, chunk := range rs.manifest.Catalog.Chunks {
		err = rs.reader.records(ctx, chunk, func(record *Record, _ []byte) error {
			_, kind, _, failed := keys.Split(record.Key)
			if failed != nil || kind != keys.KindTable {
				return failed
			}
			t, failed := catalog.UnmarshalTable(record.Value)
			if failed != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, failed)
			}
			indexes = max(indexes, len(t.Indexes))
			tables[t.ID], failed = newRestoredTable(t)
			return failed
		})
		if err != nil {
			return nil, 0, damaged(err)
		}
	}
	return tables, indexes, nil
}

// fits refuses a row of which a command that has it alone is larger than a limit.
func (t *restoredTable) fits(row *commandv1.RowWrite, limit int) error {
	size := headerBytes + proto.Size(row)
	if size <= limit {
		return nil
	}
	owner := ""
	if row.GetUser() != "" {
		owner = fmt.Sprintf(" of the user '%s'", row.GetUser())
	}
	what := fmt.Sprintf("the row %s%s in table '%s' takes %d bytes of the log with the entries of its %d indexes", t.keyText(row), owner, t.FullName(), size, len(t.Indexes))
	if size > command.MaxBytes {
		return fault.New(fault.LimitExceeded, "%s, and no entry of a log has more than %d: drop an index of the table, or make the row smaller, where it was backed up, and back that up",
			what, command.MaxBytes)
	}
	return fault.New(fault.LimitExceeded, "%s, which is more than a quarter of raft.log_segment_bytes of this cluster: restore into one that was started with "+
		"raft.log_segment_bytes = %d or more on every node", what, segmentFor(size))
}

// tooLarge says that a row is, which a leader has refused: its log may take smaller entries than that of the node that restores. It may be called from any
// goroutine.
func (rs *restorer) tooLarge(row *commandv1.RowWrite) error {
	table := rs.tables[ident.TableID(row.GetTableId())]
	own, err := newRestoredTable(table.Table)
	if err != nil {
		return err
	}
	return own.fits(row, 0)
}

// segmentFor is the least size of a segment, in whole MiB, of which an entry of some bytes is a quarter.
func segmentFor(size int) int {
	const unit = 1 << 20
	return (4*(size+headerBytes) + unit - 1) / unit * unit
}

// keyText prints the primary key of a row.
func (t *restoredTable) keyText(row *commandv1.RowWrite) string {
	at := t.PrimaryKey()
	if at < 0 || row.GetDeleted() || t.decoder.Decode(row.GetRow(), t.values) != nil {
		return fmt.Sprintf("with the key %x", row.GetPrimaryKey()[:min(len(row.GetPrimaryKey()), maxKeyText)])
	}
	text := t.values[at].String()
	return fmt.Sprintf("with %s = %s", t.Columns[at].Name, text[:min(len(text), maxKeyText)])
}

// newRestoredTable prepares a table for rows.
func newRestoredTable(t *schema.Table) (*restoredTable, error) {
	table := &restoredTable{Table: t, decoder: schema.NewRowDecoder(t, nil), values: make([]datum.Datum, len(t.Columns))}
	for i := range t.Indexes {
		places, ok := t.Positions(&t.Indexes[i])
		if !ok {
			return nil, fmt.Errorf("%w: index %s of %s has no columns", ErrDamaged, t.Indexes[i].Name, t.FullName())
		}
		table.places = append(table.places, places)
	}
	return table, nil
}

// rowOf makes of a record what is written.
func (t *restoredTable) rowOf(record *Record) (*commandv1.RowWrite, error) {
	row := &commandv1.RowWrite{
		TableId: uint64(record.Table), User: string(record.User), PrimaryKey: slices.Clone(record.Key), Row: slices.Clone(record.Value), Deleted: record.Deleted,
	}
	if !record.Deleted {
		if err := t.index(row); err != nil {
			return nil, fmt.Errorf("%w: a row of %s: %w", ErrDamaged, t.FullName(), err)
		}
	}
	return row, nil
}
