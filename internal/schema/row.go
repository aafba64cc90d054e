package schema

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// rowFormat is the version of the row encoding. A decoder is kept for every version that was ever
// written.
const rowFormat byte = 1

// EncodeRow encodes the declared columns of a row; values are in Columns order and of the columns' types.
//
// The bytes are: format version; schema version (uvarint); then for every value that is not NULL, in
// Columns order, the column's id (uvarint) and the value (datum.AppendValue). Ids and not positions
// make a row readable after ALTER TABLE.
func EncodeRow(t *Table, values []datum.Datum) []byte {
	return AppendRow(make([]byte, 0, 16+16*len(values)), t, values)
}

// AppendRow is EncodeRow onto dst. Values beyond the declared columns are left out; missing ones are NULL.
func AppendRow(dst []byte, t *Table, values []datum.Datum) []byte {
	dst = append(dst, rowFormat)
	dst = binary.AppendUvarint(dst, uint64(t.Version))
	return appendColumns(dst, t, values)
}

func appendColumns(dst []byte, t *Table, values []datum.Datum) []byte {
	for i := range min(len(values), len(t.Columns)) {
		if values[i].IsNull() {
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(t.Columns[i].ID))
		dst = datum.AppendValue(dst, values[i])
	}
	return dst
}

// DecodeRow decodes all declared columns into dst, which must have room for them. Columns that the row
// was written without read as their Initial value, columns that were dropped since are skipped, and
// values of a type that the column had before are converted.
func DecodeRow(t *Table, row []byte, dst []datum.Datum) error {
	return NewRowDecoder(t, nil).Decode(row, dst)
}

// RowVersion returns the schema version that a row was written with.
func RowVersion(row []byte) (uint32, error) {
	version, _, err := rowHeader(row)
	return version, err
}

var errRowBytes = errors.New("malformed bytes")

// ErrAltered is wrapped by the error of decoding a row that was written under a later version of the schema than
// the decoder knows. To read it as the old version would be to mix two versions in one statement.
var ErrAltered = errors.New("the table was altered meanwhile")

func rowHeader(row []byte) (version uint32, rest []byte, err error) {
	if len(row) == 0 {
		return 0, nil, errRowBytes
	}
	if row[0] != rowFormat {
		return 0, nil, fmt.Errorf("unknown row format %d", row[0])
	}
	v, n := binary.Uvarint(row[1:])
	if n <= 0 || v > 1<<32-1 {
		return 0, nil, errRowBytes
	}
	return uint32(v), row[1+n:], nil
}

// maxDirectID bounds the table from column ids to positions; ids beyond it are searched.
const maxDirectID = 4096

// RowDecoder decodes chosen columns of a table's rows. It is made once per statement and may be used by
// many goroutines.
type RowDecoder struct {
	table    *Table
	wanted   []int          // positions, in Columns order
	byID     []wantedColumn // by column id
	initials bool           // some wanted column has an Initial value
}

// wantedColumn is what decoding needs to know of a column.
type wantedColumn struct {
	place int32      // position plus one; zero when the column is not wanted
	exact datum.Kind // values of this kind are of the column's type as they are; Null when none is
}

// NewRowDecoder makes a decoder of the columns at positions; nil means all. Positions outside the
// declared columns are left out: the system columns are not in the row.
func NewRowDecoder(t *Table, positions []int) *RowDecoder {
	d := &RowDecoder{table: t}
	want := make([]bool, len(t.Columns))
	for i := range want {
		want[i] = positions == nil
	}
	for _, p := range positions {
		if p >= 0 && p < len(want) {
			want[p] = true
		}
	}
	top := uint32(0)
	for i := range t.Columns {
		if want[i] {
			d.wanted = append(d.wanted, i)
			d.initials = d.initials || !t.Columns[i].Initial.IsNull()
			top = max(top, t.Columns[i].ID)
		}
	}
	if top < maxDirectID {
		d.byID = make([]wantedColumn, top+1)
		for _, i := range d.wanted {
			d.byID[t.Columns[i].ID] = wantedColumn{place: int32(i) + 1, exact: exactKind(t.Columns[i].Type)} //nolint:gosec // bounded where it was made
		}
	}
	return d
}

// Positions returns the positions that Decode fills, ascending. The slice must not be changed.
func (d *RowDecoder) Positions() []int { return d.wanted }

// Decode fills dst, indexed by position in Columns, at the wanted positions and leaves the others alone.
// The values share no memory with row.
func (d *RowDecoder) Decode(row []byte, dst []datum.Datum) error {
	return d.DecodeSharing(row, dst, nil)
}

// DecodeSharing is Decode for many rows of one goroutine: equal texts that come again share memory.
func (d *RowDecoder) DecodeSharing(row []byte, dst []datum.Datum, texts *datum.Texts) error {
	if len(dst) < len(d.table.Columns) {
		return fmt.Errorf("schema: decode row of %s: room for %d of %d columns", d.table.FullName(), len(dst), len(d.table.Columns))
	}
	if err := d.decode(row, dst, texts); err != nil {
		return fmt.Errorf("schema: decode row of %s: %w", d.table.FullName(), err)
	}
	return nil
}

func (d *RowDecoder) decode(row []byte, dst []datum.Datum, texts *datum.Texts) error {
	const short = 2 // bytes of the header while versions are below 128
	var version uint32
	at := short
	if len(row) >= short && row[0] == rowFormat && row[1] < 0x80 {
		version = uint32(row[1])
	} else {
		var rest []byte
		var err error
		if version, rest, err = rowHeader(row); err != nil {
			return err
		}
		at = len(row) - len(rest)
	}
	if version > d.table.Version {
		return ErrAltered
	}
	for _, i := range d.wanted {
		dst[i] = datum.Datum{}
	}
	if d.initials {
		d.initial(version, dst)
	}
	for left := len(d.wanted); at < len(row) && left > 0; {
		id := uint64(row[at])
		if at++; id >= 0x80 {
			long, n := binary.Uvarint(row[at-1:])
			if n <= 0 || long > 1<<32-1 {
				return errRowBytes
			}
			id, at = long, at-1+n
		}
		column := d.column(id)
		before := at
		if column.place == 0 {
			if at = datum.SkipAt(row, at); at < 0 {
				return malformed(row[before:])
			}
			continue
		}
		value := &dst[column.place-1]
		if at = datum.DecodeAt(value, row, at, texts); at < 0 {
			return malformed(row[before:])
		}
		if value.Kind() != column.exact {
			converted, err := asColumn(*value, &d.table.Columns[column.place-1])
			if err != nil {
				return err
			}
			*value = converted
		}
		left--
	}
	return nil
}

// malformed says what is wrong with the value at the start of bytes.
func malformed(raw []byte) error {
	_, _, err := datum.DecodeValue(raw)
	return errors.Join(errRowBytes, err)
}

// initial gives the columns that are younger than a row their Initial value.
func (d *RowDecoder) initial(version uint32, dst []datum.Datum) {
	for _, i := range d.wanted {
		if d.table.Columns[i].AddedIn > version {
			dst[i] = d.table.Columns[i].Initial
		}
	}
}

// column finds what is known of a wanted column by id.
func (d *RowDecoder) column(id uint64) wantedColumn {
	if d.byID != nil {
		if id >= uint64(len(d.byID)) {
			return wantedColumn{}
		}
		return d.byID[id]
	}
	for _, i := range d.wanted {
		if uint64(d.table.Columns[i].ID) == id {
			return wantedColumn{place: int32(i) + 1, exact: exactKind(d.table.Columns[i].Type)} //nolint:gosec // bounded where it was made
		}
	}
	return wantedColumn{}
}

// exactKind returns the kind whose values all belong to a type; Null when there is none, because the type bounds
// its values.
func exactKind(t datum.Type) datum.Kind {
	if t.Kind == datum.Decimal || t.Kind == datum.Embedding {
		return datum.Null
	}
	return t.Kind
}

// asColumn converts a value that was written before the column's type changed.
func asColumn(value datum.Datum, c *Column) (datum.Datum, error) {
	if kind := exactKind(c.Type); kind != datum.Null && value.Kind() == kind {
		return value, nil
	}
	converted, err := Convert(value, c)
	if err != nil {
		return datum.Datum{}, fmt.Errorf("column %q: %w", c.Name, err)
	}
	return converted, nil
}

// Convert brings a value of a type that the column has, or had, to the type it has. It takes the steps that the
// column took: a number that became a decimal and then text reads as that decimal's text.
func Convert(value datum.Datum, c *Column) (datum.Datum, error) {
	from := 0
	for i := range c.Formerly {
		if c.Formerly[i].Kind == value.Kind() {
			from = i
			break
		}
		from = len(c.Formerly)
	}
	var err error
	for i := from; i < len(c.Formerly); i++ {
		if value, err = datum.Cast(value, c.Formerly[i]); err != nil {
			return datum.Datum{}, err
		}
	}
	return datum.Cast(value, c.Type)
}
