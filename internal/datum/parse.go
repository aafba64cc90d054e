package datum

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// MaxDecimalDigits bounds the digits before, and the digits after, the point of a Decimal that has no
// declared precision. Every Decimal has an exponent between -MaxDecimalDigits and 0.
const MaxDecimalDigits = 1000

// ParseText reads the text form of a value of type t, as a cast from text does: boolean words, numbers,
// \x… or escaped bytes, UUIDs with or without hyphens, JSON (validated), RFC 3339 or YYYY-MM-DD
// [HH:MM:SS[.ffffff]] instants (zones are converted to UTC, none means UTC), JSON arrays for embeddings.
// Malformed text is fault.InvalidStatement, a value outside the type's range fault.OutOfRange.
func ParseText(text string, t Type) (Datum, error) {
	switch t.Kind {
	case Null, Text, File:
		return NewString(textKind(t.Kind), text), checkUTF8(text, t)
	case JSON:
		if !validJSON(text) || !utf8.ValidString(text) {
			return Datum{}, syntaxFault(text, t)
		}
		return NewString(JSON, text), nil
	case Boolean:
		return parseBoolean(text)
	case SmallInt, Int, BigInt:
		return parseInteger(text, t)
	case Float, Double:
		return parseFloat(text, t)
	case Decimal:
		d, err := parseDecimal(text, t)
		if err != nil {
			return Datum{}, err
		}
		return castDecimal(d, t)
	case Bytes:
		return parseBytes(text)
	case UUID:
		return parseUUID(text)
	case Timestamp, DateTime, Date:
		return parseInstantAs(text, t)
	case Time:
		s := &scanner{text: strings.TrimSpace(text), ok: true}
		micros := s.timeOfDay()
		if !s.ok || s.text != "" {
			return Datum{}, syntaxFault(text, t)
		}
		return NewInt(Time, micros), nil
	case Embedding:
		return parseEmbedding(text, t)
	case Interval:
		return parseSpan(text)
	case Array:
		return parseArray(text, t)
	}
	return Datum{}, castFault(NewText(text), t)
}

// textKind is the kind that text has when nothing more is known of its type.
func textKind(k Kind) Kind {
	if k == Null {
		return Text
	}
	return k
}

func checkUTF8(text string, t Type) error {
	if utf8.ValidString(text) {
		return nil
	}
	return fault.New(fault.InvalidStatement, "a value of type %s must be UTF-8", t)
}

// quoteValue repeats a value in a message, cut to a readable length.
func quoteValue(text string) string {
	if len(text) > maxQuotedValueBytes {
		cut := maxQuotedValueBytes
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	return strconv.Quote(text)
}

func syntaxFault(text string, t Type) error {
	return fault.New(fault.InvalidStatement, "%s is not a valid %s", quoteValue(text), t)
}

func rangeFault(text string, t Type) error {
	return fault.New(fault.OutOfRange, "%s is out of range for %s", quoteValue(text), t)
}

func castFault(d Datum, t Type) error {
	return fault.New(fault.InvalidStatement, "cannot convert %s of type %s to %s", quoteValue(d.String()), d.kind, t)
}

func parseBoolean(text string) (Datum, error) {
	word := strings.ToLower(strings.TrimSpace(text))
	switch word {
	case "1", "on":
		return NewBool(true), nil
	case "0", "of", "off":
		return NewBool(false), nil
	case "":
		return Datum{}, syntaxFault(text, Of(Boolean))
	}
	for _, full := range []string{"true", "yes"} {
		if strings.HasPrefix(full, word) {
			return NewBool(true), nil
		}
	}
	for _, full := range []string{"false", "no"} {
		if strings.HasPrefix(full, word) {
			return NewBool(false), nil
		}
	}
	return Datum{}, syntaxFault(text, Of(Boolean))
}

// integerRange returns the least and greatest value of an integer kind.
func integerRange(k Kind) (low, high int64) {
	switch k { //nolint:exhaustive // the kinds not named share the last case
	case SmallInt:
		return math.MinInt16, math.MaxInt16
	case Int:
		return math.MinInt32, math.MaxInt32
	}
	return math.MinInt64, math.MaxInt64
}

func parseInteger(text string, t Type) (Datum, error) {
	v, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		if errors.Is(err, strconv.ErrRange) {
			return Datum{}, rangeFault(text, t)
		}
		return Datum{}, syntaxFault(text, t)
	}
	if low, high := integerRange(t.Kind); v < low || v > high {
		return Datum{}, rangeFault(text, t)
	}
	return NewInt(t.Kind, v), nil
}

func parseFloat(text string, t Type) (Datum, error) {
	trimmed := strings.TrimSpace(text)
	if strings.ContainsAny(trimmed, "_xXpP") { // Go's own literal forms
		return Datum{}, syntaxFault(text, t)
	}
	bitSize := 64
	if t.Kind == Float {
		bitSize = 32
	}
	v, err := strconv.ParseFloat(trimmed, bitSize)
	if err != nil {
		if errors.Is(err, strconv.ErrRange) {
			return Datum{}, rangeFault(text, t)
		}
		return Datum{}, syntaxFault(text, t)
	}
	if t.Kind == Float {
		return NewFloat(v), nil
	}
	return NewDouble(v), nil
}

// parseDecimal reads an exact number and brings its exponent into the range of a Decimal.
func parseDecimal(text string, t Type) (*apd.Decimal, error) {
	trimmed := strings.TrimSpace(text)
	if len(trimmed) > 3*MaxDecimalDigits {
		return nil, rangeFault(text, t)
	}
	for i := range len(trimmed) {
		if b := trimmed[i]; (b < '0' || b > '9') && !strings.ContainsRune("+-.eE", rune(b)) {
			return nil, syntaxFault(text, t)
		}
	}
	d, _, err := apd.NewFromString(trimmed)
	if err != nil {
		if at := strings.IndexAny(trimmed, "eE"); at > 0 && isWholeNumber(trimmed[at+1:]) {
			return nil, rangeFault(text, t) // an exponent beyond 32 bits
		}
		return nil, syntaxFault(text, t)
	}
	if !BoundDecimal(d) {
		return nil, rangeFault(text, t)
	}
	return d, nil
}

// isWholeNumber reports whether text is digits with an optional sign.
func isWholeNumber(text string) bool {
	digits := strings.TrimLeft(strings.TrimPrefix(strings.TrimPrefix(text, "-"), "+"), "0123456789")
	return digits == "" && text != "" && text != "-" && text != "+"
}

// BoundDecimal brings a decimal's exponent to zero or below without changing its value, drops digits
// after the point beyond MaxDecimalDigits (rounding half away from zero), and reports whether the result
// is finite and within the bounds of a Decimal. It changes d.
func BoundDecimal(d *apd.Decimal) bool {
	if d.Form != apd.Finite {
		return false
	}
	if d.Coeff.Sign() == 0 {
		d.Negative = false
		d.Exponent = max(min(d.Exponent, 0), -MaxDecimalDigits)
		return true
	}
	digits := d.NumDigits()
	if digits+int64(d.Exponent) > MaxDecimalDigits {
		return false
	}
	switch {
	case d.Exponent > 0:
		power := new(apd.BigInt).Exp(apd.NewBigInt(10), apd.NewBigInt(int64(d.Exponent)), nil)
		d.Coeff.Mul(&d.Coeff, power)
		d.Exponent = 0
	case d.Exponent < -MaxDecimalDigits:
		return Rescale(d, d, MaxDecimalDigits)
	}
	return true
}

// Rescale sets d to x with exactly scale digits after the point, rounding half away from zero. It reports
// false, with d undefined, when that needs more than 2*MaxDecimalDigits digits.
func Rescale(d, x *apd.Decimal, scale int32) bool {
	context := apd.Context{
		Precision: 2*MaxDecimalDigits + 1, MaxExponent: apd.MaxExponent, MinExponent: apd.MinExponent,
		Rounding: apd.RoundHalfUp,
	}
	condition, err := context.Quantize(d, x, -scale)
	if err != nil || condition&apd.InvalidOperation != 0 || d.Form != apd.Finite {
		return false
	}
	if d.Coeff.Sign() == 0 {
		d.Negative = false
	}
	return true
}

func parseBytes(text string) (Datum, error) {
	if rest, found := strings.CutPrefix(text, `\x`); found {
		raw, err := hex.DecodeString(strings.Join(strings.Fields(rest), ""))
		if err != nil {
			return Datum{}, syntaxFault(text, Of(Bytes))
		}
		return NewString(Bytes, string(raw)), nil
	}
	if strings.IndexByte(text, '\\') < 0 {
		return NewString(Bytes, text), nil
	}
	raw := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			raw = append(raw, text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == '\\' {
			raw = append(raw, '\\')
			i++
			continue
		}
		if i+3 >= len(text) {
			return Datum{}, syntaxFault(text, Of(Bytes))
		}
		b, err := strconv.ParseUint(text[i+1:i+4], 8, 8)
		if err != nil {
			return Datum{}, syntaxFault(text, Of(Bytes))
		}
		raw = append(raw, byte(b))
		i += 3
	}
	return NewString(Bytes, string(raw)), nil
}

func parseUUID(text string) (Datum, error) {
	trimmed := strings.TrimSpace(text)
	if strings.HasPrefix(trimmed, "{") && strings.HasSuffix(trimmed, "}") {
		trimmed = trimmed[1 : len(trimmed)-1]
	}
	trimmed = strings.ReplaceAll(trimmed, "-", "")
	if len(trimmed) != 2*uuidBytes {
		return Datum{}, syntaxFault(text, Of(UUID))
	}
	raw, err := hex.DecodeString(trimmed)
	if err != nil {
		return Datum{}, syntaxFault(text, Of(UUID))
	}
	return NewString(UUID, string(raw)), nil
}

func parseInstantAs(text string, t Type) (Datum, error) {
	days, micros, zone, ok := parseInstant(text)
	if !ok {
		return Datum{}, syntaxFault(text, t)
	}
	if t.Kind == Date { // the day that was written, whatever its zone
		return NewInt(Date, days), nil
	}
	return instantFromDays(t, days, micros-zone, text)
}

// instantFromDays makes a Timestamp or DateTime; micros may be negative or exceed a day.
func instantFromDays(t Type, days, micros int64, text string) (Datum, error) {
	carry, micros := floorDivide(micros, microsPerDay)
	days += carry
	if days > math.MaxInt64/microsPerDay-1 || days < math.MinInt64/microsPerDay+1 {
		return Datum{}, rangeFault(text, t)
	}
	return NewInt(t.Kind, days*microsPerDay+micros), nil
}

// maxEmbeddingBytes bounds the text of an embedding: more than its numbers can take.
const maxEmbeddingBytes = 64 * MaxDims

func parseEmbedding(text string, t Type) (Datum, error) {
	if len(text) > maxEmbeddingBytes {
		return Datum{}, fault.New(fault.OutOfRange, "a text of %d bytes is too long for an embedding of at most %d dimensions", len(text), MaxDims)
	}
	var numbers []float64
	if strings.Contains(text, "null") { // no number has it; as an element it would read as zero
		return Datum{}, fault.New(fault.InvalidStatement, "%s is not a valid %s: want a JSON array of numbers", quoteValue(text), t)
	}
	if err := json.Unmarshal([]byte(text), &numbers); err != nil || numbers == nil {
		return Datum{}, fault.New(fault.InvalidStatement, "%s is not a valid %s: want a JSON array of numbers", quoteValue(text), t)
	}
	values := make([]float32, len(numbers))
	for i, v := range numbers {
		values[i] = float32(v)
		if math.IsInf(float64(values[i]), 0) {
			return Datum{}, rangeFault(strconv.FormatFloat(v, 'g', -1, 64), t)
		}
	}
	return checkEmbedding(values, t)
}

func checkEmbedding(values []float32, t Type) (Datum, error) {
	if t.Dims != 0 && len(values) != int(t.Dims) {
		return Datum{}, fault.New(fault.InvalidStatement, "an embedding of %d dimensions cannot be stored as %s", len(values), t)
	}
	if len(values) > MaxDims {
		return Datum{}, fault.New(fault.OutOfRange, "an embedding of %d dimensions exceeds the limit of %d", len(values), MaxDims)
	}
	return NewEmbedding(values), nil
}
