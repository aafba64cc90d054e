package segment

import (
	"errors"
	"fmt"
	"math/big"
	"unsafe"

	"github.com/cockroachdb/apd/v3"
	"github.com/parquet-go/parquet-go"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// appendValue puts the Parquet form of a value behind dst: one value, or one for each element of an embedding. The index
// is that of the leaf; depth is its definition level when the value is there.
func appendValue(dst []parquet.Value, d datum.Datum, t datum.Type, index, depth int) ([]parquet.Value, error) {
	if d.IsNull() {
		if depth == 0 {
			return nil, errors.New("a primary key is NULL")
		}
		return append(dst, parquet.NullValue().Level(0, 0, index)), nil
	}
	if d.Kind() != t.Kind {
		return nil, fmt.Errorf("a value of type %s in a column of type %s", d.Kind(), t)
	}
	var value parquet.Value
	switch t.Kind { //nolint:exhaustive // leaf refuses the others
	case datum.Boolean:
		value = parquet.BooleanValue(d.Bool())
	case datum.SmallInt, datum.Int, datum.Date:
		value = parquet.Int32Value(int32(d.Int())) //nolint:gosec // of the kind's range
	case datum.BigInt, datum.Timestamp, datum.DateTime, datum.Time:
		value = parquet.Int64Value(d.Int())
	case datum.Float:
		value = parquet.FloatValue(float32(d.Float()))
	case datum.Double:
		value = parquet.DoubleValue(d.Float())
	case datum.Decimal:
		raw, err := decimalToBytes(d.Decimal(), t)
		if err != nil {
			return nil, err
		}
		value = parquet.FixedLenByteArrayValue(raw)
	case datum.UUID:
		value = parquet.FixedLenByteArrayValue(bytesOf(d.Str()))
	case datum.Text, datum.JSON, datum.File, datum.Bytes:
		value = parquet.ByteArrayValue(bytesOf(d.Str()))
	case datum.Embedding:
		return appendEmbedding(dst, d.Embedding(), t, index, depth)
	default:
		return nil, fmt.Errorf("values of type %s have no form in Parquet", t)
	}
	return append(dst, value.Level(0, depth, index)), nil
}

// bytesOf are the bytes of a text, which nobody may change: pages only copy from them.
func bytesOf(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) } //nolint:gosec // nobody changes them

// appendEmbedding writes a list: its elements lie one level deeper than the list itself.
func appendEmbedding(dst []parquet.Value, values []float32, t datum.Type, index, depth int) ([]parquet.Value, error) {
	if len(values) != int(t.Dims) || len(values) == 0 {
		return nil, fmt.Errorf("an embedding of %d numbers in a column of %d", len(values), t.Dims)
	}
	for i, v := range values {
		dst = append(dst, parquet.FloatValue(v).Level(min(i, 1), depth+1, index))
	}
	return dst, nil
}

// decimalToBytes writes the unscaled value as a big-endian two's complement.
func decimalToBytes(d *apd.Decimal, t datum.Type) ([]byte, error) {
	if d.Form != apd.Finite || d.Exponent != -int32(t.Scale) {
		return nil, fmt.Errorf("the decimal %s does not have the %d digits after the point of its column", d, t.Scale)
	}
	raw := make([]byte, decimalBytes)
	if d.Coeff.IsInt64() {
		v := d.Coeff.Int64()
		if d.Negative {
			v = -v
		}
		fill := byte(v >> 63) //nolint:gosec // the sign
		for i := range raw[:8] {
			raw[i] = fill
		}
		for i := 15; i >= 8; i-- {
			raw[i] = byte(v) //nolint:gosec // the lowest eight bits
			v >>= 8
		}
		return raw, nil
	}
	coefficient := d.Coeff.MathBigInt()
	if coefficient.BitLen() > 8*decimalBytes-1 {
		return nil, fmt.Errorf("the decimal %s does not fit into its column", d)
	}
	if d.Negative {
		coefficient.Sub(new(big.Int).Lsh(big.NewInt(1), 8*decimalBytes), coefficient)
	}
	return coefficient.FillBytes(raw), nil
}

// decimalFromBytes reads what decimalToBytes wrote.
func decimalFromBytes(raw []byte, scale uint8) datum.Datum {
	d := new(apd.Decimal)
	d.Exponent = -int32(scale)
	high, low := int64(0), uint64(0)
	for _, b := range raw[:8] {
		high = high<<8 | int64(b)
	}
	for _, b := range raw[8:decimalBytes] {
		low = low<<8 | uint64(b)
	}
	switch {
	case high == 0:
		d.Coeff.SetUint64(low)
	case high == -1 && low != 0:
		d.Negative = true
		d.Coeff.SetUint64(-low)
	default:
		value := new(big.Int).SetBytes(raw)
		if high < 0 {
			d.Negative = true
			value.Sub(new(big.Int).Lsh(big.NewInt(1), 8*decimalBytes), value)
		}
		d.Coeff.SetMathBigInt(value)
	}
	return datum.NewDecimal(d)
}
