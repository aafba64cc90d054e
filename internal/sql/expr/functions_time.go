package expr

import (
	"math"
	"strings"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// timeFunction holds the functions on dates and times. Times of the statement come from the Env.
func timeFunction(name string) (definition, bool) {
	switch name {
	case "now", "current_timestamp", "transaction_timestamp", "statement_timestamp", "clock_timestamp":
		return statementTime(datum.DateTime), true
	case "localtimestamp":
		return statementTime(datum.Timestamp), true
	case "current_date", "today":
		return statementTime(datum.Date), true
	case "current_time", "localtime":
		return statementTime(datum.Time), true
	case "date_trunc":
		return truncFunction(), true
	case "extract":
		return extractFunction(name, datum.Decimal), true
	case "date_part":
		return extractFunction(name, datum.Double), true
	case "to_timestamp":
		return definition{
			operands: []operandClass{anyOperand, textOperand}, optional: 1, result: datum.Of(datum.DateTime),
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
				if len(a) == 2 {
					return readTemplate(a[0], a[1], datum.DateTime)
				}
				return toTimestamp(a[0])
			},
		}, true
	case "make_date":
		return definition{
			operands: []operandClass{integerOperand, integerOperand, integerOperand}, result: datum.Of(datum.Date),
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) { return makeDate(a) },
		}, true
	case "timezone":
		return definition{
			operands: []operandClass{textOperand, instantOperand},
			resultOf: func(operands []Expr) datum.Type { return datum.Of(otherZoneKind(operands[1].Type().Kind)) },
			apply:    func(_ *EvalContext, a arguments) (datum.Datum, error) { return inZone(a[0].Str(), a[1]) },
		}, true
	}
	return definition{}, false
}

// statementTime is the time of the statement as a kind.
func statementTime(k datum.Kind) definition {
	return definition{
		operands: []operandClass{integerOperand}, optional: 1, result: datum.Of(k), when: stable,
		apply: func(ctx *EvalContext, _ arguments) (datum.Datum, error) {
			return datum.Cast(datum.NewInt(datum.DateTime, ctx.Env.NowMicros), datum.Of(k))
		},
	}
}

// instantKind is the kind of an instant with a time of day.
func instantKind(k datum.Kind) datum.Kind {
	if k == datum.DateTime {
		return datum.DateTime
	}
	return datum.Timestamp
}

func extractFunction(name string, result datum.Kind) definition {
	return definition{
		operands: []operandClass{textOperand, anyOperand}, result: datum.Of(result),
		apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			field := strings.ToLower(a[0].Str())
			coefficient, exponent, err := fieldOf(name, field, a[1])
			if err != nil {
				return datum.Datum{}, err
			}
			return datum.Cast(datum.NewDecimal(apd.New(coefficient, exponent)), datum.Of(result))
		},
	}
}

// fieldOf extracts a field of an instant, a time, an interval, or text that reads as a timestamp.
func fieldOf(name, field string, d datum.Datum) (coefficient int64, exponent int32, err error) {
	if d.Kind().IsString() {
		if d, err = datum.Cast(d, datum.Of(datum.Timestamp)); err != nil {
			return 0, 0, err
		}
	}
	ok := false
	switch {
	case d.Kind().IsInstant():
		coefficient, exponent, ok = extracted(field, d)
	case d.Kind() == datum.Time:
		switch field {
		case "hour", "minute", "second", "seconds", "millisecond", "milliseconds", "microsecond", "microseconds", "epoch":
			coefficient, exponent, ok = extracted(field, datum.NewInt(datum.Timestamp, d.Int()))
		}
	case d.Kind() == datum.Interval:
		coefficient, exponent, ok = extractedSpan(field, d.Interval())
	default:
		return 0, 0, fault.New(fault.InvalidStatement, "%s does not apply to %s", name, d.Kind())
	}
	if !ok {
		return 0, 0, fault.New(fault.InvalidStatement, "%s of %s has no field %q", name, d.Kind(), field)
	}
	return coefficient, exponent, nil
}

func extractedSpan(field string, s datum.Span) (coefficient int64, exponent int32, ok bool) {
	const microsPerMinute = 60 * microsPerSecond
	switch field {
	case "year":
		return int64(s.Months / 12), 0, true
	case "month":
		return int64(s.Months % 12), 0, true
	case "quarter":
		return int64(s.Months%12/3) + 1, 0, true
	case "day":
		return int64(s.Days), 0, true
	case "hour":
		return s.Micros / (60 * microsPerMinute), 0, true
	case "minute":
		return s.Micros / microsPerMinute % 60, 0, true
	case "second", "seconds":
		return s.Micros % microsPerMinute, -6, true
	case "millisecond", "milliseconds":
		return s.Micros % microsPerMinute, -3, true
	case "microsecond", "microseconds":
		return s.Micros % microsPerMinute, 0, true
	case "epoch": // years of 365.25 days
		days := int64(s.Months/12)*36_525/100 + int64(s.Months%12)*30 + int64(s.Days)
		quarterDays := int64(s.Months/12) * 36_525 % 100 / 25
		if math.Abs(float64(days)) > 90_000_000 {
			return 0, 0, false
		}
		return days*microsPerDay + quarterDays*microsPerDay/4 + s.Micros, -6, true
	}
	return 0, 0, false
}

// toTimestamp reads seconds since 1970-01-01, or text.
func toTimestamp(d datum.Datum) (datum.Datum, error) {
	switch k := d.Kind(); {
	case k.IsNumeric():
		seconds, err := datum.Cast(d, datum.Of(datum.Decimal))
		if err != nil {
			return datum.Datum{}, err
		}
		micros, err := decimalOperation("*", seconds.Decimal(), apd.New(microsPerSecond, 0))
		if err != nil {
			return datum.Datum{}, err
		}
		whole, err := datum.Cast(micros, datum.Of(datum.BigInt))
		if err != nil {
			return datum.Datum{}, numberFault(datum.DateTime)
		}
		return datum.NewInt(datum.DateTime, whole.Int()), nil
	case k.IsString(), k.IsInstant():
		return datum.Cast(d, datum.Of(datum.DateTime))
	}
	return datum.Datum{}, fault.New(fault.InvalidStatement, "to_timestamp does not apply to %s", d.Kind())
}

func makeDate(a arguments) (datum.Datum, error) {
	year, month, day := a[0].Int(), a[1].Int(), a[2].Int()
	if year < 1 || year > 294_276 || month < 1 || month > 12 || day < 1 || day > int64(datum.DaysInMonth(year, int(month))) {
		return datum.Datum{}, fault.New(fault.OutOfRange, "date %d-%d-%d is out of range", year, month, day)
	}
	return datum.NewInt(datum.Date, datum.DaysFromCivil(year, int(month), int(day))), nil
}

// otherZoneKind: a DateTime seen in a zone is a Timestamp there, and the reverse.
func otherZoneKind(k datum.Kind) datum.Kind {
	if k == datum.DateTime {
		return datum.Timestamp
	}
	return datum.DateTime
}

// inZone knows UTC, fixed offsets, and zones by the names of the IANA database, as far as this node has it.
func inZone(zone string, d datum.Datum) (datum.Datum, error) {
	offset, err := zoneOffset(strings.TrimSpace(zone), d)
	if err != nil {
		return datum.Datum{}, err
	}
	if d.Kind() != datum.DateTime {
		offset = -offset
	}
	instant, err := datum.Cast(d, datum.Of(datum.Timestamp))
	if err != nil {
		return datum.Datum{}, err
	}
	micros, err := integerOperation("+", instant.Int(), offset, datum.BigInt)
	if err != nil {
		return datum.Datum{}, numberFault(datum.DateTime)
	}
	return datum.NewInt(otherZoneKind(d.Kind()), micros), nil
}

// zoneOffset is how far east of UTC a zone is at an instant, or at a time by its clocks, in microseconds.
func zoneOffset(zone string, d datum.Datum) (int64, error) {
	unknown := fault.New(fault.InvalidStatement, "time zone %q is not known; use an IANA name such as Europe/Zurich, UTC, or an offset such as +02:00", zone)
	if zone == "" {
		return 0, unknown
	}
	if probe, err := datum.ParseText("2000-01-01 00:00:00"+zone, datum.Of(datum.Timestamp)); err == nil {
		const midnight2000 = 946_684_800 * microsPerSecond
		return midnight2000 - probe.Int(), nil
	}
	if strings.EqualFold(zone, "local") || strings.ContainsAny(zone, `\.`) {
		return 0, unknown
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return 0, unknown
	}
	at := func(micros int64) int64 {
		_, seconds := time.UnixMicro(micros).In(location).Zone()
		return int64(seconds) * microsPerSecond
	}
	instant, err := datum.Cast(d, datum.Of(datum.Timestamp))
	if err != nil {
		return 0, err
	}
	if d.Kind() == datum.DateTime {
		return at(instant.Int()), nil
	}
	// By the clocks of a zone an hour is left out in spring and comes twice in autumn: then the time without the hour of summer counts.
	local := instant.Int()
	before, after := at(local-microsPerDay), at(local+microsPerDay)
	isBefore, isAfter := at(local-before) == before, at(local-after) == after
	switch {
	case isBefore && !isAfter:
		return before, nil
	case isAfter && !isBefore:
		return after, nil
	}
	return min(before, after), nil
}
