package expr

import (
	"math"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
)

const (
	microsPerSecond = 1_000_000
	microsPerDay    = 86_400 * microsPerSecond
)

// temporalArithmetic builds + - * / between dates, times and intervals; nil when the operator does not
// apply to the types.
func temporalArithmetic(op parse.Operator, left, right Expr) Expr {
	lk, rk := left.Type().Kind, right.Type().Kind
	node := func(t datum.Kind, apply func(a, b datum.Datum) (datum.Datum, error)) Expr {
		return &binaryExpr{op: string(op), left: left, right: right, typ: datum.Of(t), apply: apply}
	}
	switch {
	case op == "+" && lk == datum.Interval && (rk.IsInstant() || rk == datum.Time):
		swapped := temporalArithmetic(op, right, left)
		return swapped
	case op == "+" && lk.IsInteger() && rk == datum.Date:
		return temporalArithmetic(op, right, left)
	case (op == "+" || op == "-") && lk.IsInstant() && rk == datum.Interval:
		result := lk
		if lk == datum.Date {
			result = datum.Timestamp
		}
		return node(result, func(a, b datum.Datum) (datum.Datum, error) { return addSpan(a, b.Interval(), op == "-", result) })
	case (op == "+" || op == "-") && lk == datum.Date && rk.IsInteger():
		return node(datum.Date, func(a, b datum.Datum) (datum.Datum, error) {
			days, err := integerOperation(op, a.Int(), b.Int(), datum.BigInt)
			if err != nil {
				return datum.Datum{}, err
			}
			return datum.Cast(datum.NewBigInt(days), datum.Of(datum.Date))
		})
	case op == "+" && lk == datum.Date && rk == datum.Time:
		return node(datum.Timestamp, func(a, b datum.Datum) (datum.Datum, error) {
			return addSpan(a, datum.Span{Micros: b.Int()}, false, datum.Timestamp)
		})
	case op == "-" && lk == datum.Date && rk == datum.Date:
		return node(datum.Int, func(a, b datum.Datum) (datum.Datum, error) {
			return datum.Cast(datum.NewBigInt(a.Int()-b.Int()), datum.Of(datum.Int))
		})
	case op == "-" && lk.IsInstant() && rk.IsInstant():
		return node(datum.Interval, subtractInstants)
	case op == "-" && lk == datum.Time && rk == datum.Time:
		return node(datum.Interval, func(a, b datum.Datum) (datum.Datum, error) {
			return datum.NewInterval(datum.Span{Micros: a.Int() - b.Int()}), nil
		})
	case (op == "+" || op == "-") && lk == datum.Time && rk == datum.Interval:
		return node(datum.Time, func(a, b datum.Datum) (datum.Datum, error) {
			micros := b.Interval().Micros % microsPerDay
			if op == "-" {
				micros = -micros
			}
			return datum.NewInt(datum.Time, ((a.Int()+micros)%microsPerDay+microsPerDay)%microsPerDay), nil
		})
	case (op == "+" || op == "-") && lk == datum.Interval && rk == datum.Interval:
		return node(datum.Interval, func(a, b datum.Datum) (datum.Datum, error) {
			return addSpans(a.Interval(), b.Interval(), op == "-")
		})
	case op == "*" && lk == datum.Interval && rk.IsNumeric():
		return &binaryExpr{op: "*", left: left, right: NewCast(right, datum.Of(datum.Double)), typ: datum.Of(datum.Interval), apply: scaleSpan}
	case op == "*" && lk.IsNumeric() && rk == datum.Interval:
		return temporalArithmetic(op, right, left)
	case op == "/" && lk == datum.Interval && rk.IsNumeric():
		return &binaryExpr{
			op: "/", left: left, right: NewCast(right, datum.Of(datum.Double)), typ: datum.Of(datum.Interval), apply: divideSpan,
		}
	}
	return nil
}

// addSpan moves an instant: months first (the day is cut to the length of the month), then days, then
// microseconds.
func addSpan(d datum.Datum, s datum.Span, negate bool, result datum.Kind) (datum.Datum, error) {
	sign := int64(1)
	if negate {
		sign = -1
	}
	clock := datum.ClockOf(d)
	months := clock.Year*12 + int64(clock.Month-1) + sign*int64(s.Months)
	year := months / 12
	if months%12 < 0 {
		year--
	}
	clock.Year, clock.Month = year, int(months-year*12)+1
	clock.Day = min(clock.Day, datum.DaysInMonth(clock.Year, clock.Month))
	if clock.Year > 400_000 || clock.Year < -400_000 {
		return datum.Datum{}, numberFault(result)
	}
	micros, ok := clock.Instant()
	if !ok {
		return datum.Datum{}, numberFault(result)
	}
	for _, step := range []int64{sign * int64(s.Days), 0} {
		days, err := integerOperation("*", step, microsPerDay, datum.BigInt)
		if err != nil {
			return datum.Datum{}, numberFault(result)
		}
		if micros, err = integerOperation("+", micros, days, datum.BigInt); err != nil {
			return datum.Datum{}, numberFault(result)
		}
	}
	op := parse.Operator("+")
	if negate {
		op = "-"
	}
	micros, err := integerOperation(op, micros, s.Micros, datum.BigInt)
	if err != nil {
		return datum.Datum{}, numberFault(result)
	}
	return datum.NewInt(result, micros), nil
}

// subtractInstants gives days and a time, as PostgreSQL does for timestamps.
func subtractInstants(a, b datum.Datum) (datum.Datum, error) {
	left, err := datum.Cast(a, datum.Of(datum.Timestamp))
	if err != nil {
		return datum.Datum{}, err
	}
	right, err := datum.Cast(b, datum.Of(datum.Timestamp))
	if err != nil {
		return datum.Datum{}, err
	}
	micros, err := integerOperation("-", left.Int(), right.Int(), datum.BigInt)
	if err != nil {
		return datum.Datum{}, numberFault(datum.Interval)
	}
	return datum.NewInterval(datum.Span{Days: int32(micros / microsPerDay), Micros: micros % microsPerDay}), nil //nolint:gosec // bounded where it was made
}

func addSpans(a, b datum.Span, negate bool) (datum.Datum, error) {
	op := parse.Operator("+")
	if negate {
		op = "-"
	}
	months, err := integerOperation(op, int64(a.Months), int64(b.Months), datum.Int)
	if err != nil {
		return datum.Datum{}, numberFault(datum.Interval)
	}
	days, err := integerOperation(op, int64(a.Days), int64(b.Days), datum.Int)
	if err != nil {
		return datum.Datum{}, numberFault(datum.Interval)
	}
	micros, err := integerOperation(op, a.Micros, b.Micros, datum.BigInt)
	if err != nil {
		return datum.Datum{}, numberFault(datum.Interval)
	}
	return datum.NewInterval(datum.Span{Months: int32(months), Days: int32(days), Micros: micros}), nil //nolint:gosec // bounded where it was made
}

// scaleSpan multiplies; fractions of months become days and fractions of days become time.
func scaleSpan(a, b datum.Datum) (datum.Datum, error) {
	factor := b.Float()
	return resizedSpan(a.Interval(), func(part float64) float64 { return part * factor })
}

// divideSpan divides each part, which a product with the reciprocal would miss by a last digit.
func divideSpan(a, b datum.Datum) (datum.Datum, error) {
	divisor := b.Float()
	if divisor == 0 {
		return datum.Datum{}, divisionByZero()
	}
	return resizedSpan(a.Interval(), func(part float64) float64 { return part / divisor })
}

// resizedSpan rounds what is left of months and of days to microseconds where PostgreSQL does, so that a third of 13 months
// has 10 days, not 9 and 24 hours. Conversions to float64 keep a processor from fusing a product with a sum.
func resizedSpan(s datum.Span, resize func(part float64) float64) (datum.Datum, error) {
	micro := func(v float64) float64 { return math.RoundToEven(v*1e6) / 1e6 }
	months, monthRest := math.Modf(resize(float64(s.Months)))
	days, dayRest := math.Modf(resize(float64(s.Days)))
	restDays := micro(float64(monthRest * 30))
	seconds := micro((dayRest + restDays - math.Trunc(restDays)) * 86_400)
	carried := math.Trunc(seconds / 86_400)
	seconds -= float64(carried * 86_400)
	days += math.Trunc(restDays) + carried
	micros := math.RoundToEven(float64(resize(float64(s.Micros))) + float64(seconds*1e6))
	if !(math.Abs(months) <= math.MaxInt32 && math.Abs(days) <= math.MaxInt32 && math.Abs(micros) < 1<<63) { // none for NaN
		return datum.Datum{}, numberFault(datum.Interval)
	}
	return datum.NewInterval(datum.Span{Months: int32(months), Days: int32(days), Micros: int64(micros)}), nil
}

// truncated cuts an instant to a unit of date_trunc.
func truncated(unit string, d datum.Datum, result datum.Kind) (datum.Datum, error) {
	c := datum.ClockOf(d)
	switch unit {
	case "microsecond", "microseconds":
		return datum.NewInt(result, mustInstant(c)), nil
	case "millisecond", "milliseconds":
		c.Micros -= c.Micros % 1000
		return datum.NewInt(result, mustInstant(c)), nil
	case "second":
	case "minute":
		c.Second = 0
	case "hour":
		c.Minute, c.Second = 0, 0
	case "day", "week", "month", "quarter", "year", "decade", "century", "millennium":
		c.Hour, c.Minute, c.Second = 0, 0, 0
		c = truncatedDate(unit, c)
	default:
		return datum.Datum{}, fault.New(fault.InvalidStatement, "unit %q is not known to date_trunc", unit)
	}
	c.Micros = 0
	micros, ok := c.Instant()
	if !ok {
		return datum.Datum{}, numberFault(result)
	}
	return datum.NewInt(result, micros), nil
}

// mustInstant is for clocks that came from an instant and were only moved down within a second.
func mustInstant(c datum.Clock) int64 {
	micros, _ := c.Instant()
	return micros
}

func truncatedDate(unit string, c datum.Clock) datum.Clock {
	floorTo := func(year, size int64) int64 {
		year -= ((year % size) + size) % size
		return year
	}
	switch unit {
	case "week":
		days := datum.DaysFromCivil(c.Year, c.Month, c.Day)
		days -= ((days+3)%7 + 7) % 7 // 1970-01-01 was a Thursday
		c.Year, c.Month, c.Day = datum.CivilFromDays(days)
	case "month":
		c.Day = 1
	case "quarter":
		c.Month, c.Day = c.Month-(c.Month-1)%3, 1
	case "year":
		c.Month, c.Day = 1, 1
	case "decade":
		c.Year, c.Month, c.Day = floorTo(c.Year, 10), 1, 1
	case "century":
		c.Year, c.Month, c.Day = floorTo(c.Year-1, 100)+1, 1, 1
	case "millennium":
		c.Year, c.Month, c.Day = floorTo(c.Year-1, 1000)+1, 1, 1
	}
	return c
}

// extracted returns a field of an instant as coefficient * 10^exponent, with the scale that PostgreSQL
// prints; ok is false for an unknown field.
func extracted(field string, d datum.Datum) (coefficient int64, exponent int32, ok bool) {
	c := datum.ClockOf(d)
	days := datum.DaysFromCivil(c.Year, c.Month, c.Day)
	sinceMonday := ((days+3)%7 + 7) % 7 // 1970-01-01 was a Thursday
	inSecond := int64(c.Second)*microsPerSecond + int64(c.Micros)
	switch field {
	case "epoch":
		if d.Kind() == datum.Date {
			return d.Int() * 86_400, 0, true
		}
		return d.Int(), -6, true
	case "year":
		if c.Year <= 0 {
			return c.Year - 1, 0, true
		}
		return c.Year, 0, true
	case "month":
		return int64(c.Month), 0, true
	case "day":
		return int64(c.Day), 0, true
	case "hour":
		return int64(c.Hour), 0, true
	case "minute":
		return int64(c.Minute), 0, true
	case "second", "seconds":
		return inSecond, -6, true
	case "millisecond", "milliseconds":
		return inSecond, -3, true
	case "microsecond", "microseconds":
		return inSecond, 0, true
	case "quarter":
		return int64(c.Month-1)/3 + 1, 0, true
	case "dow":
		return (sinceMonday + 1) % 7, 0, true
	case "isodow":
		return sinceMonday + 1, 0, true
	case "doy":
		return days - datum.DaysFromCivil(c.Year, 1, 1) + 1, 0, true
	case "week", "isoyear":
		thursday := days - sinceMonday + 3 // the day that decides to which year a week belongs
		year, _, _ := datum.CivilFromDays(thursday)
		if field == "isoyear" {
			return year, 0, true
		}
		return (thursday-datum.DaysFromCivil(year, 1, 1))/7 + 1, 0, true
	case "decade":
		return int64(math.Floor(float64(c.Year) / 10)), 0, true
	case "century":
		return int64(math.Ceil(float64(c.Year) / 100)), 0, true
	case "millennium":
		return int64(math.Ceil(float64(c.Year) / 1000)), 0, true
	case "timezone", "timezone_hour", "timezone_minute":
		return 0, 0, true
	}
	return 0, 0, false
}
