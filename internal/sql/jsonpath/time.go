package jsonpath

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/timeform"
)

// instant is what datetime() reads: a date, a time of day, or both without or with a zone.
type instant struct {
	value       datum.Datum // of kind Date, Time, Timestamp or DateTime
	zoneMinutes int64       // east of UTC, of a DateTime as it was written
}

// isoText is what datetime() reads without a template: date, time of day, and zone.
var isoText = regexp.MustCompile(`^(?:(\d{4,7})-(\d{1,2})-(\d{1,2}))?(?:(?:^|[T ])\s*([01]?\d|2[0-3]):([0-5]?\d):([0-5]?\d(?:\.\d{1,6})?)(?:\s*([+-]\d{1,2})(?::(\d{1,2}))?)?)?$`)

// datetime reads a text as a time.
func (e *evaluation) datetime(n *node, i Item, visit Visit) error {
	if i.kind() != textValue {
		return refuse("jsonpath item method .datetime() can only be applied to a string")
	}
	text := i.text(e.Walk)
	read, err := readInstant(text)
	if n.template != nil {
		read, err = readTemplate(n.template, text)
	}
	if err != nil {
		return err
	}
	return e.following(n, Item{made: &value{kind: timeValue, time: read}}, visit)
}

// readTemplate reads a time as a template says, which must take all of the text.
func readTemplate(template *timeform.Template, text string) (instant, error) {
	read, err := template.Whole(text)
	if err != nil {
		return instant{}, refused(err)
	}
	micros, ok := read.Instant()
	kind := datum.Timestamp
	switch {
	case !ok:
		return instant{}, refuse("the datetime %q is out of range", shorten(text))
	case read.HasZone && !read.HasDate:
		return instant{}, &refusal{fault.New(fault.Unsupported, "a time with a zone but without a date is not supported: %q", shorten(text))}
	case read.HasZone:
		return instant{datum.NewInt(datum.DateTime, micros-read.ZoneMinutes*microsPerMinute), read.ZoneMinutes}, nil
	case !read.HasTime:
		return instant{value: datum.NewInt(datum.Date, datum.DaysFromCivil(read.Year, read.Month, read.Day))}, nil
	case !read.HasDate:
		kind = datum.Time
		micros = ((int64(read.Hour)*60+int64(read.Minute))*60+int64(read.Second))*1_000_000 + int64(read.Micros)
	}
	return instant{value: datum.NewInt(kind, micros)}, nil
}

func readInstant(text string) (instant, error) {
	const most = 64
	unrecognized := func() error { return refuse("datetime format is not recognized: %q", shorten(text)) }
	if len(text) > most {
		return instant{}, unrecognized()
	}
	parts := isoText.FindStringSubmatch(strings.TrimSpace(text))
	if parts == nil || parts[1] == "" && parts[4] == "" {
		return instant{}, unrecognized()
	}
	k, plain := datum.Date, ""
	if parts[1] != "" {
		plain = fmt.Sprintf("%s-%02s-%02s", parts[1], parts[2], parts[3])
	}
	if parts[4] != "" {
		plain += fmt.Sprintf(" %02s:%02s:%s", parts[4], parts[5], padded(parts[6]))
		if k = datum.Timestamp; parts[1] == "" {
			k = datum.Time
		}
	}
	var zoneMinutes int64
	if parts[7] != "" {
		if k == datum.Time {
			return instant{}, &refusal{fault.New(fault.Unsupported, "a time with a zone but without a date is not supported: %q", shorten(text))}
		}
		k = datum.DateTime
		hours, _ := strconv.ParseInt(parts[7], 10, 64) // digits, as the expression says
		minutes, _ := strconv.ParseInt("0"+parts[8], 10, 64)
		if zoneMinutes = hours*60 + minutes; parts[7][0] == '-' {
			zoneMinutes = hours*60 - minutes
		}
		if zoneMinutes < -maxZoneMinutes || zoneMinutes > maxZoneMinutes || minutes > 59 {
			return instant{}, unrecognized()
		}
		plain += "Z"
	}
	read, err := datum.ParseText(strings.TrimSpace(plain), datum.Of(k))
	if err != nil {
		return instant{}, unrecognized()
	}
	if k == datum.DateTime {
		read = datum.NewInt(k, read.Int()-zoneMinutes*microsPerMinute)
	}
	return instant{read, zoneMinutes}, nil
}

const (
	maxZoneMinutes  = 15*60 + 59
	microsPerMinute = 60_000_000
	microsPerDay    = 24 * 60 * microsPerMinute
)

// padded writes seconds with two digits before the point.
func padded(seconds string) string {
	if len(seconds) == 1 || seconds[1] == '.' {
		return "0" + seconds
	}
	return seconds
}

// timeText writes a time in ISO 8601.
func timeText(i instant) string {
	shown := i.value
	if shown.Kind() == datum.DateTime {
		shown = datum.NewInt(datum.Timestamp, shown.Int()+i.zoneMinutes*microsPerMinute)
	}
	text := strings.Replace(string(datum.AppendText(nil, shown)), " ", "T", 1)
	if i.value.Kind() != datum.DateTime {
		return text
	}
	sign, minutes := '+', i.zoneMinutes
	if minutes < 0 {
		sign, minutes = '-', -minutes
	}
	return fmt.Sprintf("%s%c%02d:%02d", text, sign, minutes/60, minutes%60)
}

func timeType(i instant) string {
	switch i.value.Kind() { //nolint:exhaustive // the kinds of an instant
	case datum.Date:
		return "date"
	case datum.Time:
		return "time without time zone"
	case datum.Timestamp:
		return "timestamp without time zone"
	}
	return "timestamp with time zone"
}

// compareTimes orders times; times of day have no order with dates. Those without a zone meet one with a zone only where that is allowed.
func (e *evaluation) compareTimes(l, r instant) (order int, ordered bool, err error) {
	a, b := l.value.Kind(), r.value.Kind()
	switch {
	case a == b:
		return datum.Compare(l.value, r.value), true, nil
	case a == datum.Time || b == datum.Time:
		return 0, false, nil
	case !e.Zones && (a == datum.DateTime || b == datum.DateTime):
		from, to := l, r
		if a == datum.DateTime {
			from, to = r, l
		}
		return 0, false, fault.New(fault.InvalidStatement, "cannot convert value from %s to %s without time zone usage; use a *_tz() function",
			shortType(from), shortType(to))
	}
	return datum.Compare(datum.NewBigInt(micros(l)), datum.NewBigInt(micros(r))), true, nil
}

func shortType(i instant) string {
	switch i.value.Kind() { //nolint:exhaustive // a time of day is never converted
	case datum.Date:
		return "date"
	case datum.Timestamp:
		return "timestamp"
	}
	return "timestamptz"
}

// micros is where a date or a timestamp lies in time, taken as UTC where it has no zone.
func micros(i instant) int64 {
	if i.value.Kind() == datum.Date {
		return i.value.Int() * microsPerDay
	}
	return i.value.Int()
}
