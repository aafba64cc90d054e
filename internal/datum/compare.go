package datum

import (
	"cmp"
	"math"
	"math/big"
	"math/bits"
	"strings"

	"github.com/cockroachdb/apd/v3"
)

// Compare orders two values: negative when a sorts before b, zero when equal, positive after.
//
// Values of one family compare by meaning: numbers exactly across kinds (NaN equals itself and is
// greatest, -0 equals 0), Text, JSON and File by bytes, Timestamp, DateTime and Date as instants in UTC,
// Interval with 24-hour days and 30-day months, Array and Embedding element by element. NULL sorts after
// everything and equals NULL; callers that evaluate SQL handle NULL first. Values of different families
// have a fixed but meaningless order.
func Compare(a, b Datum) int {
	if a.kind == b.kind {
		return compareSameKind(a, b)
	}
	if a.kind == Null {
		return 1
	}
	if b.kind == Null {
		return -1
	}
	switch {
	case a.kind.IsNumeric() && b.kind.IsNumeric():
		return compareNumeric(a, b)
	case a.kind.IsString() && b.kind.IsString():
		return strings.Compare(a.Str(), b.Str())
	case a.kind.IsInstant() && b.kind.IsInstant():
		return compareInstants(a, b)
	}
	return cmp.Compare(a.kind, b.kind)
}

// Equal reports whether Compare finds no difference.
func Equal(a, b Datum) bool { return Compare(a, b) == 0 }

func compareSameKind(a, b Datum) int {
	switch a.kind {
	case Boolean, SmallInt, Int, BigInt, Timestamp, DateTime, Date, Time:
		return cmp.Compare(a.num, b.num)
	case Float, Double:
		return compareFloats(a.Float(), b.Float())
	case Decimal:
		return compareDecimals(a.Decimal(), b.Decimal())
	case Text, JSON, File, Bytes, UUID:
		return strings.Compare(a.Str(), b.Str())
	case Embedding:
		return compareEmbeddings(a.Embedding(), b.Embedding())
	case Array:
		return compareArrays(a.Array(), b.Array())
	case Interval:
		return compareSpans(a.Interval(), b.Interval())
	case Null:
		return 0
	}
	return 0
}

// compareFloats orders NaN after everything, which cmp.Compare does the other way round.
func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	case a == b:
		return 0
	}
	aNaN, bNaN := math.IsNaN(a), math.IsNaN(b)
	switch {
	case aNaN && bNaN:
		return 0
	case aNaN:
		return 1
	}
	return -1
}

func compareDecimals(a, b *apd.Decimal) int {
	aNaN, bNaN := isNaN(a), isNaN(b)
	switch {
	case aNaN && bNaN:
		return 0
	case aNaN:
		return 1
	case bNaN:
		return -1
	}
	return a.Cmp(b)
}

func isNaN(d *apd.Decimal) bool { return d == nil || d.Form == apd.NaN || d.Form == apd.NaNSignaling }

func compareNumeric(a, b Datum) int {
	switch {
	case a.kind.IsInteger() && b.kind.IsInteger():
		return cmp.Compare(a.num, b.num)
	case a.kind.IsFloat() && b.kind.IsFloat():
		return compareFloats(a.Float(), b.Float())
	case a.kind.IsInteger() && b.kind.IsFloat():
		return compareIntFloat(a.num, b.Float())
	case a.kind.IsFloat() && b.kind.IsInteger():
		return -compareIntFloat(b.num, a.Float())
	case a.kind == Decimal && b.kind.IsInteger():
		return compareDecimals(a.Decimal(), apd.New(b.num, 0))
	case a.kind.IsInteger() && b.kind == Decimal:
		return compareDecimals(apd.New(a.num, 0), b.Decimal())
	case a.kind == Decimal:
		return compareDecimalFloat(a.Decimal(), b.Float())
	}
	return -compareDecimalFloat(b.Decimal(), a.Float())
}

// compareIntFloat compares without losing the low bits that a conversion to binary64 would drop.
func compareIntFloat(i int64, f float64) int {
	switch {
	case math.IsNaN(f) || f >= 1<<63:
		return -1
	case f < -1<<63:
		return 1
	}
	whole := math.Trunc(f)
	if c := cmp.Compare(i, int64(whole)); c != 0 {
		return c
	}
	return cmp.Compare(0, f-whole)
}

// compareDecimalFloat compares exactly. Rounding to binary64 keeps the order, so only when the rounded
// decimal equals f must the float be expanded to all its decimal digits.
func compareDecimalFloat(d *apd.Decimal, f float64) int {
	if isNaN(d) {
		if math.IsNaN(f) {
			return 0
		}
		return 1
	}
	if math.IsNaN(f) {
		return -1
	}
	rounded, err := d.Float64()
	if err != nil { // beyond the range of binary64
		rounded = math.Inf(d.Sign())
	}
	if rounded != f {
		return cmp.Compare(rounded, f)
	}
	if math.IsInf(f, 0) {
		if d.Form == apd.Infinite {
			return 0
		}
		return -cmp.Compare(f, 0)
	}
	return d.Cmp(exactDecimal(f))
}

// exactDecimal returns every digit of a finite binary64.
func exactDecimal(f float64) *apd.Decimal {
	mantissa, exponent := math.Frexp(f)
	whole := int64(math.Ldexp(mantissa, 53)) // f = whole * 2^(exponent-53)
	exponent -= 53
	coefficient := big.NewInt(whole)
	if exponent >= 0 {
		coefficient.Lsh(coefficient, uint(exponent))
		exponent = 0
	} else {
		// 2^-n = 5^n * 10^-n.
		power := new(big.Int).Exp(big.NewInt(5), big.NewInt(int64(-exponent)), nil)
		coefficient.Mul(coefficient, power)
	}
	return apd.NewWithBigInt(new(apd.BigInt).SetMathBigInt(coefficient), int32(exponent))
}

// compareInstants compares a Date (days) with a Timestamp or DateTime (microseconds) without overflow.
func compareInstants(a, b Datum) int {
	if (a.kind == Date) == (b.kind == Date) {
		return cmp.Compare(a.num, b.num)
	}
	aDays, aMicros := splitInstant(a)
	bDays, bMicros := splitInstant(b)
	if c := cmp.Compare(aDays, bDays); c != 0 {
		return c
	}
	return cmp.Compare(aMicros, bMicros)
}

// splitInstant returns whole days since the epoch, rounded down, and the microseconds of the day.
func splitInstant(d Datum) (days, micros int64) {
	if d.kind == Date {
		return d.num, 0
	}
	return floorDivide(d.num, microsPerDay)
}

// floorDivide rounds the quotient down, so that the remainder is never negative.
func floorDivide(a, b int64) (quotient, remainder int64) {
	quotient, remainder = a/b, a%b
	if remainder < 0 {
		quotient--
		remainder += b
	}
	return quotient, remainder
}

func compareEmbeddings(a, b []float32) int {
	for i := range min(len(a), len(b)) {
		if c := compareFloats(float64(a[i]), float64(b[i])); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func compareArrays(a, b []Datum) int {
	for i := range min(len(a), len(b)) {
		if c := Compare(a[i], b[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func compareSpans(a, b Span) int {
	aHigh, aLow := spanMicros(a)
	bHigh, bLow := spanMicros(b)
	if c := cmp.Compare(aHigh, bHigh); c != 0 {
		return c
	}
	return cmp.Compare(aLow, bLow)
}

// spanMicros returns the length of a span as a 128 bit two's complement number of microseconds.
func spanMicros(s Span) (high int64, low uint64) {
	days := int64(s.Months)*daysPerMonth + int64(s.Days) // at most 2^36, cannot overflow
	negative := days < 0
	magnitude := uint64(days) //nolint:gosec // the bits are kept, whatever they mean
	if negative {
		magnitude = uint64(-days)
	}
	hi, lo := bits.Mul64(magnitude, microsPerDay)
	if negative {
		lo = ^lo + 1
		hi = ^hi
		if lo == 0 {
			hi++
		}
	}
	extension := uint64(0)
	if s.Micros < 0 {
		extension = math.MaxUint64
	}
	lo, carry := bits.Add64(lo, uint64(s.Micros), 0) //nolint:gosec // the bits are kept, whatever they mean
	hi, _ = bits.Add64(hi, extension, carry)
	return int64(hi), lo //nolint:gosec // the bits are kept, whatever they mean
}

// spanOfMicros is the inverse of spanMicros; ok is false when the length is not that of any Span.
func spanOfMicros(high int64, low uint64) (s Span, ok bool) {
	negative, original := high < 0, low
	hi := uint64(high) //nolint:gosec // the bits are kept, whatever they mean
	if negative {
		low = ^low + 1
		hi = ^hi
		if low == 0 {
			hi++
		}
	}
	const microsPerMonth = daysPerMonth * microsPerDay
	if hi >= microsPerMonth {
		return Span{}, false
	}
	months, rest := bits.Div64(hi, low, microsPerMonth)
	days, micros := rest/microsPerDay, rest%microsPerDay
	// What exceeds the months of a Span goes into its days, and what exceeds those into microseconds.
	if months > math.MaxInt32 {
		days += min(months-math.MaxInt32, math.MaxInt32) * daysPerMonth
		months = math.MaxInt32
	}
	if days > math.MaxInt32 {
		micros += min(days-math.MaxInt32, math.MaxInt32) * microsPerDay
		days = math.MaxInt32
	}
	if micros > math.MaxInt64 {
		return Span{}, false
	}
	s = Span{Months: int32(months), Days: int32(days), Micros: int64(micros)}
	if negative {
		s = Span{Months: -s.Months, Days: -s.Days, Micros: -s.Micros}
	}
	checkHigh, checkLow := spanMicros(s)
	return s, checkHigh == high && checkLow == original
}
