package segment

import (
	"fmt"
	"math"

	"github.com/parquet-go/parquet-go"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// textRun is how many texts share a piece of memory: few pieces for the collector, and a text that is kept keeps little
// else.
const textRun = 16

// decodePage turns a page into values. What is there is decoded densely first, and then spread over the rows.
func decodePage(page parquet.Page, t datum.Type) (datum.Column, error) {
	rows := int(page.NumRows())
	if t.Kind == datum.Embedding {
		values, err := decodeEmbeddings(page, rows, int(t.Dims))
		return datum.NewColumn(values), err
	}
	present, levels := rows, page.DefinitionLevels()
	if levels != nil {
		present -= int(page.NumNulls())
	}
	if present < 0 || present < rows && len(levels) != rows {
		return datum.Column{}, fmt.Errorf("%w: %d values and %d levels of %d rows", ErrDamaged, present, len(levels), rows)
	}
	if datum.IsNumeric(t.Kind) {
		nums := make([]int64, rows)
		if err := decodeNumbers(page, t, nums[:present]); err != nil || present == rows {
			return datum.NewNumbers(t.Kind, nums, nil), err
		}
		nulls := make([]bool, rows)
		if err := spread(nums, present, levels, nulls); err != nil {
			return datum.Column{}, err
		}
		return datum.NewNumbers(t.Kind, nums, nulls), nil
	}
	values := make([]datum.Datum, rows)
	if err := decodeDense(page, t, values[:present]); err != nil || present == rows {
		return datum.NewColumn(values), err
	}
	return datum.NewColumn(values), spread(values, present, levels, nil)
}

// spread moves the values that are there, which lie in front, to their rows. The others become zero, and are noted as NULL.
func spread[V any](values []V, present int, levels []byte, nulls []bool) error {
	var none V
	from := present
	for i := len(values) - 1; i >= 0; i-- {
		if levels[i] == 0 {
			values[i] = none
			if nulls != nil {
				nulls[i] = true
			}
			continue
		}
		if from--; from < 0 {
			return fmt.Errorf("%w: more values than rows have", ErrDamaged)
		}
		values[i] = values[from]
	}
	return nil
}

// decodeNumbers copies values that a column keeps as numbers.
func decodeNumbers(page parquet.Page, t datum.Type, dst []int64) error {
	data := page.Data()
	have := 0
	switch t.Kind { //nolint:exhaustive // the others are no numbers
	case datum.Boolean:
		bits := data.Boolean()
		if have = 8 * len(bits); have >= len(dst) {
			for i := range dst {
				dst[i] = int64(bits[i/8] >> (i % 8) & 1)
			}
		}
	case datum.SmallInt, datum.Int, datum.Date:
		found := data.Int32()
		have = len(found)
		for i, v := range found[:min(have, len(dst))] {
			dst[i] = int64(v)
		}
	case datum.BigInt, datum.Timestamp, datum.DateTime, datum.Time:
		have = copy(dst, data.Int64())
	case datum.Float:
		found := data.Float()
		have = len(found)
		for i, v := range found[:min(have, len(dst))] {
			dst[i] = int64(math.Float64bits(float64(v))) //nolint:gosec // the bits are kept
		}
	case datum.Double:
		found := data.Double()
		have = len(found)
		for i, v := range found[:min(have, len(dst))] {
			dst[i] = int64(math.Float64bits(v)) //nolint:gosec // the bits are kept
		}
	}
	if have < len(dst) {
		return fmt.Errorf("%w: %d values, want %d", ErrDamaged, have, len(dst))
	}
	return nil
}

// decodeDense makes values of the kinds that are no numbers.
func decodeDense(page parquet.Page, t datum.Type, dst []datum.Datum) error {
	data := page.Data()
	switch t.Kind { //nolint:exhaustive // leaf refuses the others
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
