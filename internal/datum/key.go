package datum

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// The bytes of the order-preserving encoding. Changing any of them breaks stored keys.
const (
	keyValue byte = 0x01 // before a value
	keyNull  byte = 0xFF // NULL, after every value

	keyEscape     byte = 0x00 // in strings: followed by keyEscaped or keyTerminator
	keyEscaped    byte = 0xFF // a zero byte of the string
	keyTerminator byte = 0x01 // end of the string

	keyEnd  byte = 0x00 // end of an Array or Embedding
	keyMore byte = 0x01 // one more element follows

	keyDecimalNegative byte = 0x02
	keyDecimalZero     byte = 0x03
	keyDecimalPositive byte = 0x04
	keyDecimalNaN      byte = 0x06
)

const maxKeyArrayDepth = 8

// AppendKey appends an encoding whose byte order equals Compare's order among values of one type, with
// NULL last. It delimits itself, so encodings may follow each other. Values that compare equal encode
// alike: -0 as 0, 1.50 as 1.5.
func AppendKey(dst []byte, d Datum) []byte {
	if d.kind == Null {
		return append(dst, keyNull)
	}
	dst = append(dst, keyValue)
	switch d.kind {
	case Null:
	case Boolean:
		return append(dst, byte(d.num)) //nolint:gosec // small by construction
	case SmallInt, Int, BigInt, Timestamp, DateTime, Date, Time:
		return binary.BigEndian.AppendUint64(dst, uint64(d.num)^(1<<63)) //nolint:gosec // the bits are kept, whatever they mean
	case Float, Double:
		return binary.BigEndian.AppendUint64(dst, orderedBits(d.Float()))
	case Decimal:
		return appendDecimalKey(dst, d.Decimal())
	case Text, JSON, File, Bytes:
		return appendStringKey(dst, d.Str())
	case UUID:
		var id [uuidBytes]byte
		copy(id[:], d.Str())
		return append(dst, id[:]...)
	case Embedding:
		for _, v := range d.Embedding() {
			dst = append(dst, keyMore)
			dst = binary.BigEndian.AppendUint64(dst, orderedBits(float64(v)))
		}
		return append(dst, keyEnd)
	case Array:
		for _, v := range d.Array() {
			dst = append(dst, keyMore)
			dst = AppendKey(dst, v)
		}
		return append(dst, keyEnd)
	case Interval:
		high, low := spanMicros(d.Interval())
		dst = binary.BigEndian.AppendUint64(dst, uint64(high)^(1<<63)) //nolint:gosec // the bits are kept, whatever they mean
		return binary.BigEndian.AppendUint64(dst, low)
	}
	return dst
}

// DecodeKey reads what AppendKey wrote for a value of type t and returns the bytes after it. The value
// compares equal to the original. Bytes that AppendKey cannot have written are an error.
func DecodeKey(src []byte, t Type) (d Datum, rest []byte, err error) {
	d, rest, ok := decodeKey(src, t, 0)
	if !ok {
		return Datum{}, nil, fmt.Errorf("datum: decode key of type %s: malformed bytes", t)
	}
	return d, rest, nil
}

func decodeKey(src []byte, t Type, depth int) (Datum, []byte, bool) {
	if len(src) == 0 || depth > maxKeyArrayDepth {
		return Datum{}, nil, false
	}
	tag, src := src[0], src[1:]
	if tag == keyNull {
		return Datum{}, src, true
	}
	if tag != keyValue {
		return Datum{}, nil, false
	}
	switch t.Kind {
	case Boolean:
		if len(src) < 1 || src[0] > 1 {
			return Datum{}, nil, false
		}
		return NewBool(src[0] == 1), src[1:], true
	case SmallInt, Int, BigInt, Timestamp, DateTime, Date, Time:
		if len(src) < 8 {
			return Datum{}, nil, false
		}
		v := int64(binary.BigEndian.Uint64(src) ^ (1 << 63)) //nolint:gosec // the bits are kept, whatever they mean
		return NewInt(t.Kind, v), src[8:], fitsKind(v, t.Kind)
	case Float, Double:
		return decodeFloatKey(src, t.Kind)
	case Decimal:
		return decodeDecimalKey(src)
	case Text, JSON, File, Bytes:
		text, rest, ok := decodeStringKey(src)
		return NewString(t.Kind, text), rest, ok
	case UUID:
		if len(src) < uuidBytes {
			return Datum{}, nil, false
		}
		return NewString(UUID, string(src[:uuidBytes])), src[uuidBytes:], true
	case Embedding:
		return decodeEmbeddingKey(src)
	case Array:
		return decodeArrayKey(src, Of(t.Elem), depth)
	case Interval:
		return decodeSpanKey(src)
	case Null:
	}
	return Datum{}, nil, false
}

// fitsKind reports whether an integer lies in the range of a kind stored as one.
func fitsKind(v int64, k Kind) bool {
	switch k { //nolint:exhaustive // the kinds not named share the last case
	case SmallInt:
		return v == int64(int16(v)) //nolint:gosec // truncation is what is asked about
	case Int:
		return v == int64(int32(v)) //nolint:gosec // bounded where it was made
	default:
		return true
	}
}

// orderedBits maps a float to bits whose unsigned order is Compare's order.
func orderedBits(f float64) uint64 {
	if math.IsNaN(f) {
		return math.MaxUint64
	}
	if f == 0 {
		return 1 << 63
	}
	b := math.Float64bits(f)
	if b>>63 == 1 {
		return ^b
	}
	return b | 1<<63
}

func floatOfOrderedBits(b uint64) (float64, bool) {
	if b == math.MaxUint64 {
		return math.NaN(), true
	}
	f := math.Float64frombits(b &^ (1 << 63))
	if b>>63 == 0 {
		f = math.Float64frombits(^b)
	}
	return f, orderedBits(f) == b
}

func decodeFloatKey(src []byte, k Kind) (Datum, []byte, bool) {
	if len(src) < 8 {
		return Datum{}, nil, false
	}
	f, ok := floatOfOrderedBits(binary.BigEndian.Uint64(src))
	if k == Float {
		return NewFloat(f), src[8:], ok && (float64(float32(f)) == f || math.IsNaN(f))
	}
	return NewDouble(f), src[8:], ok
}

func appendStringKey(dst []byte, s string) []byte {
	for {
		at := strings.IndexByte(s, 0)
		if at < 0 {
			dst = append(dst, s...)
			return append(dst, keyEscape, keyTerminator)
		}
		dst = append(dst, s[:at]...)
		dst = append(dst, keyEscape, keyEscaped)
		s = s[at+1:]
	}
}

func decodeStringKey(src []byte) (string, []byte, bool) {
	var out []byte
	start := 0
	for i := 0; i+1 < len(src); i++ {
		if src[i] != keyEscape {
			continue
		}
		switch src[i+1] {
		case keyTerminator:
			if out == nil {
				return string(src[start:i]), src[i+2:], true
			}
			return string(append(out, src[start:i]...)), src[i+2:], true
		case keyEscaped:
			out = append(out, src[start:i+1]...)
			i++
			start = i + 1
		default:
			return "", nil, false
		}
	}
	return "", nil, false
}

// appendDecimalKey writes sign, exponent and significant digits of 0.d1d2d3… × 10^exponent, two digits to
// a byte plus one, ended by zero; all but the sign inverted for negative numbers.
func appendDecimalKey(dst []byte, d *apd.Decimal) []byte {
	switch {
	case d == nil || d.Form != apd.Finite:
		return append(dst, keyDecimalNaN)
	case d.Coeff.Sign() == 0:
		return append(dst, keyDecimalZero)
	}
	var scratch [48]byte
	digits := d.Coeff.Append(scratch[:0], 10)
	exponent := int32(len(digits)) + d.Exponent //nolint:gosec // bounded where it was made
	for digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	sign, mask := keyDecimalPositive, byte(0)
	if d.Negative {
		sign, mask = keyDecimalNegative, 0xFF
	}
	dst = append(dst, sign)
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(exponent)^(1<<31)) //nolint:gosec // bounded where it was made
	for i := 0; i < len(digits); i += 2 {
		pair := (digits[i] - '0') * 10
		if i+1 < len(digits) {
			pair += digits[i+1] - '0'
		}
		dst = append(dst, pair+1)
	}
	dst = append(dst, 0)
	for i := start; i < len(dst); i++ {
		dst[i] ^= mask
	}
	return dst
}

func decodeDecimalKey(src []byte) (Datum, []byte, bool) {
	if len(src) < 1 {
		return Datum{}, nil, false
	}
	sign, src := src[0], src[1:]
	mask := byte(0)
	switch sign {
	case keyDecimalZero:
		return NewDecimal(apd.New(0, 0)), src, true
	case keyDecimalNegative:
		mask = 0xFF
	case keyDecimalPositive:
	default: // a NaN is never stored
		return Datum{}, nil, false
	}
	if len(src) < 4 {
		return Datum{}, nil, false
	}
	var word [4]byte
	for i := range word {
		word[i] = src[i] ^ mask
	}
	exponent := int32(binary.BigEndian.Uint32(word[:]) ^ (1 << 31)) //nolint:gosec // bounded where it was made
	digits := make([]byte, 0, 40)
	src = src[4:]
	for i, b := range src {
		b ^= mask
		if b == 0 {
			return finishDecimalKey(digits, exponent, mask != 0, src[i+1:])
		}
		if b > 100 || len(digits) > 2*MaxDecimalDigits {
			return Datum{}, nil, false
		}
		digits = append(digits, '0'+(b-1)/10, '0'+(b-1)%10)
	}
	return Datum{}, nil, false
}

// finishDecimalKey builds the number and refuses encodings that are not canonical.
func finishDecimalKey(digits []byte, exponent int32, negative bool, rest []byte) (Datum, []byte, bool) {
	if len(digits) < 2 || digits[0] == '0' {
		return Datum{}, nil, false
	}
	if digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
		if digits[len(digits)-1] == '0' {
			return Datum{}, nil, false
		}
	}
	if exponent > MaxDecimalDigits || exponent < -MaxDecimalDigits {
		return Datum{}, nil, false
	}
	d := new(apd.Decimal)
	if _, ok := d.Coeff.SetString(string(digits), 10); !ok {
		return Datum{}, nil, false
	}
	d.Negative = negative
	d.Exponent = exponent - int32(len(digits)) //nolint:gosec // bounded where it was made
	if d.Exponent < -MaxDecimalDigits || !BoundDecimal(d) {
		return Datum{}, nil, false
	}
	return NewDecimal(d), rest, true
}

func decodeEmbeddingKey(src []byte) (Datum, []byte, bool) {
	values := []float32{}
	for len(src) > 0 {
		more := src[0]
		src = src[1:]
		if more == keyEnd {
			return NewEmbedding(values), src, true
		}
		if more != keyMore || len(src) < 8 || len(values) == MaxDims {
			return Datum{}, nil, false
		}
		v, rest, ok := decodeFloatKey(src, Float)
		if !ok {
			return Datum{}, nil, false
		}
		values = append(values, float32(v.Float()))
		src = rest
	}
	return Datum{}, nil, false
}

func decodeArrayKey(src []byte, elem Type, depth int) (Datum, []byte, bool) {
	values := []Datum{}
	for len(src) > 0 {
		more := src[0]
		src = src[1:]
		if more == keyEnd {
			return NewArray(values), src, true
		}
		if more != keyMore {
			return Datum{}, nil, false
		}
		v, rest, ok := decodeKey(src, elem, depth+1)
		if !ok {
			return Datum{}, nil, false
		}
		values = append(values, v)
		src = rest
	}
	return Datum{}, nil, false
}

// decodeSpanKey returns the interval of that length with as many whole months and days as it holds.
func decodeSpanKey(src []byte) (Datum, []byte, bool) {
	if len(src) < 16 {
		return Datum{}, nil, false
	}
	high := int64(binary.BigEndian.Uint64(src) ^ (1 << 63)) //nolint:gosec // the bits are kept, whatever they mean
	low := binary.BigEndian.Uint64(src[8:])
	span, ok := spanOfMicros(high, low)
	return NewInterval(span), src[16:], ok
}
