package datum

import (
	"math"
	"strconv"
	"strings"
)

// parseSpan reads "1 year 2 mons 3 days 04:05:06", any units in any order with optional signs and
// fractions, and an optional trailing "ago".
func parseSpan(text string) (Datum, error) {
	if trimmed := strings.TrimLeft(strings.TrimSpace(text), "-"); trimmed != "" && (trimmed[0] == 'P' || trimmed[0] == 'p') {
		return parseISOSpan(text)
	}
	fields := strings.Fields(strings.ToLower(strings.TrimPrefix(strings.TrimSpace(text), "@")))
	sign := int64(1)
	if n := len(fields); n > 0 && fields[n-1] == "ago" {
		sign, fields = -1, fields[:n-1]
	}
	if len(fields) == 0 {
		return Datum{}, syntaxFault(text, Of(Interval))
	}
	var total spanSum
	for i := 0; i < len(fields); i++ {
		field := fields[i]
		if strings.Contains(field, ":") {
			if !total.addClock(field) {
				return Datum{}, syntaxFault(text, Of(Interval))
			}
			continue
		}
		cut := strings.IndexFunc(field, func(r rune) bool { return r >= 'a' && r <= 'z' })
		number, unit := field, ""
		switch {
		case cut > 0:
			number, unit = field[:cut], field[cut:]
		case total.addYearsAndMonths(field):
			continue
		case i+1 < len(fields) && strings.Contains(fields[i+1], ":"):
			unit = "day"
		case cut < 0 && i+1 < len(fields):
			i++
			unit = fields[i]
		case cut < 0:
			unit = "second"
		}
		v, err := strconv.ParseFloat(number, 64)
		if err != nil || !total.add(v, unit) {
			return Datum{}, syntaxFault(text, Of(Interval))
		}
	}
	span, ok := total.span(sign)
	if !ok {
		return Datum{}, rangeFault(text, Of(Interval))
	}
	return NewInterval(span), nil
}

// parseISOSpan reads P1Y2M3W4DT5H6M7.8S, any part of which may be missing or negative.
func parseISOSpan(text string) (Datum, error) {
	rest, sign := strings.ToLower(strings.TrimSpace(text)), int64(1)
	if unsigned, found := strings.CutPrefix(rest, "-"); found {
		rest, sign = unsigned, -1
	}
	units := map[byte]string{'y': "year", 'm': "month", 'w': "week", 'd': "day"}
	clock := map[byte]string{'h': "hour", 'm': "minute", 's': "second"}
	var total spanSum
	parts := 0
	for rest = strings.TrimPrefix(rest, "p"); rest != ""; parts++ {
		if rest[0] == 't' && units != nil && len(rest) > 1 {
			rest, units = rest[1:], nil
		}
		named := units
		if named == nil {
			named = clock
		}
		cut := strings.IndexFunc(rest, func(r rune) bool { return r >= 'a' && r <= 'z' })
		if cut < 1 {
			return Datum{}, syntaxFault(text, Of(Interval))
		}
		v, err := strconv.ParseFloat(rest[:cut], 64)
		unit, ok := named[rest[cut]]
		if err != nil || !ok || !total.add(v, unit) {
			return Datum{}, syntaxFault(text, Of(Interval))
		}
		rest = rest[cut+1:]
	}
	span, ok := total.span(sign)
	switch {
	case parts == 0:
		return Datum{}, syntaxFault(text, Of(Interval))
	case !ok:
		return Datum{}, rangeFault(text, Of(Interval))
	}
	return NewInterval(span), nil
}

// addYearsAndMonths adds a field of the form 1-2, which is one year and two months.
func (s *spanSum) addYearsAndMonths(field string) bool {
	sign := 1.0
	if unsigned, found := strings.CutPrefix(field, "-"); found {
		field, sign = unsigned, -1
	}
	years, months, found := strings.Cut(field, "-")
	if !found {
		return false
	}
	y, failed := strconv.ParseUint(years, 10, 31)
	m, alsoFailed := strconv.ParseUint(months, 10, 31)
	if failed != nil || alsoFailed != nil || m > 11 {
		return false
	}
	return s.add(sign*float64(y), "year") && s.add(sign*float64(m), "month")
}

// spanSum adds up the parts of an interval; fractions of a unit spill into the next smaller one.
type spanSum struct{ months, days, micros float64 }

func (s *spanSum) addClock(field string) bool {
	sign := 1.0
	if rest, found := strings.CutPrefix(field, "-"); found {
		sign, field = -1, rest
	}
	parts := strings.Split(field, ":")
	if len(parts) > 3 {
		return false
	}
	scale := float64(3600 * microsPerSecond)
	for _, part := range parts {
		v, err := strconv.ParseFloat(part, 64)
		if err != nil || v < 0 {
			return false
		}
		s.micros += sign * math.Round(v*scale)
		scale /= 60
	}
	return true
}

func (s *spanSum) add(v float64, unit string) bool {
	if unit == "ms" { // its singular is not m
		unit = "millisecond"
	}
	switch strings.TrimSuffix(unit, "s") {
	case "millennium", "millennia":
		s.addMonths(v * 12_000)
	case "century", "centurie":
		s.addMonths(v * 1200)
	case "decade":
		s.addMonths(v * 120)
	case "year", "yr", "y":
		s.addMonths(v * 12)
	case "month", "mon":
		s.addMonths(v)
	case "week", "w":
		s.addDays(v * 7)
	case "day", "d":
		s.addDays(v)
	case "hour", "hr", "h":
		s.micros += math.Round(v * 3600 * microsPerSecond)
	case "minute", "min", "m":
		s.micros += math.Round(v * 60 * microsPerSecond)
	case "second", "sec", "":
		s.micros += math.Round(v * microsPerSecond)
	case "millisecond", "msec":
		s.micros += math.Round(v * 1000)
	case "microsecond", "usec", "u":
		s.micros += math.Round(v)
	default:
		return false
	}
	return true
}

func (s *spanSum) addMonths(v float64) {
	whole, fraction := math.Modf(v)
	s.months += whole
	s.addDays(fraction * daysPerMonth)
}

func (s *spanSum) addDays(v float64) {
	whole, fraction := math.Modf(v)
	s.days += whole
	s.micros += math.Round(fraction * microsPerDay)
}

func (s *spanSum) span(sign int64) (Span, bool) {
	if math.Abs(s.months) > math.MaxInt32 || math.Abs(s.days) > math.MaxInt32 || math.Abs(s.micros) >= 1<<63 {
		return Span{}, false
	}
	return Span{
		Months: int32(sign) * int32(s.months), Days: int32(sign) * int32(s.days), Micros: sign * int64(s.micros), //nolint:gosec // bounded where it was made
	}, true
}
