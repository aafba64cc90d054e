package applier

import (
	"fmt"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/scopevalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// touchScopes records where the last write to each table and user of the rows stands. The first command of an entry
// records its index alone, as all did before entries held several.
func (d *Data) touchScopes(batch *storage.Batch, at place, rows []*commandv1.RowWrite) error {
	type scope struct {
		table uint64
		user  string
	}
	var touched map[scope]struct{}
	var last scope
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
		value := scopevalue.OfIndex(at.index)
		if at.base > 0 {
			value = scopevalue.OfSeq(at.seq(i))
		}
		if err := batch.Set(keys.Scope(d.group, ident.TableID(next.table), ident.UserID(next.user)), value); err != nil {
			return err
		}
	}
	return nil
}

// lastWrite returns the index of the last log entry that wrote into a scope, zero for none.
func (d *Data) lastWrite(batch *storage.Batch, table uint64, user string) (uint64, error) {
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
