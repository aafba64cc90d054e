package timeform

import (
	"fmt"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// Fields is a time, or a span of time, as its parts.
type Fields struct {
	datum.Clock
	// Zoned says that the time has a zone, which is UTC when it is written; ZoneMinutes is what was read, east of UTC.
	Zoned       bool
	ZoneMinutes int64
	// Span says that these are the parts of an interval, whose hours may be more than a day has and which has no calendar.
	Span bool
}

var (
	months = []string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"}
	days   = []string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}
	romans = []string{"I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"}
)

// Write writes a time.
func (t *Template) Write(f *Fields) string {
	var out strings.Builder
	for i := range t.items {
		if t.items[i].field == "" {
			out.WriteString(t.items[i].text)
			continue
		}
		t.items[i].write(&out, f)
	}
	return out.String()
}

// number writes digits, as many as there must be unless FM leaves zeros out.
func (i *item) number(out *strings.Builder, width int, n int64) {
	if i.fill {
		width = 0
	}
	if n < 0 {
		width++ // of the sign
	}
	text := fmt.Sprintf("%0*d", width, n)
	out.WriteString(text)
	if i.ordinal != "" {
		out.WriteString(ordinalOf(text, i.ordinal))
	}
}

// ordinalOf is st, nd, rd or th, in the case in which it was asked for.
func ordinalOf(digits, asked string) string {
	ending := "th"
	if last := digits[len(digits)-1]; len(digits) < 2 || digits[len(digits)-2] != '1' {
		switch last {
		case '1':
			ending = "st"
		case '2':
			ending = "nd"
		case '3':
			ending = "rd"
		}
	}
	if asked[0] == 'T' {
		return strings.ToUpper(ending)
	}
	return ending
}

// name writes the name of a month or a day in the case of the template, with spaces behind it up to a width.
func (i *item) name(out *strings.Builder, name string, width int) {
	switch {
	case i.text == strings.ToUpper(i.text):
		name = strings.ToUpper(name)
	case i.text[0] >= 'a':
		name = strings.ToLower(name)
	}
	out.WriteString(name)
	for n := len(name); n < width && !i.fill; n++ {
		out.WriteByte(' ')
	}
}

func (i *item) write(out *strings.Builder, f *Fields) {
	hour12 := int64((f.Hour+11)%12 + 1)
	if f.Span {
		if hour12 = int64(f.Hour % 12); f.Hour%12 == 0 {
			hour12 = 12
		}
	}
	switch i.field {
	case "HH", "HH12":
		i.number(out, 2, hour12)
	case "HH24":
		i.number(out, 2, int64(f.Hour))
	case "MI":
		i.number(out, 2, int64(f.Minute))
	case "SS":
		i.number(out, 2, int64(f.Second))
	case "MS", "FF3":
		i.fraction(out, 3, f)
	case "US", "FF6":
		i.fraction(out, 6, f)
	case "FF1", "FF2", "FF4", "FF5":
		i.fraction(out, int(i.field[2]-'0'), f)
	case "SSSS", "SSSSS":
		i.number(out, 0, int64((f.Hour*60+f.Minute)*60+f.Second))
	case "AM", "PM", "A.M.", "P.M.":
		i.half(out, f.Hour)
	default:
		i.writeDate(out, f)
	}
}

// fraction writes digits of the second.
func (i *item) fraction(out *strings.Builder, digits int, f *Fields) {
	n := int64(f.Micros)
	for range 6 - digits {
		n /= 10
	}
	text := fmt.Sprintf("%0*d", digits, n)
	out.WriteString(text)
	if i.ordinal != "" {
		out.WriteString(ordinalOf(text, i.ordinal))
	}
}

// half writes which half of the day it is, in the case and with the points of the template.
func (i *item) half(out *strings.Builder, hour int) {
	text := "am"
	if hour%24 >= 12 {
		text = "pm"
	}
	if len(i.text) == 4 {
		text = text[:1] + "." + text[1:] + "."
	}
	if i.text[0] < 'a' {
		text = strings.ToUpper(text)
	}
	out.WriteString(text)
}

// writeDate writes fields of dates and zones.
func (i *item) writeDate(out *strings.Builder, f *Fields) {
	year := f.Year
	if !f.Span && year <= 0 {
		year = 1 - year // before Christ
	}
	switch i.field {
	case "YYYY", "YYY", "YY", "Y":
		i.year(out, year)
	case "Y,YYY":
		fmt.Fprintf(out, "%d,%03d", year/1000, year%1000)
	case "MM":
		i.number(out, 2, int64(f.Month))
	case "DD":
		i.number(out, 2, int64(f.Day))
	case "Q":
		if f.Month > 0 {
			i.number(out, 0, int64((f.Month-1)/3+1))
		}
	case "CC":
		i.number(out, 2, century(f))
	case "RM":
		if f.Month > 0 {
			i.name(out, romans[(f.Month-1)%12], 4)
		}
	case "MONTH":
		if f.Month > 0 {
			i.name(out, months[(f.Month-1)%12], 9)
		}
	case "MON":
		if f.Month > 0 {
			i.name(out, months[(f.Month-1)%12][:3], 0)
		}
	case "TZ":
		if f.Zoned {
			i.name(out, "UTC", 0)
		}
	case "OF", "TZH":
		out.WriteString("+00")
	case "TZM":
		out.WriteString("00")
	case "BC", "AD", "B.C.", "A.D.":
		i.era(out, f)
	default:
		i.writeDay(out, f)
	}
}

func (i *item) era(out *strings.Builder, f *Fields) {
	text := "AD"
	if f.Year <= 0 && !f.Span {
		text = "BC"
	}
	if len(i.text) == 4 {
		text = text[:1] + "." + text[1:] + "."
	}
	if i.text[0] >= 'a' {
		text = strings.ToLower(text)
	}
	out.WriteString(text)
}

func century(f *Fields) int64 {
	switch {
	case f.Span:
		return f.Year / 100
	case f.Year > 0:
		return (f.Year-1)/100 + 1
	}
	return f.Year/100 - 1
}

// year writes the last digits of a year.
func (i *item) year(out *strings.Builder, year int64) {
	digits := len(i.field)
	if i.field[0] == 'I' && digits > 4 {
		digits = 4
	}
	if digits < 4 {
		modulus := int64(1)
		for range digits {
			modulus *= 10
		}
		year %= modulus
	}
	i.number(out, digits, year)
}

// writeDay writes fields that count days, of a date only.
func (i *item) writeDay(out *strings.Builder, f *Fields) {
	day := datum.DaysFromCivil(f.Year, max(1, f.Month), max(1, f.Day))
	ofYear := day - datum.DaysFromCivil(f.Year, 1, 1) + 1
	weekday := ((day+4)%7 + 7) % 7 // 1970-01-01 was a Thursday
	isoYear, isoWeek := isoWeekOf(day)
	switch i.field {
	case "DAY":
		i.name(out, days[weekday], 9)
	case "DY":
		i.name(out, days[weekday][:3], 0)
	case "DDD":
		i.number(out, 3, ofYear)
	case "D":
		i.number(out, 0, weekday+1)
	case "ID":
		i.number(out, 0, (weekday+6)%7+1)
	case "IDDD":
		i.number(out, 3, (isoWeek-1)*7+(weekday+6)%7+1)
	case "WW":
		i.number(out, 2, (ofYear-1)/7+1)
	case "W":
		i.number(out, 0, int64(f.Day-1)/7+1)
	case "IW":
		i.number(out, 2, isoWeek)
	case "J":
		i.number(out, 0, day+2_440_588)
	case "IYYY", "IYY", "IY", "I":
		i.year(out, isoYear)
	}
}

// isoWeekOf is the week of a day, and the year that the week belongs to: that of its Thursday.
func isoWeekOf(day int64) (year, week int64) {
	thursday := day + 3 - ((day+3)%7+7)%7 // Monday of the week and three days
	year, _, _ = datum.CivilFromDays(thursday)
	return year, (thursday-datum.DaysFromCivil(year, 1, 1))/7 + 1
}
