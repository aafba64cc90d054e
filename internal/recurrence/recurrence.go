// Package recurrence reads the rules of schedules, intervals and cron texts, and says when they are due next.
//
// A Rule is made by Parse from an interval ("30 seconds", "1h30m") or from the five fields of cron (minute, hour, day of
// the month, month, day of the week), and a time zone. Next is a pure function of a time: an interval
// counts from that time, a cron text names points of the calendar of its zone.
//
// In a zone with summer time, a local time that does not exist is left out, and one that exists twice is due
// once for each. The package knows no clock and nothing of jobs.
package recurrence

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Least is the shortest interval.
const Least = time.Second

// horizon bounds the search for the next time of a cron text: 29 February on a given day of the week comes back
// within 40 years, unless the text names a day that no month has.
const horizon = 41 * 366

// Rule says when something is due.
type Rule struct {
	every time.Duration // zero for a cron text
	cron  [5]field
	zone  *time.Location
}

// field is the set of values of one field of a cron text.
type field struct {
	values uint64
	any    bool // the text was *
}

func (f field) has(value int) bool { return f.values&(1<<value) != 0 }

// Parse makes a rule from an interval or a cron text, of which exactly one is not empty. The zone is an IANA name;
// empty means UTC. The error says what cannot be read.
func Parse(every, cron, zone string) (Rule, error) {
	if (every == "") == (cron == "") {
		return Rule{}, errors.New("a schedule has either an interval or a cron text")
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return Rule{}, fmt.Errorf("time zone %q is unknown", zone)
	}
	rule := Rule{zone: location}
	if every != "" {
		rule.every, err = parseInterval(every)
		return rule, err
	}
	rule.cron, err = parseCron(cron)
	if err != nil {
		return Rule{}, err
	}
	if _, due := rule.Next(time.Unix(0, 0)); !due {
		return Rule{}, fmt.Errorf("cron text %q is never due", cron)
	}
	return rule, nil
}

// parseInterval reads Go's notation ("1h30m") or pairs of a number and a unit ("2 hours 30 minutes").
func parseInterval(text string) (time.Duration, error) {
	total, err := time.ParseDuration(text)
	if err != nil {
		if total, err = parseWords(strings.Fields(strings.ToLower(text))); err != nil {
			return 0, fmt.Errorf("interval %q: %w", text, err)
		}
	}
	if total < Least || total > 366*24*time.Hour {
		return 0, fmt.Errorf("interval %q is not between 1 second and 366 days", text)
	}
	return total, nil
}

func parseWords(words []string) (time.Duration, error) {
	units := map[string]time.Duration{
		"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour,
	}
	if len(words) == 0 || len(words)%2 != 0 {
		return 0, errors.New("expected a number and a unit, such as '5 minutes'")
	}
	var total time.Duration
	for i := 0; i < len(words); i += 2 {
		n, err := strconv.ParseUint(words[i], 10, 31)
		if err != nil {
			return 0, fmt.Errorf("%q is no number", words[i])
		}
		unit, known := units[strings.TrimSuffix(words[i+1], "s")]
		if !known {
			return 0, fmt.Errorf("%q is no unit of time", words[i+1])
		}
		if n > uint64(366*24*time.Hour/unit) { //nolint:gosec // bounded where it enters
			return 0, fmt.Errorf("%s %s is too long", words[i], words[i+1])
		}
		total += time.Duration(n) * unit
	}
	return total, nil
}

func parseCron(text string) (fields [5]field, err error) {
	words := strings.Fields(text)
	if len(words) != len(fields) {
		return fields, fmt.Errorf("cron text %q has %d fields, expected minute, hour, day, month and day of the week", text, len(words))
	}
	for i, bounds := range [5]struct {
		low, high int
		name      string
	}{{0, 59, "minute"}, {0, 23, "hour"}, {1, 31, "day"}, {1, 12, "month"}, {0, 7, "day of the week"}} {
		fields[i], err = parseField(words[i], bounds.low, bounds.high)
		if err != nil {
			return fields, fmt.Errorf("cron text %q: %s: %w", text, bounds.name, err)
		}
	}
	if fields[4].has(7) { // Sunday is 0 and 7
		fields[4].values |= 1
	}
	return fields, nil
}

// parseField reads a list of *, n, n-m, each with an optional /step.
func parseField(text string, low, high int) (field, error) {
	result := field{any: strings.HasPrefix(text, "*")}
	for part := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		from, to, step := low, high, 1
		var err error
		if stepped {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 || step > high {
				return field{}, fmt.Errorf("%q is no step", stepText)
			}
		}
		if span != "*" {
			first, last, ranged := strings.Cut(span, "-")
			if from, err = strconv.Atoi(first); err != nil {
				return field{}, fmt.Errorf("%q is no number", first)
			}
			switch {
			case ranged:
				if to, err = strconv.Atoi(last); err != nil {
					return field{}, fmt.Errorf("%q is no number", last)
				}
			case !stepped:
				to = from
			}
		}
		if from < low || to > high || from > to {
			return field{}, fmt.Errorf("%q is not between %d and %d", part, low, high)
		}
		for value := from; value <= to; value += step {
			result.values |= 1 << value
		}
	}
	return result, nil
}

// Next returns the first due time after a time; due is false when there is none.
func (r Rule) Next(after time.Time) (next time.Time, due bool) {
	if r.every > 0 {
		return after.Add(r.every), true
	}
	local := after.In(r.zone)
	year, month, day := local.Date()
	for range horizon {
		noon := time.Date(year, month, day, 12, 0, 0, 0, r.zone)
		if r.onDay(noon) {
			if at, found := r.onMinute(noon, after); found {
				return at, true
			}
		}
		year, month, day = noon.AddDate(0, 0, 1).Date()
	}
	return time.Time{}, false
}

// onDay reports whether a day is meant. As in cron, a day of the month and a day of the week that are both
// restricted are alternatives.
func (r Rule) onDay(noon time.Time) bool {
	if !r.cron[3].has(int(noon.Month())) {
		return false
	}
	inMonth, inWeek := r.cron[2].has(noon.Day()), r.cron[4].has(int(noon.Weekday()))
	if !r.cron[2].any && !r.cron[4].any {
		return inMonth || inWeek
	}
	return inMonth && inWeek
}

// onMinute finds the first minute of a day that is meant and lies after a time.
func (r Rule) onMinute(noon, after time.Time) (time.Time, bool) {
	year, month, day := noon.Date()
	start := time.Date(year, month, day, 0, 0, 0, 0, r.zone)
	if start.Before(after) {
		start = after.Truncate(time.Minute).In(r.zone)
	}
	for at := start; ; at = at.Add(time.Minute) {
		if d := at.Day(); d != day {
			if at.Before(noon) {
				continue
			}
			return time.Time{}, false
		}
		if at.After(after) && r.cron[0].has(at.Minute()) && r.cron[1].has(at.Hour()) {
			return at, true
		}
	}
}
