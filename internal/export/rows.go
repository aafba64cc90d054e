package export

import (
	"bufio"
	"context"
	"io"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// writeJSON writes an array with one object for each row.
func (w *writer) writeJSON(ctx context.Context, t *schema.Table, to io.Writer) (rows int64, err error) {
	names := make([][]byte, len(t.Columns))
	for i := range t.Columns {
		names[i] = append(datum.AppendJSONString(nil, t.Columns[i].Name), ':')
	}
	out := bufio.NewWriterSize(to, 64<<10)
	if err = out.WriteByte('['); err != nil {
		return 0, err
	}
	var line []byte
	separator := "\n{"
	rows, err = w.each(ctx, t, func(_ *table.Cursor, row []datum.Datum) error {
		line = append(line[:0], separator...)
		separator = ",\n{"
		for i := range names {
			if i > 0 {
				line = append(line, ',')
			}
			line = appendCell(append(line, names[i]...), row[i], t.Columns[i].Type)
		}
		_, failed := out.Write(append(line, '}'))
		return failed
	})
	if err != nil {
		return rows, err
	}
	if _, err := out.WriteString("\n]\n"); err != nil {
		return rows, err
	}
	return rows, out.Flush()
}

// appendCell writes a value as answers have it. What has no form in JSON, such as NaN, is written as text.
func appendCell(dst []byte, d datum.Datum, t datum.Type) []byte {
	written, err := datum.AppendJSON(dst, d, t)
	if err != nil {
		return datum.AppendJSONString(dst, string(datum.AppendText(nil, d)))
	}
	return written
}

// keyColumn is the name of the column that a table without a primary key has in Parquet: its rows' own key. No column of a table
// may have that name.
const keyColumn = "_key"

// writeParquet writes the rows in the form of cold rows.
func (w *writer) writeParquet(ctx context.Context, t *schema.Table, to io.Writer) (rows int64, err error) {
	layout, keyless := t, t.PrimaryKey() < 0
	if keyless {
		layout = withKey(t)
	}
	out, err := segment.NewWriter(to, layout)
	if err != nil {
		return 0, err
	}
	values := make([]datum.Datum, 0, len(layout.Columns))
	rows, err = w.each(ctx, t, func(c *table.Cursor, row []datum.Datum) error {
		key, failed := c.PrimaryKey()
		if failed != nil {
			return failed
		}
		values = append(values[:0], row[:len(t.Columns)]...)
		if keyless {
			values = append(values, datum.NewString(datum.Bytes, string(key)))
		}
		return out.Add(key, c.Seq(), false, values)
	})
	if err != nil {
		return rows, err
	}
	_, err = out.Close()
	return rows, err
}

// withKey is a table with the keys of its rows as a last column.
func withKey(t *schema.Table) *schema.Table {
	keyed := *t
	keyed.Columns = append([]schema.Column(nil), t.Columns...)
	last := uint32(0)
	for i := range t.Columns {
		last = max(last, t.Columns[i].ID)
	}
	keyed.Columns = append(keyed.Columns, schema.Column{ID: last + 1, Name: keyColumn, Type: datum.Of(datum.Bytes), PrimaryKey: true})
	return &keyed
}
