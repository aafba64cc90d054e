package datum

import (
	"strings"
)

// Bounds of instants that have a text form.
const (
	minYear = -4713
	maxYear = 294_276
)

// Clock is an instant taken apart in the proleptic Gregorian calendar, in UTC. Year 0 is 1 BC.
type Clock struct {
	Year                 int64
	Month, Day           int // from 1
	Hour, Minute, Second int
	Micros               int // of the second
}

// DaysFromCivil returns the days since 1970-01-01 of a date. Month and day may lie outside their usual
// range by one month's worth; the caller has checked them.
func DaysFromCivil(year int64, month, day int) int64 {
	if month <= 2 {
		year--
	}
	era, yearOfEra := floorDivide(year, 400)
	shifted := (month + 9) % 12 // March is 0
	dayOfYear := int64((153*shifted+2)/5 + day - 1)
	return era*146_097 + yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear - 719_468
}

// CivilFromDays is the inverse of DaysFromCivil.
func CivilFromDays(days int64) (year int64, month, day int) {
	era, dayOfEra := floorDivide(days+719_468, 146_097)
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36_524 - dayOfEra/146_096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	shifted := (5*dayOfYear + 2) / 153
	day = int(dayOfYear-(153*shifted+2)/5) + 1
	month = int(shifted) + 3
	if month > 12 {
		month -= 12
	}
	year = yearOfEra + era*400
	if month <= 2 {
		year++
	}
	return year, month, day
}

// DaysInMonth returns the length of a month, 28 to 31.
func DaysInMonth(year int64, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// ClockOf takes a Timestamp, DateTime or Date apart.
func ClockOf(d Datum) Clock {
	days, micros := splitInstant(d)
	c := Clock{}
	c.Year, c.Month, c.Day = CivilFromDays(days)
	c.Hour = int(micros / (3600 * microsPerSecond))
	c.Minute = int(micros / (60 * microsPerSecond) % 60)
	c.Second = int(micros / microsPerSecond % 60)
	c.Micros = int(micros % microsPerSecond)
	return c
}

// Instant returns the microseconds since 1970-01-01; ok is false when they do not fit 64 bits.
func (c Clock) Instant() (micros int64, ok bool) {
	days := DaysFromCivil(c.Year, c.Month, c.Day)
	if days > 106_751_990 || days < -106_751_990 {
		return 0, false
	}
	ofDay := ((int64(c.Hour)*60+int64(c.Minute))*60+int64(c.Second))*microsPerSecond + int64(c.Micros)
	return days*microsPerDay + ofDay, true
}

func appendDate(dst []byte, year int64, month, day int) (out []byte, beforeChrist bool) {
	if year <= 0 {
		year, beforeChrist = 1-year, true
	}
	dst = appendPadded(dst, year, 4)
	dst = append(dst, '-')
	dst = appendPadded(dst, int64(month), 2)
	dst = append(dst, '-')
	return appendPadded(dst, int64(day), 2), beforeChrist
}

func appendTimeOfDay(dst []byte, micros int64) []byte {
	dst = appendPadded(dst, micros/(3600*microsPerSecond), 2)
	dst = append(dst, ':')
	dst = appendPadded(dst, micros/(60*microsPerSecond)%60, 2)
	dst = append(dst, ':')
	dst = appendPadded(dst, micros/microsPerSecond%60, 2)
	return appendFraction(dst, micros%microsPerSecond)
}

// appendFraction prints microseconds of a second without trailing zeros; nothing for zero.
func appendFraction(dst []byte, micros int64) []byte {
	if micros == 0 {
		return dst
	}
	dst = append(dst, '.')
	dst = appendPadded(dst, micros, 6)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// appendPadded prints a number that is not negative with at least width digits.
func appendPadded(dst []byte, v int64, width int) []byte {
	var digits [20]byte
	at := len(digits)
	for v > 0 || width > 0 {
		at--
		digits[at] = byte('0' + v%10)
		v /= 10
		width--
	}
	return append(dst, digits[at:]...)
}

// scanner reads the fixed forms of dates and times.
type scanner struct {
	text string
	ok   bool // false after the first mismatch
}

// digits reads a number of low to high decimal digits.
func (s *scanner) digits(low, high int) int64 {
	n, v := 0, int64(0)
	for n < len(s.text) && n < high && s.text[n] >= '0' && s.text[n] <= '9' {
		v = v*10 + int64(s.text[n]-'0')
		n++
	}
	if n < low {
		s.ok = false
	}
	s.text = s.text[n:]
	return v
}

// accept consumes one of the bytes in set; it returns 0 when the next byte is none of them.
func (s *scanner) accept(set string) byte {
	if s.text == "" || strings.IndexByte(set, s.text[0]) < 0 {
		return 0
	}
	b := s.text[0]
	s.text = s.text[1:]
	return b
}

// expect consumes one of the bytes in set or fails.
func (s *scanner) expect(set string) {
	if s.accept(set) == 0 {
		s.ok = false
	}
}

// timeOfDay reads HH:MM[:SS[.fraction]] as microseconds; fractions beyond the sixth digit are rounded.
// 24:00:00 is the end of the day.
func (s *scanner) timeOfDay() int64 {
	hour := s.digits(1, 2)
	s.expect(":")
	minute := s.digits(2, 2)
	var second, micros int64
	if s.accept(":") != 0 {
		second = s.digits(2, 2)
		if s.accept(".,") != 0 {
			micros = s.fraction()
		}
	}
	total := (hour*60+minute)*60*microsPerSecond + second*microsPerSecond + micros
	if minute > 59 || second > 60 || hour > 24 || total > microsPerDay {
		s.ok = false
	}
	return total
}

func (s *scanner) fraction() int64 {
	before := len(s.text)
	micros := s.digits(1, 6)
	for n := before - len(s.text); n < 6; n++ {
		micros *= 10
	}
	if s.text != "" && s.text[0] >= '5' && s.text[0] <= '9' {
		micros++
	}
	s.digits(0, len(s.text))
	return micros
}

// zone reads Z, UTC, GMT or ±HH[[:]MM[[:]SS]] as microseconds east of UTC; nothing is UTC.
func (s *scanner) zone() int64 {
	s.text = strings.TrimLeft(s.text, " ")
	for _, word := range []string{"UTC", "GMT", "Z"} {
		if len(s.text) >= len(word) && strings.EqualFold(s.text[:len(word)], word) {
			s.text = s.text[len(word):]
			return 0
		}
	}
	sign := int64(1)
	switch s.accept("+-") {
	case 0:
		return 0
	case '-':
		sign = -1
	}
	hour := s.digits(1, 2)
	minute, second := int64(0), int64(0)
	if s.text != "" && s.text[0] != ' ' {
		s.accept(":")
		minute = s.digits(2, 2)
		if s.accept(":") != 0 {
			second = s.digits(2, 2)
		}
	}
	if hour > 15 || minute > 59 || second > 59 {
		s.ok = false
	}
	return sign * ((hour*60+minute)*60 + second) * microsPerSecond
}

// date reads YYYY-MM-DD; years have four to six digits.
func (s *scanner) date() (year int64, month, day int) {
	year = s.digits(4, 6)
	s.expect("-")
	month = int(s.digits(1, 2))
	s.expect("-")
	day = int(s.digits(1, 2))
	if !s.ok || month < 1 || month > 12 || day < 1 || day > 31 {
		s.ok = false
	}
	return year, month, day
}

// parseInstant reads a date with an optional time of day, zone and BC mark.
func parseInstant(text string) (days, micros, zone int64, ok bool) {
	s := &scanner{text: strings.TrimSpace(text), ok: true}
	year, month, day := s.date()
	if s.text != "" {
		if separator := s.accept("Tt "); separator != 0 {
			s.text = strings.TrimLeft(s.text, " ")
			if s.text != "" && s.text[0] >= '0' && s.text[0] <= '9' {
				micros = s.timeOfDay()
			}
		}
		zone = s.zone()
	}
	s.text = strings.TrimLeft(s.text, " ")
	if strings.EqualFold(s.text, "BC") {
		year, s.text = 1-year, ""
	}
	if !s.ok || s.text != "" || year < minYear || year > maxYear || day > DaysInMonth(year, month) {
		return 0, 0, 0, false
	}
	return DaysFromCivil(year, month, day), micros, zone, true
}
