package table

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// maxIndexText bounds how much of the values of an index an error message repeats.
const maxIndexText = 128

// IndexText says which values of an index a row has, for error messages.
func IndexText(t *schema.Table, x *schema.Index, positions []int, row []datum.Datum) string {
	var names, values strings.Builder
	for i, position := range positions {
		if i > 0 {
			names.WriteString(", ")
			values.WriteString(", ")
		}
		names.WriteString(t.Columns[position].Name)
		values.WriteString(row[position].String())
	}
	text := values.String()
	if len(text) > maxIndexText {
		text = text[:maxIndexText] + "…"
	}
	return strings.ToValidUTF8(fmt.Sprintf("(%s) = (%s) in unique index '%s'", names.String(), text, x.Name), "")
}

// IndexBounds narrow a scan of an index.
type IndexBounds struct {
	Index *schema.Index
	// Spans are the encoded values that are read, each Low <= values < High, ascending and apart. A nil High ends with the
	// scope.
	Spans []Span
	// Reverse gives the entries in descending order.
	Reverse bool
}

// Span is a range of encoded values.
type Span struct {
	Low, High []byte
}

// indexCursor walks the entries of an index and gives the keys of their rows.
type indexCursor struct {
	reader  storage.Reader
	scope   Scope
	bounds  IndexBounds
	it      *storage.Iterator
	started bool
}

// next returns the primary key of the next entry's row; ok is false at the end.
func (c *indexCursor) next() (primaryKey []byte, ok bool, err error) {
	for {
		if c.it == nil {
			if len(c.bounds.Spans) == 0 {
				return nil, false, nil
			}
			if err := c.openSpan(); err != nil {
				return nil, false, err
			}
		}
		if c.step() {
			value, err := c.it.Value()
			return value, err == nil, err
		}
		if err := c.it.Err(); err != nil {
			return nil, false, err
		}
		err := c.it.Close()
		c.it = nil
		if err != nil {
			return nil, false, err
		}
	}
}

func (c *indexCursor) openSpan() (err error) {
	at := 0
	if c.bounds.Reverse {
		at = len(c.bounds.Spans) - 1
	}
	span := c.bounds.Spans[at]
	if c.bounds.Reverse {
		c.bounds.Spans = c.bounds.Spans[:at]
	} else {
		c.bounds.Spans = c.bounds.Spans[1:]
	}
	group, table, index, user := c.scope.Group, c.scope.Table.ID, c.bounds.Index.ID, c.scope.User
	low, high := keys.UserIndexSpan(group, table, index, user)
	if span.Low != nil {
		low = keys.IndexEntry(group, table, index, user, span.Low, nil)
	}
	if span.High != nil {
		if end := keys.IndexEntry(group, table, index, user, span.High, nil); bytes.Compare(end, high) < 0 {
			high = end
		}
	}
	c.started = false
	c.it, err = c.reader.Scan(low, high)
	return err
}

func (c *indexCursor) step() bool {
	switch {
	case !c.started && c.bounds.Reverse:
		c.started = true
		return c.it.Last()
	case !c.started:
		c.started = true
		return c.it.First()
	case c.bounds.Reverse:
		return c.it.Prev()
	}
	return c.it.Next()
}

func (c *indexCursor) close() error {
	if c.it == nil {
		return nil
	}
	return c.it.Close()
}

// OpenIndex starts a scan of the rows that an index has within bounds, in the order of the index. The reader must be one
// consistent picture and outlive the cursor. Deleted rows are in no index.
func OpenIndex(reader storage.Reader, scope Scope, bounds IndexBounds, options ScanOptions) *Cursor {
	c := &Cursor{scope: scope, decoder: options.Decoder, reader: reader}
	if c.decoder == nil {
		c.decoder = NewDecoder(scope.Table, options.Needed)
	}
	c.index = &indexCursor{reader: reader, scope: scope, bounds: bounds}
	return c
}

// indexed returns the stored version of the row of the next entry.
func (c *Cursor) indexed() (value []byte, ok bool, err error) {
	primaryKey, ok, err := c.index.next()
	if !ok || err != nil {
		return nil, false, c.failure(err)
	}
	value, ok, err = c.reader.Get(keys.Row(c.scope.Group, c.scope.Table.ID, c.scope.User, primaryKey))
	if err == nil && !ok {
		err = fmt.Errorf("%w: index %s points to no row", storage.ErrCorruption, c.index.bounds.Index.Name)
	}
	return value, ok, c.failure(err)
}
