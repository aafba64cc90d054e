package applier

import (
	"encoding/binary"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// A data group knows no descriptors, but two rules keep writes of an old one from doing harm. A row that was
// written under a later version of the schema is not overwritten by one of an earlier version, which would drop the
// values that the earlier one does not know. And where that is not enough, because an index or a constraint must hold for
// every row, a fence refuses whatever was made with a descriptor before a revision.

func altered() *commandv1.Response {
	return command.Refuse(fault.Altered, "the table was altered meanwhile; run the statement again")
}

// writtenLater reports whether a row was written under a later version than another. Bytes that are no row have
// no version.
func writtenLater(stored, written []byte) bool {
	if len(stored) == 0 || len(written) == 0 {
		return false
	}
	before, err := schema.RowVersion(stored)
	if err != nil {
		return false
	}
	now, err := schema.RowVersion(written)
	return err == nil && before > now
}

// fenceTable raises the fence of a table; a lower one changes nothing.
func (d *Data) fenceTable(batch *storage.Batch, body *commandv1.FenceTable) (*commandv1.Response, error) {
	table := ident.TableID(body.GetTableId())
	if refusal := d.admitTable(table); refusal != nil {
		return refusal, nil
	}
	if d.fences[table] >= body.GetRevision() {
		return done("Table %d is fenced at %d", table, d.fences[table]), nil
	}
	value := binary.BigEndian.AppendUint32(nil, body.GetRevision())
	if err := batch.Set(keys.Fence(d.group, table), value); err != nil {
		return nil, err
	}
	d.fences[table] = body.GetRevision()
	return done("Table %d is fenced at %d", table, body.GetRevision()), nil
}

// admitTable refuses what concerns a table that is gone.
func (d *Data) admitTable(table ident.TableID) *commandv1.Response {
	if table == 0 {
		return command.Refuse(fault.Internal, "the command names no table")
	}
	if _, purged := d.purged[table]; purged {
		return command.Refuse(fault.TableNotFound, "Table not found: it was dropped")
	}
	return nil
}

// checkFences refuses writes that were made with a descriptor before the fence of their table, and those that depend on an
// index which was read by such a descriptor: rows may be written without it since.
func (d *Data) checkFences(body *commandv1.WriteRows) *commandv1.Response {
	if len(d.fences) == 0 {
		return nil
	}
	last := uint64(0)
	for _, row := range body.GetRows() {
		if row.GetTableId() == last {
			continue
		}
		if last = row.GetTableId(); d.fenced(last, body.GetRevisions()) {
			return altered()
		}
	}
	for _, span := range body.GetIndexSpans() {
		if d.fenced(span.GetTableId(), body.GetRevisions()) {
			return altered()
		}
	}
	return nil
}

// fenced reports whether the revision that is stated for a table lies before its fence.
func (d *Data) fenced(table uint64, stated []*commandv1.TableRevision) bool {
	revision := uint32(0)
	for _, s := range stated {
		if s.GetTableId() == table {
			revision = s.GetRevision()
		}
	}
	return revision < d.fences[ident.TableID(table)]
}

func (d *Data) restoreFences(reader storage.Reader) error {
	d.fences = make(map[ident.TableID]uint32)
	lo, hi := keys.FenceSpan(d.group)
	it, err := reader.Scan(lo, hi)
	if err != nil {
		return fmt.Errorf("restore fences: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		_, table, err := keys.ParseFence(it.Key())
		var value []byte
		if err == nil {
			value, err = it.Value()
		}
		if err == nil && len(value) != 4 {
			err = fmt.Errorf("%w: fence of table %d has %d bytes", storage.ErrCorruption, table, len(value))
		}
		if err != nil {
			_ = it.Close() // the first error is the one that matters
			return fmt.Errorf("restore fences: %w", err)
		}
		d.fences[table] = binary.BigEndian.Uint32(value)
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("restore fences: %w", err)
	}
	return nil
}
