package table

import (
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
)

// WalkBack fills row with the hot rows of a scope within a range, the last one first, and calls visit with the primary key of
// each until that says that it has enough. Cold rows are left out: the keys are those of some rows that are there, not of all.
// Deleted rows, and those that have ceased to exist, are left out too. A key is valid until visit returns.
func WalkBack(
	reader storage.Reader, scope Scope, bounds Bounds, options ScanOptions, row []datum.Datum,
	visit func(primaryKey []byte) (more bool, err error),
) (err error) {
	low, high := keys.UserTableSpan(scope.Group, scope.Table.ID, scope.User)
	if bounds.High != nil {
		high = keys.Row(scope.Group, scope.Table.ID, scope.User, bounds.High)
	}
	if bounds.Low != nil {
		low = keys.Row(scope.Group, scope.Table.ID, scope.User, bounds.Low)
	}
	it, err := reader.Scan(low, high)
	if err != nil {
		return fmt.Errorf("scan %s backwards: %w", scope.Table.FullName(), err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	back := &Cursor{scope: scope}
	for ok := it.Last(); ok; ok = it.Prev() {
		stored, err := it.Value()
		if err != nil {
			return back.failure(err)
		}
		seq, deleted, encoded, err := rowvalue.Decode(stored)
		if err != nil {
			return back.failure(err)
		}
		if deleted {
			continue
		}
		if until, expires := schema.RowExpiry(encoded); expires && options.NowMicros != 0 && until <= options.NowMicros {
			continue
		}
		if err = options.Decoder.Decode(encoded, row); err != nil {
			return back.failure(err)
		}
		declared := len(scope.Table.Columns)
		row[declared], row[declared+1] = datum.NewBigInt(int64(seq)), datum.NewBool(false) //nolint:gosec // as in Cursor.Next
		found, err := keys.ParseRow(it.Key())
		if err != nil {
			return back.failure(err)
		}
		if more, err := visit(found.PrimaryKey); !more || err != nil {
			return err
		}
	}
	return it.Err()
}
