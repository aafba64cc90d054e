package expr

import (
	"strings"
	"unicode/utf8"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// numberReader reads a text as a template of to_number says, with PostgreSQL's leniency: a place of the template takes a digit where there is
// one, other text of the template passes over as many characters, whatever they are, and what is left over is ignored.
type numberReader struct {
	*numberForm
	text     string
	at       int
	negative bool
	signed   bool // a sign was read
	digits   strings.Builder
	whole    int // digits read before the point, and behind it
	part     int
	passed   bool // the point was read
	decimal  bool // the template has a point
	anchored bool // it has S
	leading  bool // before the point
}

// readNumber is to_number. A template without anything gives NULL.
func readNumber(text, template string) (datum.Datum, error) {
	if template == "" {
		return datum.Datum{}, nil
	}
	f, err := readNumberForm(template)
	if err != nil {
		return datum.Datum{}, err
	}
	switch {
	case f.roman:
		return datum.Datum{}, fault.New(fault.Unsupported, `"RN" is not supported for reading`)
	case f.e:
		return datum.Datum{}, fault.New(fault.Unsupported, `"EEEE" is not supported for reading; use a cast`)
	}
	r := &numberReader{numberForm: f, text: text}
	for _, item := range f.items {
		switch item.kind {
		case '.':
			r.decimal = true
		case 'S':
			r.anchored, r.leading = true, !r.decimal
		}
	}
	for i := range f.items {
		r.item(&f.items[i])
	}
	return r.value()
}

// value is the number whose digits were read.
func (r *numberReader) value() (datum.Datum, error) {
	written := strings.TrimSuffix(r.digits.String(), ".")
	if strings.Trim(written, ".") == "" {
		return datum.Datum{}, fault.New(fault.InvalidStatement, "to_number finds no digits in %q", shortText(r.text))
	}
	before, _, _ := strings.Cut(written, ".")
	if len(strings.TrimLeft(before, "0")) > r.before {
		return datum.Datum{}, fault.New(fault.OutOfRange, "the number has more digits before the point than its template")
	}
	if r.negative {
		written = "-" + written
	}
	read, err := datum.ParseText(written, datum.Of(datum.Decimal))
	if err != nil || r.shifted == 0 {
		return read, err
	}
	moved := *read.Decimal()
	moved.Exponent -= int32(r.shifted) //nolint:gosec // bounded by the template
	return datum.ParseText(moved.Text('f'), datum.Of(datum.Decimal))
}

func (r *numberReader) ended() bool { return r.at >= len(r.text) }

// here reports whether a character is next.
func (r *numberReader) here(c byte) bool { return !r.ended() && r.text[r.at] == c }

func (r *numberReader) digitAt(i int) bool {
	return i < len(r.text) && r.text[i] >= '0' && r.text[i] <= '9'
}

// pass passes over one character.
func (r *numberReader) pass() {
	_, size := utf8.DecodeRuneInString(r.text[r.at:])
	r.at += size
}

// passText passes over characters that are no part of a number.
func (r *numberReader) passText(n int) {
	for ; n > 0 && !r.ended() && !strings.ContainsRune("0123456789.,+-", rune(r.text[r.at])); n-- {
		r.pass()
	}
}

func (r *numberReader) item(i *numberItem) {
	if r.ended() {
		return
	}
	switch i.kind {
	case '9', '.':
		r.place(i.kind == '9')
		r.at++
	case ',':
		if r.here(',') && !r.fill { // FM has no separators to read
			r.at++
		}
	case 'M':
		r.mark("-")
	case 'P':
		r.mark("+")
	case 'G':
		r.mark("+-")
	case 'L':
		r.passText(1)
	case 'T':
		if !r.decimal {
			r.passText(2)
		}
	default:
		for range utf8.RuneCountInString(i.text) {
			if !r.ended() {
				r.pass()
			}
		}
	}
}

// mark reads one of the signs, or passes over the place of it.
func (r *numberReader) mark(signs string) {
	if strings.IndexByte(signs, r.text[r.at]) < 0 {
		r.passText(1)
		return
	}
	r.sign(r.text[r.at] == '-')
	r.at++
}

// sign keeps a sign; of several the last one counts.
func (r *numberReader) sign(negative bool) { r.negative, r.signed = negative, true }

// place reads what stands in the place of a digit, or of the point: that, with the signs beside it. The last character of it is left.
func (r *numberReader) place(digit bool) {
	if r.here(' ') {
		r.at++
	}
	if r.ended() {
		return
	}
	if digit && !r.signed && r.whole+r.part == 0 {
		r.signBefore()
	}
	if r.ended() {
		return
	}
	taken := false
	switch {
	case r.digitAt(r.at):
		if r.passed && r.part == r.behind {
			return
		}
		r.digits.WriteByte(r.text[r.at])
		if r.passed {
			r.part++
		} else {
			r.whole++
		}
		taken = true
	case r.decimal && !r.passed && r.here('.'):
		r.digits.WriteByte('.')
		r.passed, taken = true, true
	}
	if !r.signed && r.whole+r.part > 0 {
		r.signBehind(taken)
	}
}

// signBefore reads the sign in front of the first digit.
func (r *numberReader) signBefore() {
	switch {
	case r.here('-'), r.here('<') && r.pair && (!r.anchored || !r.leading):
		r.sign(true)
		r.at++
	case r.here('+'):
		r.sign(false)
		r.at++
	}
}

// signBehind reads the sign behind a digit: that of S, or that of MI, SG and PL where it is not in the place of the template.
func (r *numberReader) signBehind(taken bool) {
	switch {
	case r.anchored && taken:
		if next := r.at + 1; next < len(r.text) && (r.text[next] == '-' || r.text[next] == '+') {
			r.at = next
			r.sign(r.text[next] == '-')
		}
	case !taken && !r.anchored && r.marked && (r.here('-') || r.here('+')):
		r.sign(r.here('-'))
	}
}

// shortText is what a message shows of a text.
func shortText(text string) string {
	const most = 40
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
