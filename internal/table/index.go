package table

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage"
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

// Span is a range of encoded values, Low <= values < High. A nil High ends with the scope.
type Span struct {
	Low, High []byte
}

// IndexLimit bounds what is read of an index: entries, and bytes of the keys that they give.
type IndexLimit struct {
	Entries, Bytes int
}

// IndexKeys returns the primary keys of the rows that an index has within spans, ascending, and how many entries each span
// has. Deleted rows are in no index. It reports false when there are more than the limit allows. The reader must be the
// consistent picture that the rows are read from.
func IndexKeys(
	reader storage.Reader, scope Scope, index *schema.Index, spans []Span, limit IndexLimit,
) (primaryKeys [][]byte, entries []uint32, complete bool, err error) {
	found := indexKeys{limit: limit}
	entries = make([]uint32, len(spans))
	for i, span := range spans {
		before := len(found.list)
		low, high := span.bounds(&scope, index)
		if complete, err = found.read(reader, low, high); err != nil {
			return nil, nil, false, fmt.Errorf("read index %s of %s: %w", index.Name, scope.Table.FullName(), err)
		}
		if !complete {
			return nil, nil, false, nil
		}
		entries[i] = uint32(len(found.list) - before) //nolint:gosec // bounded by the limit
	}
	slices.SortFunc(found.list, bytes.Compare)
	return slices.CompactFunc(found.list, bytes.Equal), entries, true, nil
}

// indexKeys collects what the entries of an index point to.
type indexKeys struct {
	limit IndexLimit
	list  [][]byte
	bytes int
}

// read adds the entries from low up to high; it reports false when there are too many.
func (k *indexKeys) read(reader storage.Reader, low, high []byte) (complete bool, err error) {
	it, err := reader.Scan(low, high)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		if err != nil {
			return false, err
		}
		k.bytes += len(value)
		if len(k.list) == k.limit.Entries || k.bytes > k.limit.Bytes {
			return false, nil
		}
		k.list = append(k.list, bytes.Clone(value))
	}
	return true, it.Err()
}
