package applier

import (
	"fmt"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/scopevalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// touchScopes records where the last write to each table and user of the rows stands. The first command of an entry
// records its index alone, as all did before entries held several: its rows tell the rest, unless some of them leave
// nothing behind. Programs that read earlier formats of logs did not make that difference; the format is the header's.
func (d *Data) touchScopes(at place, logFormat uint32, rows []*commandv1.RowWrite) {
	var touched map[scope]struct{}
	var last scope
	exact := at.base > 0 || logFormat >= command.ScopeFormat && leavesOnlySome(rows)
	// From behind: the last row of a scope counts.
	for i, row := range slices.Backward(rows) {
		next := scope{row.GetTableId(), row.GetUser()}
		if i < len(rows)-1 && next == last {
			continue
		}
		if _, again := touched[next]; again {
			continue
		}
		if i < len(rows)-1 && touched == nil {
			touched = map[scope]struct{}{last: {}}
		}
		if touched != nil {
			touched[next] = struct{}{}
		}
		last = next
		write := scopevalue.Write{Index: at.index}
		if exact {
			write.Seq = at.seq(i)
		}
		d.touched.note(next, write)
	}
}

// leavesOnlySome reports whether some of the rows are removed without a trace, and some are not.
func leavesOnlySome(rows []*commandv1.RowWrite) bool {
	gone := 0
	for _, row := range rows {
		if vanishes(row) {
			gone++
		}
	}
	return gone > 0 && gone < len(rows)
}

// vanishes reports whether a row of a stream table is removed. It leaves nothing behind: there is no end of them.
func vanishes(row *commandv1.RowWrite) bool {
	if !row.GetDeleted() {
		return false
	}
	_, expires := schema.RowExpiry(row.GetRow())
	return expires
}

// forgetLastRow notes that a deletion is gone which may have been the last row that was written to a scope. What is left
// does not tell any more how far the command went, so every cursor within it counts as one that has missed something.
func (d *Data) forgetLastRow(batch *storage.Batch, table ident.TableID, user ident.UserID, seq uint64) error {
	key := keys.Scope(d.group, table, user)
	value, ok, err := batch.Get(key)
	if err != nil || !ok {
		return err
	}
	write, err := scopevalue.Decode(value)
	if err != nil {
		return fmt.Errorf("%w: table %d: %w", storage.ErrCorruption, table, err)
	}
	if write.Seq != 0 || write.Index != command.SeqIndex(seq) {
		return nil
	}
	return batch.Set(key, scopevalue.OfSeq(command.Seq(write.Index, command.MaxOrdinal)))
}

// lastWrite returns the index of the last log entry that wrote into a scope, zero for none.
func (d *Data) lastWrite(batch *storage.Batch, table uint64, user string) (uint64, error) {
	if write, ok := d.touched.find(scope{table, user}); ok {
		return write.Index, nil
	}
	value, ok, err := batch.Get(keys.Scope(d.group, ident.TableID(table), ident.UserID(user)))
	if err != nil || !ok {
		return 0, err
	}
	write, err := scopevalue.Decode(value)
	if err != nil {
		return 0, fmt.Errorf("%w: table %d: %w", storage.ErrCorruption, table, err)
	}
	return write.Index, nil
}
