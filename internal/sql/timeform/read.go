package timeform

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// Read is what a text says under a template. Has tells which parts it names.
type Read struct {
	Fields
	HasDate, HasTime, HasZone bool
}

// reading is a text on its way through a template.
type reading struct {
	rest   string
	strict bool // the text and the template must be equally long, and text in it must be what it says
	got    map[string]int64
	pm     int // 1 for the first half of the day, 2 for the second; zero is not said
	bc     bool
	err    error
}

// Read reads a time. What the template leaves of the text, and what it has beyond it, is left alone.
func (t *Template) Read(text string) (*Read, error) { return t.read(text, false) }

// Whole reads a time that takes all of the text and all of the template, as a JSON path does.
func (t *Template) Whole(text string) (*Read, error) { return t.read(text, true) }

func (t *Template) read(text string, strict bool) (*Read, error) {
	r := &reading{rest: text, strict: strict, got: map[string]int64{}}
	for i := range t.items {
		if r.rest == "" && !t.items[i].isSpace() {
			if strict {
				return nil, fault.New(fault.InvalidStatement, "the text %q is shorter than its template", shorten(text))
			}
			break
		}
		r.item(t, i)
		if r.err != nil {
			return nil, r.err
		}
	}
	if strings.TrimSpace(r.rest) != "" && strict {
		return nil, fault.New(fault.InvalidStatement, "the text %q is longer than its template", shorten(text))
	}
	return r.result()
}

func shorten(text string) string {
	const most = 64
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

func (i *item) isSpace() bool { return i.field == "" && strings.TrimSpace(i.text) == "" }

func (i *item) isSeparator() bool {
	r, _ := utf8.DecodeRuneInString(i.text)
	return i.field == "" && !i.quoted && !unicode.IsLetter(r) && !unicode.IsDigit(r)
}

// item takes what one item of the template stands for.
func (r *reading) item(t *Template, at int) {
	i := &t.items[at]
	switch {
	case i.field == "" && r.strict:
		if !strings.HasPrefix(r.rest, i.text) {
			r.fail("unmatched format character %q", i.text)
			return
		}
		r.rest = r.rest[len(i.text):]
	case i.isSeparator():
		r.rest = strings.TrimLeftFunc(r.rest, unicode.IsSpace)
		if first, size := utf8.DecodeRuneInString(r.rest); i.text != " " && size > 0 && !unicode.IsLetter(first) && !unicode.IsDigit(first) && !r.signs(t, at) {
			r.rest = r.rest[size:]
		}
	case i.field == "":
		for range utf8.RuneCountInString(i.text) {
			_, size := utf8.DecodeRuneInString(r.rest)
			r.rest = r.rest[size:]
		}
	default:
		if !t.exact && !r.strict {
			r.rest = strings.TrimLeftFunc(r.rest, unicode.IsSpace)
		}
		r.field(t, at)
	}
}

// signs reports whether a sign belongs to the zone that follows, and so is no separator.
func (r *reading) signs(t *Template, at int) bool {
	return at+1 < len(t.items) && t.items[at+1].field == "TZH" && (r.rest[0] == '-' || r.rest[0] == '+') && t.items[at].text != r.rest[:1]
}

func (r *reading) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fault.New(fault.InvalidStatement, format, args...)
	}
}

// widths are the digits of numbers, at most as many where digits follow.
var widths = map[string]int{
	"HH": 2, "HH12": 2, "HH24": 2, "MI": 2, "SS": 2, "MS": 3, "US": 6, "FF1": 1, "FF2": 2, "FF3": 3, "FF4": 4, "FF5": 5, "FF6": 6,
	"SSSS": 5, "SSSSS": 5, "YYYY": 4, "YYY": 3, "YY": 2, "Y": 1, "IYYY": 4, "IYY": 3, "IY": 2, "I": 1, "MM": 2, "DD": 2, "DDD": 3, "IDDD": 3, "D": 1, "ID": 1,
	"IW": 2, "WW": 2, "W": 1, "CC": 2, "J": 7, "Q": 1,
}

func (r *reading) field(t *Template, at int) {
	i := &t.items[at]
	switch i.field {
	case "AM", "PM", "A.M.", "P.M.":
		r.pm = 1 + r.oneOf(i, []string{"am", "pm"}, []string{"a.m.", "p.m."})
	case "BC", "AD", "B.C.", "A.D.":
		r.bc = r.oneOf(i, []string{"ad", "bc"}, []string{"a.d.", "b.c."}) == 1
	case "MONTH":
		r.got["MM"] = int64(r.named(i, months)) + 1
	case "MON":
		r.got["MM"] = int64(r.named(i, shortened(months))) + 1
	case "DAY":
		r.named(i, days)
	case "DY":
		r.named(i, shortened(days))
	case "RM":
		r.roman()
	case "TZH", "TZM":
		r.zone(i.field)
	case "TZ", "OF":
		r.fail("the field %s of a template can be written only", i.field)
	case "Y,YYY":
		thousands, _ := r.digits(9)
		if !strings.HasPrefix(r.rest, ",") {
			r.fail("invalid value for %q", i.field)
			return
		}
		r.rest = r.rest[1:]
		units, _ := r.digits(3)
		r.got["Y"] = thousands*1000 + units
	default:
		r.number(t, at)
	}
}

func shortened(names []string) []string {
	short := make([]string, len(names))
	for i := range names {
		short[i] = names[i][:3]
	}
	return short
}

// oneOf takes one of two words.
func (r *reading) oneOf(i *item, plain, pointed []string) int {
	words := plain
	if len(i.field) == 4 {
		words = pointed
	}
	for n, word := range words {
		if hasFold(r.rest, word) {
			r.rest = r.rest[len(word):]
			return n
		}
	}
	r.fail("invalid value %q for %q", shorten(r.rest), i.field)
	return 0
}

// named takes a name, whatever its case.
func (r *reading) named(i *item, names []string) int {
	for n, name := range names {
		if hasFold(r.rest, name) {
			r.rest = r.rest[len(name):]
			return n
		}
	}
	r.fail("invalid value %q for %q", shorten(r.rest), i.field)
	return 0
}

func (r *reading) roman() {
	best := -1
	for n, name := range romans {
		if hasFold(r.rest, name) && (best < 0 || len(name) > len(romans[best])) {
			best = n
		}
	}
	if best < 0 {
		r.fail("invalid value %q for \"RM\"", shorten(r.rest))
		return
	}
	r.rest = r.rest[len(romans[best]):]
	r.got["MM"] = int64(best) + 1
}

// zone takes hours with a sign, or minutes.
func (r *reading) zone(field string) {
	sign := int64(1)
	if field == "TZH" && r.rest != "" && (r.rest[0] == '-' || r.rest[0] == '+') {
		if r.rest[0] == '-' {
			sign = -1
		}
		r.rest = r.rest[1:]
	}
	n, digits := r.digits(2)
	if digits == 0 {
		r.fail("invalid value %q for %q", shorten(r.rest), field)
		return
	}
	r.got[field] = n
	if field == "TZH" {
		r.got["sign"] = sign
	}
}

// digits takes up to so many digits.
func (r *reading) digits(most int) (n int64, taken int) {
	for taken < most && taken < len(r.rest) && r.rest[taken] >= '0' && r.rest[taken] <= '9' {
		n = n*10 + int64(r.rest[taken]-'0')
		taken++
	}
	r.rest = r.rest[taken:]
	return n, taken
}

// number takes a number: all digits that are there where no digits can follow, else as many as the field has.
func (r *reading) number(t *Template, at int) {
	i := &t.items[at]
	negative := false
	if strings.HasPrefix(i.field, "YYY") && strings.HasPrefix(r.rest, "-") {
		negative, r.rest = true, r.rest[1:]
	}
	most := widths[i.field]
	fraction := i.field == "MS" || i.field == "US" || i.field[0] == 'F'
	if !fraction && (i.fill || t.ends(at)) {
		most = 9
	}
	n, taken := r.digits(most)
	if taken == 0 {
		r.fail("invalid value %q for %q", shorten(r.rest), i.field)
		return
	}
	if i.ordinal != "" {
		r.rest = r.rest[min(2, len(r.rest)):]
	}
	if negative {
		n = -n
	}
	name := i.field
	switch {
	case fraction:
		for ; taken < 6; taken++ {
			n *= 10
		}
		name = "US"
	case name == "YYY" || name == "YY" || name == "Y":
		n, name = fullYear(n, taken), "Y"
	case name == "YYYY":
		name = "Y"
	case name == "HH" || name == "HH12":
		if n < 1 || n > 12 {
			r.fail("hour %d is invalid for the 12-hour clock", n)
		}
		name = "HH12"
	case name == "SSSSS":
		name = "SSSS"
	}
	if before, again := r.got[name]; again && before != n {
		r.fail("conflicting values for %q in the text", i.field)
	}
	r.got[name] = n
}

// ends reports whether what follows a field cannot begin with a digit.
func (t *Template) ends(at int) bool {
	if at+1 == len(t.items) {
		return true
	}
	next := &t.items[at+1]
	if next.field != "" {
		_, number := widths[next.field]
		return !number
	}
	return next.text == "" || next.text[0] < '0' || next.text[0] > '9'
}

// fullYear is the year that is nearest to 2020 of those that end so.
func fullYear(n int64, digits int) int64 {
	switch {
	case digits > 3:
		return n
	case digits == 3 && n >= 100:
		if n < 520 {
			return n + 2000
		}
		return n + 1000
	case n < 70:
		return n + 2000
	case n < 100:
		return n + 1900
	}
	return n
}
