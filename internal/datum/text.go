package datum

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// AppendText appends the text form that PostgreSQL's clients print: t and f for booleans, \x… for bytes,
// 2024-01-02 03:04:05.6 for timestamps (with +00 for DateTime), shortest round-trip digits for floats.
// NULL appends nothing. ParseText reads every form back.
func AppendText(dst []byte, d Datum) []byte {
	switch d.kind {
	case Null:
		return dst
	case Boolean:
		if d.Bool() {
			return append(dst, 't')
		}
		return append(dst, 'f')
	case SmallInt, Int, BigInt:
		return strconv.AppendInt(dst, d.num, 10)
	case Float:
		return appendFloatText(dst, d.Float(), 32)
	case Double:
		return appendFloatText(dst, d.Float(), 64)
	case Decimal:
		return appendDecimal(dst, d.Decimal())
	case Text, JSON, File:
		return append(dst, d.Str()...)
	case Bytes:
		return hex.AppendEncode(append(dst, `\x`...), []byte(d.Str()))
	case UUID:
		return appendUUID(dst, d.Str())
	case Timestamp, DateTime, Date:
		return appendInstant(dst, d)
	case Time:
		return appendTimeOfDay(dst, d.num)
	case Embedding:
		return appendEmbedding(dst, d.Embedding(), 32)
	case Array:
		return appendArrayText(dst, d.Array())
	case Interval:
		return appendSpan(dst, d.Interval())
	}
	return dst
}

// String returns the text form, and NULL for NULL. It is meant for messages and tests.
func (d Datum) String() string {
	if d.kind == Null {
		return "NULL"
	}
	return string(AppendText(nil, d))
}

// appendFloatText prints like PostgreSQL: shortest digits, scientific from 1e15 (1e6 for binary32) and
// below 1e-4.
func appendFloatText(dst []byte, f float64, bitSize int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	case f == 0:
		return strconv.AppendFloat(dst, f, 'f', -1, bitSize)
	}
	limit := 15
	if bitSize == 32 {
		limit = 6
	}
	scientific := strconv.AppendFloat(make([]byte, 0, 32), f, 'e', -1, bitSize)
	at := strings.LastIndexByte(string(scientific), 'e')
	exponent, err := strconv.Atoi(string(scientific[at+1:]))
	if err != nil || exponent < -4 || exponent >= limit {
		return append(dst, scientific...)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, bitSize)
}

// appendDecimal prints plain digits with the full scale; the sign of a fraction between -1 and 0 is kept,
// a zero has none.
func appendDecimal(dst []byte, d *apd.Decimal) []byte {
	if d == nil {
		return dst
	}
	if d.Form == apd.Finite && d.Negative && d.Coeff.Sign() == 0 {
		positive := new(apd.Decimal).Set(d)
		positive.Negative = false
		d = positive
	}
	return d.Append(dst, 'f')
}

func appendUUID(dst []byte, raw string) []byte {
	var id [uuidBytes]byte
	copy(id[:], raw)
	for i, part := range [][]byte{id[0:4], id[4:6], id[6:8], id[8:10], id[10:16]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

func appendInstant(dst []byte, d Datum) []byte {
	days, micros := splitInstant(d)
	year, month, day := CivilFromDays(days)
	dst, beforeChrist := appendDate(dst, year, month, day)
	if d.kind != Date {
		dst = append(dst, ' ')
		dst = appendTimeOfDay(dst, micros)
	}
	if d.kind == DateTime {
		dst = append(dst, "+00"...)
	}
	if beforeChrist {
		dst = append(dst, " BC"...)
	}
	return dst
}

// appendEmbedding prints a JSON array; the digits are those of binary32 or, widened, of binary64.
func appendEmbedding(dst []byte, values []float32, bitSize int) []byte {
	dst = append(dst, '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendFloat(dst, float64(v), 'g', -1, bitSize)
	}
	return append(dst, ']')
}

func appendArrayText(dst []byte, values []Datum) []byte {
	dst = append(dst, '{')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		if v.IsNull() {
			dst = append(dst, "NULL"...)
			continue
		}
		text := string(AppendText(nil, v))
		if v.kind == Array || !needsArrayQuotes(text) {
			dst = append(dst, text...)
			continue
		}
		dst = append(dst, '"')
		for _, b := range []byte(text) {
			if b == '"' || b == '\\' {
				dst = append(dst, '\\')
			}
			dst = append(dst, b)
		}
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

func needsArrayQuotes(text string) bool {
	return text == "" || strings.EqualFold(text, "NULL") || strings.ContainsAny(text, "{},\"\\ \t\n\r\v\f")
}

func appendSpan(dst []byte, s Span) []byte {
	start := len(dst)
	unit := func(v int64, one, many string) {
		if v == 0 {
			return
		}
		if len(dst) > start {
			dst = append(dst, ' ')
		}
		dst = strconv.AppendInt(dst, v, 10)
		if v == 1 {
			dst = append(dst, one...)
			return
		}
		dst = append(dst, many...)
	}
	unit(int64(s.Months/12), " year", " years")
	unit(int64(s.Months%12), " mon", " mons")
	unit(int64(s.Days), " day", " days")
	if s.Micros == 0 && len(dst) > start {
		return dst
	}
	if len(dst) > start {
		dst = append(dst, ' ')
	}
	magnitude := uint64(s.Micros) //nolint:gosec // the bits are kept, whatever they mean
	if s.Micros < 0 {
		dst = append(dst, '-')
		magnitude = -magnitude
	}
	if magnitude > math.MaxInt64 { // only the least 64 bit number
		magnitude = math.MaxInt64
	}
	return appendTimeOfDay(dst, int64(magnitude))
}
