package expr

import (
	"math"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

const (
	daysPerMonth  = 30 // of intervals
	monthsPerYear = 12
	maxSpanMonths = math.MaxInt32
)

// spanFunction holds functions on intervals and those that make times from their parts.
func spanFunction(name string) (definition, bool) {
	interval := datum.Of(datum.Interval)
	switch name {
	case "age":
		return definition{operands: []operandClass{instantOperand, instantOperand}, result: interval, apply: ageOf}, true
	case "justify_hours", "justify_days", "justify_interval":
		return definition{operands: []operandClass{intervalOperand}, result: interval, apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			return justified(name, a[0].Interval())
		}}, true
	case "isfinite":
		return definition{operands: []operandClass{anyOperand}, result: booleanType, apply: always(datum.NewBool(true))}, true
	case "make_time":
		return definition{operands: []operandClass{integerOperand, integerOperand, doubleOperand}, result: datum.Of(datum.Time), apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
			micros, err := timeOfDay(a)
			return datum.NewInt(datum.Time, micros), err
		}}, true
	case "make_timestamp", "make_timestamptz":
		kind := datum.Timestamp
		if name == "make_timestamptz" {
			kind = datum.DateTime
		}
		return definition{
			operands: []operandClass{integerOperand, integerOperand, integerOperand, integerOperand, integerOperand, doubleOperand}, result: datum.Of(kind),
			apply: func(_ *EvalContext, a arguments) (datum.Datum, error) {
				date, err := makeDate(a[:3])
				if err != nil {
					return datum.Datum{}, err
				}
				micros, err := timeOfDay(a[3:])
				return datum.NewInt(kind, date.Int()*microsPerDay+micros), err
			},
		}, true
	case "make_interval":
		return definition{
			operands: []operandClass{integerOperand, integerOperand, integerOperand, integerOperand, integerOperand, integerOperand, doubleOperand},
			optional: 7, result: interval, apply: makeInterval,
		}, true
	case "date_bin":
		return definition{
			operands: []operandClass{intervalOperand, instantOperand, instantOperand},
			resultOf: func(operands []Expr) datum.Type { return datum.Of(instantKind(operands[1].Type().Kind)) }, apply: dateBin,
		}, true
	}
	return definition{}, false
}

// timeOfDay makes microseconds of hour, minute and seconds.
func timeOfDay(a arguments) (int64, error) {
	hour, minute, second := a[0].Int(), a[1].Int(), a[2].Float()
	if hour < 0 || hour > 24 || minute < 0 || minute > 59 || math.IsNaN(second) || second < 0 || second >= 60 || hour == 24 && (minute > 0 || second > 0) {
		return 0, fault.New(fault.OutOfRange, "time %d:%02d:%v is out of range", hour, minute, second)
	}
	return (hour*60+minute)*60*microsPerSecond + int64(math.RoundToEven(second*microsPerSecond)), nil
}

func makeInterval(_ *EvalContext, a arguments) (datum.Datum, error) {
	part := func(i int) float64 {
		switch {
		case i >= len(a):
			return 0
		case i == 6:
			return a[i].Float()
		}
		return float64(a[i].Int())
	}
	months := part(0)*monthsPerYear + part(1)
	days := part(2)*7 + part(3)
	micros := math.RoundToEven((part(4)*3600 + part(5)*60 + part(6)) * microsPerSecond)
	if math.Abs(months) > maxSpanMonths || math.Abs(days) > maxSpanMonths || math.IsNaN(micros) || math.Abs(micros) >= math.MaxInt64 {
		return datum.Datum{}, numberFault(datum.Interval)
	}
	return datum.NewInterval(datum.Span{Months: int32(months), Days: int32(days), Micros: int64(micros)}), nil
}

// justified makes days of 24 hours and months of 30 days, with one sign for all.
func justified(name string, s datum.Span) (datum.Datum, error) {
	months, days, micros := int64(s.Months), int64(s.Days), s.Micros
	if name != "justify_days" {
		days += micros / microsPerDay
		micros %= microsPerDay
	}
	if name != "justify_hours" {
		months += days / daysPerMonth
		days %= daysPerMonth
	}
	if name == "justify_interval" {
		if months > 0 && (days < 0 || days == 0 && micros < 0) {
			days, months = days+daysPerMonth, months-1
		} else if months < 0 && (days > 0 || days == 0 && micros > 0) {
			days, months = days-daysPerMonth, months+1
		}
	}
	if name != "justify_days" {
		if days > 0 && micros < 0 {
			micros, days = micros+microsPerDay, days-1
		} else if days < 0 && micros > 0 {
			micros, days = micros-microsPerDay, days+1
		}
	}
	if name == "justify_days" {
		if months > 0 && days < 0 {
			days, months = days+daysPerMonth, months-1
		} else if months < 0 && days > 0 {
			days, months = days-daysPerMonth, months+1
		}
	}
	if months > math.MaxInt32 || months < math.MinInt32 || days > math.MaxInt32 || days < math.MinInt32 {
		return datum.Datum{}, numberFault(datum.Interval)
	}
	return datum.NewInterval(datum.Span{Months: int32(months), Days: int32(days), Micros: micros}), nil
}

// ageOf is the difference of two times by the calendar: years, months and days first.
func ageOf(_ *EvalContext, a arguments) (datum.Datum, error) {
	later, earlier := a[0], a[1]
	var err error
	if later, err = datum.Cast(later, datum.Of(datum.Timestamp)); err != nil {
		return datum.Datum{}, err
	}
	if earlier, err = datum.Cast(earlier, datum.Of(datum.Timestamp)); err != nil {
		return datum.Datum{}, err
	}
	sign := int64(1)
	if later.Int() < earlier.Int() {
		later, earlier, sign = earlier, later, -1
	}
	to, from := datum.ClockOf(later), datum.ClockOf(earlier)
	ofDay := func(c datum.Clock) int64 {
		return (int64(c.Hour)*60+int64(c.Minute))*60*microsPerSecond + int64(c.Second)*microsPerSecond + int64(c.Micros)
	}
	months := (to.Year-from.Year)*monthsPerYear + int64(to.Month-from.Month)
	days, micros := int64(to.Day-from.Day), ofDay(to)-ofDay(from)
	if micros < 0 {
		micros, days = micros+microsPerDay, days-1
	}
	if days < 0 {
		days, months = days+int64(datum.DaysInMonth(from.Year, from.Month)), months-1
	}
	if months > math.MaxInt32 {
		return datum.Datum{}, numberFault(datum.Interval)
	}
	return datum.NewInterval(datum.Span{Months: int32(sign * months), Days: int32(sign * days), Micros: sign * micros}), nil //nolint:gosec // days are those of a month
}

// dateBin is the beginning of the bin that a time lies in, counted from an origin.
func dateBin(_ *EvalContext, a arguments) (datum.Datum, error) {
	stride := a[0].Interval()
	if stride.Months != 0 {
		return datum.Datum{}, fault.New(fault.Unsupported, "the bins of date_bin cannot be of months or years")
	}
	size := int64(stride.Days)*microsPerDay + stride.Micros
	if size <= 0 {
		return datum.Datum{}, fault.New(fault.OutOfRange, "the bins of date_bin must be greater than zero")
	}
	kind := instantKind(a[1].Kind())
	at, err := datum.Cast(a[1], datum.Of(kind))
	if err != nil {
		return datum.Datum{}, err
	}
	origin, err := datum.Cast(a[2], datum.Of(kind))
	if err != nil {
		return datum.Datum{}, err
	}
	distance, err := integerOperation("-", at.Int(), origin.Int(), datum.BigInt)
	if err != nil {
		return datum.Datum{}, numberFault(kind)
	}
	within := distance % size
	if within < 0 {
		within += size
	}
	return datum.NewInt(kind, at.Int()-within), nil
}
