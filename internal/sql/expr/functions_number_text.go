package expr

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// numberForm is a template of to_char for numbers, read into its parts.
type numberForm struct {
	items       []numberItem
	before      int  // digits before the point, and behind it
	behind      int  // and of a V
	zeroFrom    int  // the first digit before the point that is written as zero where there is none; before for none
	zeroUpTo    int  // how many digits behind the point are written whatever they are
	fill        bool // FM
	sign        bool // S; leading or not
	signFirst   bool
	minus, pair bool // MI or SG, which leave no room for a sign; PR
	marked      bool // MI, SG or PL
	shifted     int  // digits behind V
	roman, e    bool
	point       bool
	ordinal     string
}

// numberItem is one sign of the template: '9' is a digit, ',' a separator of groups, '.' the point, 'S', 'M', 'P', 'G' signs, 'L' the currency,
// 'T' the ending of an ordinal; zero is text.
type numberItem struct {
	kind byte
	text string
}

const maxNumberTemplateBytes = 256

// readNumberForm reads a template.
func readNumberForm(text string) (*numberForm, error) {
	if len(text) > maxNumberTemplateBytes {
		return nil, fault.New(fault.LimitExceeded, "a template of %d bytes exceeds the limit of %d", len(text), maxNumberTemplateBytes)
	}
	f := &numberForm{zeroFrom: -1}
	has := func(letters string) bool {
		return len(text) >= len(letters) && strings.EqualFold(text[:len(letters)], letters)
	}
	for text != "" {
		taken, item := 1, numberItem{}
		if err := f.refused(has); err != nil {
			return nil, err
		}
		switch {
		case has("FM"):
			f.fill, taken = true, 2
		case has("EEEE"):
			f.e, taken = true, 4
		case has("RN"):
			f.roman, taken = true, 2
		case has("TH"):
			f.ordinal, taken, item.kind = text[:2], 2, 'T'
		case has("PR"):
			f.pair, taken = true, 2
		case has("MI"):
			item.kind, taken, f.minus, f.marked = 'M', 2, true, true
		case has("SG"):
			item.kind, taken, f.minus, f.marked = 'G', 2, true, true
		case has("PL"):
			item.kind, taken, f.marked = 'P', 2, true
		case has("SP"): // PostgreSQL knows it, and does nothing
			taken = 2
		case has("S"):
			item.kind, f.sign, f.signFirst = 'S', true, f.before+f.behind == 0
		case has("L"):
			item.kind = 'L'
		case has("V"):
			f.shifted, f.point = max(f.shifted, 1), true // counted below
		case has("D") || text[0] == '.':
			item.kind, f.point = '.', true
		case has("G") || text[0] == ',':
			item.kind = ','
		case text[0] == '9' || text[0] == '0':
			item.kind = '9'
			f.digit(text[0])
		case text[0] == '"':
			end := strings.IndexByte(text[1:], '"')
			if end < 0 {
				end = len(text) - 1
			}
			item.text, taken = text[1:1+end], min(len(text), end+2)
		default:
			_, taken = utf8.DecodeRuneInString(text)
			item.text = text[:taken]
		}
		if item.kind != 0 || item.text != "" {
			f.items = append(f.items, item)
		}
		text = text[taken:]
	}
	if f.shifted > 0 {
		f.shifted--
	}
	if f.zeroFrom < 0 {
		f.zeroFrom = f.before
	}
	return f, nil
}

// refused refuses what must not follow what was read of a template.
func (f *numberForm) refused(has func(letters string) bool) error {
	sentence := ""
	switch {
	case has("PR"), has("MI"), has("SG"), has("PL"):
		if f.sign || f.marked && has("PR") {
			sentence = `"S" and "PR" do not go together, nor with "MI", "PL" or "SG"`
		}
	case has("SP"):
	case has("S"):
		if f.sign || f.marked || f.pair {
			sentence = `"S" goes once, and not with "MI", "PL", "SG" or "PR"`
		}
	case has("9"), has("0"):
		if f.pair {
			sentence = `digits must be ahead of "PR"`
		}
	case has("V"):
		if f.point && f.shifted == 0 {
			sentence = `"V" and a decimal point do not go together`
		}
	case has("D"), has("."):
		if f.point {
			sentence = "a template has one decimal point, and none with \"V\""
		}
	}
	if sentence == "" {
		return nil
	}
	return fault.New(fault.InvalidStatement, "%s", sentence)
}

// digit counts a digit of the template.
func (f *numberForm) digit(written byte) {
	switch {
	case f.shifted > 0 && written == '9': // behind V
		f.before++
		f.shifted++
	case f.point && f.shifted == 0:
		if f.behind++; written == '0' {
			f.zeroUpTo = f.behind
		}
	default:
		if f.before++; written == '0' && f.zeroFrom < 0 {
			f.zeroFrom = f.before - 1
		}
	}
}

// numberText is to_char of a number.
func numberText(d datum.Datum, template string) (datum.Datum, error) {
	f, err := readNumberForm(template)
	if err != nil {
		return datum.Datum{}, err
	}
	exact, err := datum.Cast(d, datum.Of(datum.Decimal))
	if err != nil {
		return datum.Datum{}, err
	}
	value := exact.Decimal()
	switch {
	case f.roman:
		return datum.NewText(f.romanText(value)), nil
	case f.e:
		float, err := datum.Cast(d, datum.Of(datum.Double))
		if err != nil {
			return datum.Datum{}, err
		}
		text := strconv.FormatFloat(float.Float(), 'e', f.behind, 64)
		if !strings.HasPrefix(text, "-") && !f.fill {
			text = " " + text
		}
		return datum.NewText(text), nil
	}
	context := datum.ExactContext()
	context.Rounding = apd.RoundHalfUp
	rounded := new(apd.Decimal).Set(value)
	rounded.Exponent += int32(f.shifted)                                            //nolint:gosec // bounded by the template
	if _, err := context.Quantize(rounded, rounded, int32(-f.behind)); err != nil { //nolint:gosec // bounded by the template
		return datum.Datum{}, numberFault(datum.Decimal)
	}
	negative := rounded.Negative && !rounded.IsZero()
	rounded.Negative = false
	whole, part, _ := strings.Cut(rounded.Text('f'), ".")
	return datum.NewText(f.write(whole, part, negative)), nil
}

// numberWriter writes digits into a template.
type numberWriter struct {
	*numberForm
	out      strings.Builder
	whole    string // digits before the point, as many as the template has, spaces where there are none
	part     string
	negative bool
	begun    bool // the first digit, and the sign before it, are written
	place    int  // of the next digit before the point
	digits   int  // written behind it
	last     int  // digits behind the point that FM keeps
}

func (f *numberForm) write(whole, part string, negative bool) string {
	w := &numberWriter{numberForm: f, part: part, negative: negative, last: f.behind}
	if whole == "0" && (f.behind > 0 || f.before == 0) {
		whole = ""
	}
	if len(whole) > f.before {
		whole, w.part = strings.Repeat("#", f.before), strings.Repeat("#", f.behind)
	} else if f.fill {
		w.last = max(len(strings.TrimRight(part, "0")), f.zeroUpTo)
	}
	w.whole = strings.Repeat(" ", f.before-len(whole)) + whole
	for i := range f.items {
		w.item(&f.items[i])
	}
	w.end(part == "" && !negative)
	return w.out.String()
}

func (w *numberWriter) item(i *numberItem) {
	switch i.kind {
	case '9':
		w.digit()
	case ',':
		switch {
		case w.begun:
			w.out.WriteByte(',')
		case !w.fill:
			w.out.WriteByte(' ')
		}
	case '.':
		w.begin()
		w.out.WriteByte('.')
	case 'M':
		w.mark(" ")
	case 'G':
		w.mark("+")
	case 'P':
		if w.negative {
			w.blank()
		} else {
			w.out.WriteByte('+')
		}
	case 'S':
		if !w.signFirst {
			w.begin()
			w.mark("+")
		}
	case 'L':
		w.blank()
	case 'T': // stands behind the whole number
	default:
		w.out.WriteString(i.text)
	}
}

func (w *numberWriter) blank() {
	if !w.fill {
		w.out.WriteByte(' ')
	}
}

// mark writes the sign of a negative number, or what another one has there; FM leaves spaces out.
func (w *numberWriter) mark(other string) {
	switch {
	case w.negative:
		w.out.WriteByte('-')
	case other != " " || !w.fill:
		w.out.WriteString(other)
	}
}

// begin writes what stands before the first digit.
func (w *numberWriter) begin() {
	if w.begun {
		return
	}
	w.begun = true
	switch {
	case w.pair:
		if w.negative {
			w.out.WriteByte('<')
		} else {
			w.blank()
		}
	case w.sign && w.signFirst:
		w.mark("+")
	case !w.sign && !w.minus:
		w.mark(" ")
	}
}

func (w *numberWriter) digit() {
	if w.place < len(w.whole) {
		digit := w.whole[w.place]
		w.place++
		switch {
		case digit != ' ':
			w.begin()
			w.out.WriteByte(digit)
		case w.place > w.zeroFrom:
			w.begin()
			w.out.WriteByte('0')
		default:
			w.blank()
		}
		return
	}
	w.begin()
	if w.digits < w.last {
		w.out.WriteByte(w.part[w.digits])
	}
	w.digits++
}

// end writes what stands behind the number.
func (w *numberWriter) end(ordinal bool) {
	w.begin()
	if w.pair {
		if w.negative {
			w.out.WriteByte('>')
		} else {
			w.blank()
		}
	}
	if digits := strings.TrimSpace(w.whole); w.ordinal != "" && ordinal && digits != "" {
		ending := "th"
		if len(digits) < 2 || digits[len(digits)-2] != '1' {
			switch digits[len(digits)-1] {
			case '1':
				ending = "st"
			case '2':
				ending = "nd"
			case '3':
				ending = "rd"
			}
		}
		if w.ordinal[0] == 'T' {
			ending = strings.ToUpper(ending)
		}
		w.out.WriteString(ending)
	}
}

// romanText writes a number from 1 to 3999.
func (f *numberForm) romanText(value *apd.Decimal) string {
	const width = 15
	whole := new(apd.Decimal)
	context := datum.ExactContext()
	context.Rounding = apd.RoundHalfUp
	text := strings.Repeat("#", width)
	if _, err := context.RoundToIntegralValue(whole, value); err == nil {
		if n, err := whole.Int64(); err == nil && n > 0 && n < 4000 {
			var roman strings.Builder
			for _, step := range []struct {
				value int64
				text  string
			}{
				{1000, "M"}, {900, "CM"}, {500, "D"}, {400, "CD"}, {100, "C"}, {90, "XC"}, {50, "L"}, {40, "XL"}, {10, "X"}, {9, "IX"}, {5, "V"}, {4, "IV"}, {1, "I"},
			} {
				for ; n >= step.value; n -= step.value {
					roman.WriteString(step.text)
				}
			}
			text = roman.String()
		}
	}
	if f.fill {
		return text
	}
	return fmt.Sprintf("%*s", width, text)
}
