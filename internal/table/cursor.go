package table

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
)

// ScanOptions say what a scan gives.
type ScanOptions struct {
	// Needed says which values are read, by position in the row; nil is all. The others stay as they are.
	Needed []bool
	// Decoder decodes the needed values; nil makes one. A statement that runs often keeps its decoder.
	Decoder *schema.RowDecoder
	// IncludeDeleted shows tombstones: the last live values with _deleted set.
	IncludeDeleted bool
	// OmitSystem leaves the places of _seq and _deleted as they are, because nothing reads them.
	OmitSystem bool
	// SkipSeq says that nobody asks for the _seq of the rows. Those of cold ones are then not read.
	SkipSeq bool
	// Unwanted leaves cold rows out that nobody needs to see; nil leaves none out.
	Unwanted *cold.Unwanted
	// Memory counts what the cursor holds of decoded cold rows, and no longer holds when it is negative; an error of more ends the scan.
	// Nil counts nothing.
	Memory func(bytes int64) error
	// NowMicros hides the rows of a stream table that have ceased to exist by then. It is required for stream tables.
	NowMicros int64
}

// Cursor walks the rows of a scope in ascending order of the primary key. It belongs to one goroutine.
type Cursor struct {
	scope          Scope
	decoder        *schema.RowDecoder
	includeDeleted bool
	omitSystem     bool
	seq            uint64       // of the row at hand
	texts          *datum.Texts // made when a scan turns out to be long
	rows           int          // decoded so far
	key            []byte       // where a single key's row is stored
	nowMicros      int64        // zero unless rows can cease to exist

	// Either a range,
	iterator *storage.Iterator
	started  bool
	cold     coldPart
	// or single keys.
	reader storage.Reader
	points [][]byte
	index  string // that the keys are from; empty when there may be no row of a key
}

// Open starts a scan of the rows of a scope within bounds. The reader must outlive the cursor; a range
// needs a consistent one, a single key does not.
func Open(reader storage.Reader, scope Scope, bounds Bounds, options ScanOptions) (*Cursor, error) {
	c := &Cursor{scope: scope, includeDeleted: options.IncludeDeleted, omitSystem: options.OmitSystem, cold: coldPart{skipSeq: options.SkipSeq, memory: options.Memory}}
	if scope.Table.Kind == schema.KindStream {
		if c.nowMicros = options.NowMicros; c.nowMicros == 0 {
			return nil, fmt.Errorf("scan %s: the time is not given", scope.Table.FullName())
		}
	}
	if c.decoder = options.Decoder; c.decoder == nil {
		c.decoder = NewDecoder(scope.Table, options.Needed)
	}
	if bounds.Points != nil {
		c.reader, c.points, c.index = reader, bounds.Points, bounds.Index
		return c, nil
	}
	low, high := keys.UserTableSpan(scope.Group, scope.Table.ID, scope.User)
	if bounds.High != nil {
		high = keys.Row(scope.Group, scope.Table.ID, scope.User, bounds.High)
	}
	if bounds.Low != nil {
		low = keys.Row(scope.Group, scope.Table.ID, scope.User, bounds.Low)
	}
	view, err := scope.View(reader)
	if err != nil {
		return nil, err
	}
	if c.iterator, err = reader.Scan(low, high); err != nil {
		return nil, fmt.Errorf("scan %s: %w", scope.Table.FullName(), err)
	}
	if view != nil {
		c.cold.rows = view.Counting(options.Memory).Cursor(bounds.Low, bounds.High, c.decoder.Positions())
		c.cold.rows.Without(options.Unwanted)
		c.cold.prefix = len(keys.Row(scope.Group, scope.Table.ID, scope.User, nil))
	}
	return c, nil
}

// NewDecoder makes the decoder of the needed values of a table's rows; nil needs all.
func NewDecoder(t *schema.Table, needed []bool) *schema.RowDecoder {
	if needed == nil {
		return schema.NewRowDecoder(t, nil)
	}
	positions := make([]int, 0, len(t.Columns))
	for i := range t.Columns {
		if needed[i] {
			positions = append(positions, i)
		}
	}
	return schema.NewRowDecoder(t, positions)
}

// manyRows is the number of rows after which a scan counts as long.
const manyRows = 16

// Next fills row, which has room for the declared columns, _seq and _deleted, with the next row. It
// reports false at the end. Values share no memory with the store.
func (c *Cursor) Next(row []datum.Datum) (bool, error) {
	for {
		value, ok, err := c.value()
		if c.cold.given && err == nil {
			if ok, err = c.showCold(row); ok || err != nil {
				return ok, err
			}
			continue
		}
		if !ok || err != nil {
			return false, c.failure(err)
		}
		seq, deleted, encoded, err := rowvalue.Decode(value)
		if err != nil {
			return false, c.failure(err)
		}
		if deleted && !c.includeDeleted {
			continue
		}
		if c.nowMicros != 0 {
			if until, ok := schema.RowExpiry(encoded); ok && until <= c.nowMicros {
				continue
			}
		}
		if c.rows++; c.rows == manyRows {
			c.texts = new(datum.Texts)
		}
		if err := c.decoder.DecodeSharing(encoded, row, c.texts); err != nil {
			return false, c.failure(err)
		}
		c.seq = seq
		if c.omitSystem {
			return true, nil
		}
		declared := len(c.scope.Table.Columns)
		row[declared] = datum.NewBigInt(int64(seq)) //nolint:gosec // a log index takes 47 bits for ages to come
		row[declared+1] = datum.NewBool(deleted)
		return true, nil
	}
}

// Seq is the _seq of the row that Next gave last.
func (c *Cursor) Seq() uint64 { return c.seq }

// PrimaryKey is the encoded key of the row that Next gave last.
func (c *Cursor) PrimaryKey() ([]byte, error) {
	if c.cold.given {
		key, err := c.cold.rows.Key()
		return key, c.failure(err)
	}
	key := c.key
	if c.iterator != nil {
		key = c.iterator.Key()
	}
	found, err := keys.ParseRow(key)
	return bytes.Clone(found.PrimaryKey), c.failure(err)
}

// value returns the next stored version. It may be a cold one, which is then at hand and no bytes.
func (c *Cursor) value() (value []byte, ok bool, err error) {
	switch {
	case c.iterator == nil:
		return c.point()
	case c.cold.rows != nil:
		return c.merged()
	}
	return c.hot()
}

// hot returns the next version of the row store.
func (c *Cursor) hot() (value []byte, ok bool, err error) {
	switch {
	case c.started:
		ok = c.iterator.Next()
	default:
		c.started, ok = true, c.iterator.First()
	}
	if !ok {
		return nil, false, c.iterator.Err()
	}
	value, err = c.iterator.Value()
	return value, true, err
}

// point returns the stored version of the next key that has one.
func (c *Cursor) point() (value []byte, ok bool, err error) {
	if err = c.cold.close(); err != nil {
		return nil, false, err
	}
	for len(c.points) > 0 {
		primaryKey := c.points[0]
		key := keys.Row(c.scope.Group, c.scope.Table.ID, c.scope.User, c.points[0])
		c.points, c.key = c.points[1:], key
		if value, ok, err = c.reader.Get(key); ok || err != nil {
			return value, ok, err
		}
		if ok, err = c.coldPoint(primaryKey); ok || err != nil {
			return nil, ok, err
		}
		if c.index != "" {
			return nil, false, fmt.Errorf("%w: an entry of index %s points to no row", storage.ErrCorruption, c.index)
		}
	}
	return nil, false, nil
}

func (c *Cursor) failure(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, schema.ErrAltered) {
		return fault.New(fault.Altered, "table '%s' was altered while the statement ran; run it again", c.scope.Table.FullName())
	}
	return fmt.Errorf("read %s: %w", c.scope.Table.FullName(), err)
}

// Close releases the cursor.
func (c *Cursor) Close() error {
	err := c.cold.close()
	if c.iterator != nil {
		err = errors.Join(err, c.iterator.Close())
	}
	return c.failure(err)
}
