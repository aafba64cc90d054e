package datum

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// AppendJSON appends the JSON cell of a value in a column of type t: numbers for the small kinds, strings
// for BigInt, Decimal (with the column's full scale), UUID and JSON, binary64 digits for Float, integer
// microseconds (days for Date) for temporal kinds, an array of numbers for Bytes and Embedding, null for
// NULL. A value of another kind is cast to t first. NaN and infinities have no JSON form and are
// fault.OutOfRange.
func AppendJSON(dst []byte, d Datum, t Type) ([]byte, error) {
	if d.kind == Null {
		return append(dst, "null"...), nil
	}
	if t.Kind != Null && (d.kind != t.Kind || d.kind == Decimal) {
		converted, err := Cast(d, t)
		if err != nil {
			return dst, err
		}
		d = converted
	}
	switch d.kind {
	case Null:
		return append(dst, "null"...), nil
	case Boolean:
		return strconv.AppendBool(dst, d.Bool()), nil
	case SmallInt, Int, Timestamp, DateTime, Date, Time:
		return strconv.AppendInt(dst, d.num, 10), nil
	case BigInt:
		dst = append(dst, '"')
		dst = strconv.AppendInt(dst, d.num, 10)
		return append(dst, '"'), nil
	case Float, Double:
		return appendFloatJSON(dst, d.Float())
	case Decimal, UUID:
		dst = append(dst, '"')
		dst = AppendText(dst, d)
		return append(dst, '"'), nil
	case Text, JSON, File:
		return AppendJSONString(dst, d.Str()), nil
	case Bytes:
		return appendByteNumbers(dst, d.Str()), nil
	case Embedding:
		return appendEmbeddingJSON(dst, d.Embedding())
	case Array, Interval:
		return AppendJSONString(dst, string(AppendText(nil, d))), nil
	}
	return dst, fault.New(fault.Internal, "a value of kind %d has no JSON form", d.kind)
}

// appendFloatJSON prints the shortest binary64 digits, with a fraction or an exponent always present so
// that clients with separate integer types read a float: 1.0, 0.00001, 1e16.
func appendFloatJSON(dst []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, fault.New(fault.OutOfRange, "the value %s has no JSON form", appendFloatText(nil, f, 64))
	}
	magnitude := math.Abs(f)
	if magnitude != 0 && (magnitude < 1e-5 || magnitude >= 1e16) {
		return appendScientific(dst, f), nil
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if slices.Contains(dst[start:], '.') {
		return dst, nil
	}
	return append(dst, ".0"...), nil
}

// appendScientific prints without the plus sign and the leading zero of the exponent.
func appendScientific(dst []byte, f float64) []byte {
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	for i := start; i < len(dst); i++ {
		if dst[i] != 'e' {
			continue
		}
		out := i + 1
		in := i + 1
		if dst[in] == '-' {
			out++
		}
		in++
		if dst[in] == '0' {
			in++
		}
		return append(dst[:out], dst[in:]...)
	}
	return dst
}

func appendEmbeddingJSON(dst []byte, values []float32) ([]byte, error) {
	dst = append(dst, '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendFloatJSON(dst, float64(v)); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendByteNumbers(dst []byte, raw string) []byte {
	dst = append(dst, '[')
	for i := range len(raw) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(raw[i]), 10)
	}
	return append(dst, ']')
}

// AppendJSONString appends s as a JSON string. Only what JSON demands is escaped: quote, backslash and
// control characters; bytes that are not UTF-8 become U+FFFD.
func AppendJSONString(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		}
		if b >= ' ' && b != '"' && b != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch b {
		case '"', '\\':
			dst = append(dst, '\\', b)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[b>>4], digits[b&15])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// validJSON reports whether text is one JSON value.
func validJSON(text string) bool { return json.Valid([]byte(text)) }
