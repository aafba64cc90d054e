package timeform

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// This file makes a moment of the parts that were read.

// result makes a time of what was read.
func (r *reading) result() (*Read, error) {
	out := &Read{}
	has := func(names ...string) bool {
		for _, name := range names {
			if _, ok := r.got[name]; ok {
				return true
			}
		}
		return false
	}
	for _, name := range []string{"IYYY", "IYY", "IY", "I", "IW", "ID", "IDDD", "WW", "W", "D", "Q"} {
		if has(name) {
			if name == "Q" || name == "D" {
				continue // they say nothing about the date
			}
			return nil, fault.New(fault.Unsupported, "the field %s of a template can be written only", name)
		}
	}
	out.HasDate = has("Y", "MM", "DD", "DDD", "J", "CC")
	out.HasTime = has("HH12", "HH24", "MI", "SS", "US", "SSSS") || r.pm > 0
	out.HasZone = has("TZH", "TZM")
	if err := r.time(out); err != nil {
		return nil, err
	}
	if err := r.date(out); err != nil {
		return nil, err
	}
	if out.HasZone {
		sign := int64(1)
		if r.got["sign"] < 0 {
			sign = -1
		}
		if r.got["TZH"] > 15 || r.got["TZM"] > 59 {
			return nil, fault.New(fault.OutOfRange, "the time zone is out of range")
		}
		out.Zoned, out.ZoneMinutes = true, sign*(r.got["TZH"]*60+r.got["TZM"])
	}
	return out, nil
}

func (r *reading) time(out *Read) error {
	hour, minute, second := r.got["HH24"], r.got["MI"], r.got["SS"]
	if h, ok := r.got["HH12"]; ok {
		hour = h
		if r.pm == 2 && hour < 12 {
			hour += 12
		} else if r.pm == 1 && hour == 12 {
			hour = 0
		}
	}
	if all, ok := r.got["SSSS"]; ok {
		hour, minute, second = all/3600, all/60%60, all%60
	}
	if hour > 24 || minute > 59 || second > 59 || hour == 24 && (minute > 0 || second > 0) {
		return fault.New(fault.OutOfRange, "date/time field value out of range: %d:%d:%d", hour, minute, second)
	}
	out.Hour, out.Minute, out.Second, out.Micros = int(hour), int(minute), int(second), int(r.got["US"])
	return nil
}

func (r *reading) date(out *Read) error {
	year, ok := r.got["Y"]
	if cc, given := r.got["CC"]; given {
		if ok {
			year = (cc-1)*100 + year%100
		} else {
			year = (cc-1)*100 + 1
		}
		ok = true
	}
	switch {
	case !ok:
		year = 0 // 1 BC, as PostgreSQL takes it
		if !out.HasDate {
			year = 1
		}
	case r.bc && year > 0:
		year = 1 - year
	case year < 0:
		year++
	}
	month, day := max(1, r.got["MM"]), max(1, r.got["DD"])
	outOfRange := func() error {
		return fault.New(fault.OutOfRange, "date/time field value out of range: %d-%d-%d", year, month, day)
	}
	if year > 294_276 || year < -4713 || month > 12 || day > int64(datum.DaysInMonth(year, int(month))) {
		return outOfRange()
	}
	days := datum.DaysFromCivil(year, int(month), int(day))
	if n, ok := r.got["DDD"]; ok && r.got["MM"] == 0 {
		if n < 1 || n > 366 {
			return outOfRange()
		}
		days = datum.DaysFromCivil(year, 1, 1) + n - 1
	}
	if n, ok := r.got["J"]; ok {
		days = n - 2_440_588
	}
	out.Year, out.Month, out.Day = datum.CivilFromDays(days)
	return nil
}
