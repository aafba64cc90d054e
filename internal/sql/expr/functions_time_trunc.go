package expr

import (
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// truncFunction is date_trunc of instants, of instants by the clocks of a zone, and of intervals.
func truncFunction() definition {
	return definition{
		operands: []operandClass{textOperand, momentOperand, textOperand}, optional: 1,
		resultOf: func(operands []Expr) datum.Type {
			k := operands[1].Type().Kind
			switch {
			case k == datum.Interval:
				return datum.Of(k)
			case len(operands) == 3:
				return datum.Of(datum.DateTime)
			}
			return datum.Of(instantKind(k))
		},
		check: func(operands []Expr) error {
			if len(operands) == 3 && operands[1].Type().Kind == datum.Interval {
				return fault.New(fault.InvalidStatement, "date_trunc of an INTERVAL takes no time zone")
			}
			return nil
		},
		apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			unit := strings.ToLower(a[0].Str())
			switch {
			case a[1].Kind() == datum.Interval:
				return truncatedSpan(unit, a[1].Interval())
			case len(a) == 3:
				return truncatedInZone(unit, a[1], strings.TrimSpace(a[2].Str()))
			}
			return truncated(unit, a[1], instantKind(a[1].Kind()))
		},
	}
}

// momentClass is what date_trunc takes in the place of a value of a kind.
func momentClass(k datum.Kind) operandClass {
	if k == datum.Interval || k == datum.Time {
		return intervalOperand
	}
	return instantOperand
}

// truncatedInZone cuts what the clocks of a zone show. Within a day they go on as they went: an hour that comes twice stays the
// one that it is. A longer unit begins by the clocks of its own time.
func truncatedInZone(unit string, d datum.Datum, zone string) (datum.Datum, error) {
	instant, err := datum.Cast(d, datum.Of(datum.DateTime))
	if err != nil {
		return datum.Datum{}, err
	}
	offset, err := zoneOffset(zone, instant)
	if err != nil {
		return datum.Datum{}, err
	}
	shown, err := integerOperation("+", instant.Int(), offset, datum.BigInt)
	if err != nil {
		return datum.Datum{}, numberFault(datum.DateTime)
	}
	cut, err := truncated(unit, datum.NewInt(datum.Timestamp, shown), datum.Timestamp)
	if err != nil {
		return datum.Datum{}, err
	}
	switch unit {
	case "day", "week", "month", "quarter", "year", "decade", "century", "millennium":
		return inZone(zone, cut)
	}
	micros, err := integerOperation("-", cut.Int(), offset, datum.BigInt)
	if err != nil {
		return datum.Datum{}, numberFault(datum.DateTime)
	}
	return datum.NewInt(datum.DateTime, micros), nil
}

// truncatedSpan cuts an interval towards zero. Months have no whole number of weeks, so there is no week.
func truncatedSpan(unit string, s datum.Span) (datum.Datum, error) {
	months, micros := int32(0), int64(0)
	switch unit {
	case "millennium":
		months = 12_000
	case "century":
		months = 1_200
	case "decade":
		months = 120
	case "year":
		months = 12
	case "quarter":
		months = 3
	case "month":
		months = 1
	case "day":
		micros = 0
	case "hour":
		micros = 3_600 * microsPerSecond
	case "minute":
		micros = 60 * microsPerSecond
	case "second":
		micros = microsPerSecond
	case "millisecond", "milliseconds":
		micros = 1_000
	case "microsecond", "microseconds":
		micros = 1
	default:
		return datum.Datum{}, fault.New(fault.InvalidStatement, "unit %q is not known to date_trunc of an INTERVAL", unit)
	}
	switch {
	case months != 0:
		s = datum.Span{Months: s.Months - s.Months%months}
	case micros != 0:
		s.Micros -= s.Micros % micros
	default:
		s.Micros = 0
	}
	return datum.NewInterval(s), nil
}
