package segment

import (
	"fmt"

	"github.com/parquet-go/parquet-go"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// textRun is how many texts share a piece of memory: few pieces for the collector, and a text that is kept keeps little
// else.
const textRun = 16

// decodePage turns a page into values. What is there is decoded densely first, and then spread over the rows.
func decodePage(page parquet.Page, t datum.Type) ([]datum.Datum, error) {
	rows := int(page.NumRows())
	levels := page.DefinitionLevels()
	if t.Kind == datum.Embedding {
		return decodeEmbeddings(page, rows, int(t.Dims))
	}
	present := rows
	if levels != nil {
		present -= int(page.NumNulls())
	}
	values := make([]datum.Datum, rows)
	if err := decodeDense(page, t, values[:present]); err != nil || present == rows {
		return values, err
	}
	from := present
	for i := rows - 1; i >= 0; i-- {
		if levels[i] == 0 {
			values[i] = datum.Datum{}
			continue
		}
		if from--; from < 0 {
			return nil, fmt.Errorf("%w: more values than rows have", ErrDamaged)
		}
		values[i] = values[from]
	}
	return values, nil
}

func decodeDense(page parquet.Page, t datum.Type, dst []datum.Datum) error {
	if t.Kind == datum.Boolean {
		return decodeBooleans(page, dst)
	}
	data := page.Data()
	switch t.Kind { //nolint:exhaustive // leaf refuses the others
	case datum.SmallInt, datum.Int, datum.Date:
		found := data.Int32()
		for i := range dst {
			dst[i] = datum.NewInt(t.Kind, int64(found[i]))
		}
	case datum.BigInt, datum.Timestamp, datum.DateTime, datum.Time:
		found := data.Int64()
		for i := range dst {
			dst[i] = datum.NewInt(t.Kind, found[i])
		}
	case datum.Float:
		found := data.Float()
		for i := range dst {
			dst[i] = datum.NewFloat(float64(found[i]))
		}
	case datum.Double:
		found := data.Double()
		for i := range dst {
			dst[i] = datum.NewDouble(found[i])
		}
	case datum.Decimal:
		raw, size := data.FixedLenByteArray()
		for i := range dst {
			dst[i] = decimalFromBytes(raw[i*size:(i+1)*size], t.Scale)
		}
	case datum.UUID:
		raw, size := data.FixedLenByteArray()
		texts := string(raw)
		for i := range dst {
			dst[i] = datum.NewString(datum.UUID, texts[i*size:(i+1)*size])
		}
	case datum.Text, datum.JSON, datum.File, datum.Bytes:
		raw, offsets := data.ByteArray()
		decodeTexts(raw, offsets, t.Kind, dst)
	default:
		return fmt.Errorf("values of type %s have no form in Parquet", t)
	}
	return nil
}

// decodeTexts copies texts in runs.
func decodeTexts(raw []byte, offsets []uint32, kind datum.Kind, dst []datum.Datum) {
	for from := 0; from < len(dst); from += textRun {
		to := min(from+textRun, len(dst))
		base := offsets[from]
		run := string(raw[base:offsets[to]])
		for i := from; i < to; i++ {
			dst[i] = datum.NewString(kind, run[offsets[i]-base:offsets[i+1]-base])
		}
	}
}

func decodeBooleans(page parquet.Page, dst []datum.Datum) error {
	reader, from := page.Values(), 0
	var buffer [256]parquet.Value
	for from < len(dst) {
		n, err := reader.ReadValues(buffer[:])
		for _, v := range buffer[:n] {
			if v.IsNull() {
				continue
			}
			if from == len(dst) {
				return fmt.Errorf("%w: more values than rows have", ErrDamaged)
			}
			dst[from] = datum.NewBool(v.Boolean())
			from++
		}
		if err != nil && from < len(dst) {
			return fmt.Errorf("%w: %d values of %d: %w", ErrDamaged, from, len(dst), err)
		}
	}
	return nil
}

// decodeEmbeddings cuts the elements of a page into rows. A row without a value has one level and no element.
func decodeEmbeddings(page parquet.Page, rows, dims int) ([]datum.Datum, error) {
	data := page.Data()
	elements, levels := data.Float(), page.DefinitionLevels()
	values := make([]datum.Datum, 0, rows)
	level, element := 0, 0
	for level < len(levels) && len(values) < rows {
		if levels[level] == 0 {
			values = append(values, datum.Datum{})
			level++
			continue
		}
		if element+dims > len(elements) || level+dims > len(levels) {
			return nil, fmt.Errorf("%w: an embedding ends early", ErrDamaged)
		}
		values = append(values, datum.NewEmbedding(append([]float32(nil), elements[element:element+dims]...)))
		level, element = level+dims, element+dims
	}
	if len(values) != rows || level != len(levels) || element != len(elements) {
		return nil, fmt.Errorf("%w: %d embeddings, want %d", ErrDamaged, len(values), rows)
	}
	return values, nil
}
