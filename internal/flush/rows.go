package flush

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// row is one version that becomes cold. It is valid until the next one is read.
type row struct {
	key     []byte // encoded primary key
	seq     uint64
	deleted bool
	values  []datum.Datum
}

// hotRows walks the versions that the row store has of a scope, deletions included.
type hotRows struct {
	table   *schema.Table
	it      *storage.Iterator
	decoder *schema.RowDecoder
	prefix  int // bytes of a row's key before the primary key
	started bool
	row     row
	texts   datum.Texts

	taken, bytes int
	next         []byte // the key behind the rows of a full segment
}

func openRows(reader storage.Reader, t *schema.Table, group shard.GroupID, user ident.UserID, low []byte) (*hotRows, error) {
	from := keys.Row(group, t.ID, user, low)
	_, end := keys.UserTableSpan(group, t.ID, user)
	it, err := reader.Scan(from, end)
	if err != nil {
		return nil, err
	}
	return &hotRows{
		table: t, it: it, decoder: table.NewDecoder(t, nil), prefix: len(keys.Row(group, t.ID, user, nil)),
		row: row{values: make([]datum.Datum, len(t.Columns))},
	}, nil
}

// read moves to the next version; nil is the end, or that of a segment that is full.
func (r *hotRows) read(int64) (*row, error) {
	var ok bool
	if !r.started {
		r.started, ok = true, r.it.First()
	} else {
		ok = r.it.Next()
	}
	if !ok {
		return nil, r.it.Err()
	}
	if r.taken == SegmentRows || r.bytes >= segmentBytes {
		r.next = append([]byte(nil), r.it.Key()[r.prefix:]...)
		return nil, nil
	}
	value, err := r.it.Value()
	if err != nil {
		return nil, err
	}
	seq, deleted, encoded, err := rowvalue.Decode(value)
	if err != nil {
		return nil, fmt.Errorf("%w: row %x: %w", storage.ErrCorruption, r.it.Key(), err)
	}
	if err := r.decoder.DecodeSharing(encoded, r.row.values, &r.texts); err != nil {
		return nil, err
	}
	r.row.key, r.row.seq, r.row.deleted = r.it.Key()[r.prefix:], seq, deleted
	r.taken++
	r.bytes += len(value)
	return &r.row, nil
}

func (r *hotRows) close() error { return r.it.Close() }
