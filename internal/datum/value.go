package datum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/apd/v3"
)

const maxValueArrayDepth = 8

// AppendValue appends a compact, self-describing encoding: the kind byte and a payload. Integers and
// temporal values are zigzag varints, floats are little-endian, strings carry their length, decimals
// their sign, scale and coefficient. The encoding is part of the row format.
func AppendValue(dst []byte, d Datum) []byte {
	dst = append(dst, byte(d.kind))
	switch d.kind {
	case Null:
	case Boolean:
		dst = append(dst, byte(d.num)) //nolint:gosec // small by construction
	case SmallInt, Int, BigInt, Timestamp, DateTime, Date, Time:
		dst = binary.AppendVarint(dst, d.num)
	case Float:
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(d.Float())))
	case Double:
		dst = binary.LittleEndian.AppendUint64(dst, uint64(d.num)) //nolint:gosec // the bits are kept, whatever they mean
	case Decimal:
		dst = appendDecimalValue(dst, d.Decimal())
	case Text, JSON, File, Bytes:
		dst = binary.AppendUvarint(dst, uint64(len(d.Str())))
		dst = append(dst, d.Str()...)
	case UUID:
		var id [uuidBytes]byte
		copy(id[:], d.Str())
		dst = append(dst, id[:]...)
	case Embedding:
		dst = binary.AppendUvarint(dst, uint64(len(d.Embedding())))
		for _, v := range d.Embedding() {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
	case Array:
		dst = binary.AppendUvarint(dst, uint64(len(d.Array())))
		for _, v := range d.Array() {
			dst = AppendValue(dst, v)
		}
	case Interval:
		s := d.Interval()
		dst = binary.AppendVarint(dst, int64(s.Months))
		dst = binary.AppendVarint(dst, int64(s.Days))
		dst = binary.AppendVarint(dst, s.Micros)
	}
	return dst
}

// DecodeValue reads what AppendValue wrote and returns the bytes after it. The value shares no memory
// with src. Any other bytes are an error.
func DecodeValue(src []byte) (d Datum, rest []byte, err error) {
	d, rest, ok := decodeValue(src, 0)
	if !ok {
		return Datum{}, nil, malformedValue(src)
	}
	return d, rest, nil
}

func malformedValue(src []byte) error {
	if len(src) == 0 {
		return errors.New("datum: decode value: no bytes left")
	}
	return fmt.Errorf("datum: decode value of kind %d: malformed bytes", src[0])
}

func decodeValue(src []byte, depth int) (Datum, []byte, bool) {
	if len(src) == 0 || depth > maxValueArrayDepth {
		return Datum{}, nil, false
	}
	kind, src := Kind(src[0]), src[1:]
	switch kind {
	case Null:
		return Datum{}, src, true
	case Boolean:
		if len(src) < 1 || src[0] > 1 {
			return Datum{}, nil, false
		}
		return NewBool(src[0] == 1), src[1:], true
	case SmallInt, Int, BigInt, Timestamp, DateTime, Date, Time:
		v, n := binary.Varint(src)
		if n <= 0 || !fitsKind(v, kind) {
			return Datum{}, nil, false
		}
		return NewInt(kind, v), src[n:], true
	case Float:
		if len(src) < 4 {
			return Datum{}, nil, false
		}
		return NewFloat(float64(math.Float32frombits(binary.LittleEndian.Uint32(src)))), src[4:], true
	case Double:
		if len(src) < 8 {
			return Datum{}, nil, false
		}
		return NewDouble(math.Float64frombits(binary.LittleEndian.Uint64(src))), src[8:], true
	case Decimal:
		return decodeDecimalValue(src)
	case Text, JSON, File, Bytes:
		raw, rest, ok := lengthPrefixed(src)
		return NewString(kind, string(raw)), rest, ok
	case UUID:
		if len(src) < uuidBytes {
			return Datum{}, nil, false
		}
		return NewString(UUID, string(src[:uuidBytes])), src[uuidBytes:], true
	case Embedding:
		return decodeEmbeddingValue(src)
	case Array:
		return decodeArrayValue(src, depth)
	case Interval:
		return decodeSpanValue(src)
	}
	return Datum{}, nil, false
}

// lengthPrefixed reads a length and that many bytes, which still belong to src.
func lengthPrefixed(src []byte) (raw, rest []byte, ok bool) {
	length, n := binary.Uvarint(src)
	if n <= 0 || length > uint64(len(src)-n) { //nolint:gosec // a length, checked against the bytes
		return nil, nil, false
	}
	end := n + int(length) //nolint:gosec // bounded where it was made
	return src[n:end], src[end:], true
}

// skipValue finds the end of the kinds that columns hold; arrays are decoded, for rows never hold them.
func skipValue(src []byte) (rest []byte, ok bool) {
	if len(src) == 0 {
		return nil, false
	}
	var size int
	switch kind := Kind(src[0]); kind { //nolint:exhaustive // the kinds not named share the last case
	case Null:
		return src[1:], true
	case Boolean:
		size = 1
	case SmallInt, Int, BigInt, Timestamp, DateTime, Date, Time:
		_, n := binary.Varint(src[1:])
		if n <= 0 {
			return nil, false
		}
		return src[1+n:], true
	case Float:
		size = 4
	case Double:
		size = 8
	case UUID:
		size = uuidBytes
	case Text, JSON, File, Bytes:
		_, rest, ok = lengthPrefixed(src[1:])
		return rest, ok
	case Decimal:
		_, n := binary.Uvarint(src[1:])
		if n <= 0 {
			return nil, false
		}
		_, rest, ok = lengthPrefixed(src[1+n:])
		return rest, ok
	case Embedding:
		count, n := binary.Uvarint(src[1:])
		if n <= 0 || count > MaxDims || count*4 > uint64(len(src)-1-n) { //nolint:gosec // a length, checked against the bytes
			return nil, false
		}
		return src[1+n+4*int(count):], true
	default:
		_, rest, ok = decodeValue(src, 0)
		return rest, ok
	}
	if len(src) < 1+size {
		return nil, false
	}
	return src[1+size:], true
}

// appendDecimalValue writes scale*2+sign and the big-endian coefficient.
func appendDecimalValue(dst []byte, d *apd.Decimal) []byte {
	if d == nil {
		d = apd.New(0, 0)
	}
	if d.Exponent > 0 { // made by hand and not by this package; the scale cannot be negative
		d = new(apd.Decimal).Set(d)
		BoundDecimal(d)
	}
	header := uint64(-int64(d.Exponent)) << 1 //nolint:gosec // the bits are kept, whatever they mean
	if d.Negative && d.Coeff.Sign() != 0 {
		header |= 1
	}
	dst = binary.AppendUvarint(dst, header)
	if d.Coeff.IsUint64() {
		v := d.Coeff.Uint64()
		var word [8]byte
		binary.BigEndian.PutUint64(word[:], v)
		start := 0
		for start < len(word) && word[start] == 0 {
			start++
		}
		dst = append(dst, byte(len(word)-start)) //nolint:gosec // small by construction
		return append(dst, word[start:]...)
	}
	raw := d.Coeff.Bytes()
	dst = binary.AppendUvarint(dst, uint64(len(raw)))
	return append(dst, raw...)
}

// maxCoefficientBytes holds 2*MaxDecimalDigits decimal digits.
const maxCoefficientBytes = 2*MaxDecimalDigits*415/1000/8*8 + 8

func decodeDecimalValue(src []byte) (Datum, []byte, bool) {
	header, n := binary.Uvarint(src)
	if n <= 0 || header>>1 > MaxDecimalDigits {
		return Datum{}, nil, false
	}
	raw, rest, ok := lengthPrefixed(src[n:])
	if !ok || len(raw) > maxCoefficientBytes || len(raw) > 0 && raw[0] == 0 {
		return Datum{}, nil, false
	}
	d := new(apd.Decimal)
	if len(raw) <= 8 {
		var v uint64
		for _, b := range raw {
			v = v<<8 | uint64(b)
		}
		d.Coeff.SetUint64(v)
	} else {
		d.Coeff.SetBytes(raw)
	}
	d.Exponent = -int32(header >> 1)
	d.Negative = header&1 == 1
	if len(raw) == 0 && d.Negative || !BoundDecimal(d) {
		return Datum{}, nil, false
	}
	return NewDecimal(d), rest, true
}

func decodeEmbeddingValue(src []byte) (Datum, []byte, bool) {
	count, n := binary.Uvarint(src)
	if n <= 0 || count > MaxDims || count*4 > uint64(len(src)-n) { //nolint:gosec // a length, checked against the bytes
		return Datum{}, nil, false
	}
	src = src[n:]
	values := make([]float32, count)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
	return NewEmbedding(values), src[4*count:], true
}

func decodeArrayValue(src []byte, depth int) (Datum, []byte, bool) {
	count, n := binary.Uvarint(src)
	if n <= 0 || count > uint64(len(src)-n) { //nolint:gosec // every element has at least one byte
		return Datum{}, nil, false
	}
	src = src[n:]
	values := []Datum{}
	for range count {
		v, rest, ok := decodeValue(src, depth+1)
		if !ok {
			return Datum{}, nil, false
		}
		values = append(values, v)
		src = rest
	}
	return NewArray(values), src, true
}

func decodeSpanValue(src []byte) (Datum, []byte, bool) {
	var parts [3]int64
	for i := range parts {
		v, n := binary.Varint(src)
		if n <= 0 {
			return Datum{}, nil, false
		}
		parts[i], src = v, src[n:]
	}
	if !fitsKind(parts[0], Int) || !fitsKind(parts[1], Int) {
		return Datum{}, nil, false
	}
	return NewInterval(Span{Months: int32(parts[0]), Days: int32(parts[1]), Micros: parts[2]}), src, true //nolint:gosec // bounded where it was made
}
