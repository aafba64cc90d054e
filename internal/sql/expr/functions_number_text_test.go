package expr

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// FuzzNumberTemplates writes numbers as templates say: whatever they are, the answer is a text of a bounded length, or a refusal.
func FuzzNumberTemplates(f *testing.F) {
	for _, form := range []string{"9,999.99", "FM9990.00PR", "S000", "99V99", "RN", "9.99EEEE", "MI9SG9PL9", `"x"999th`, "L.9", "0", "é9"} {
		f.Add(form, int64(-1234567), int32(-3))
	}
	f.Fuzz(func(t *testing.T, form string, coefficient int64, exponent int32) {
		value, err := datum.Cast(datum.NewDouble(float64(coefficient)/1000), datum.Of(datum.Decimal))
		if err != nil {
			t.Skip("no decimal")
		}
		for _, d := range []datum.Datum{datum.NewBigInt(coefficient), value, datum.NewInt(datum.Int, int64(exponent))} {
			text, err := numberText(d, form)
			if kind := fault.KindOf(err); err != nil && kind != fault.InvalidStatement && kind != fault.LimitExceeded && kind != fault.OutOfRange {
				t.Fatalf("to_char(%v, %q): %v", d, form, err)
			}
			if most := 8*maxNumberTemplateBytes + 400; err == nil && len(text.Str()) > most {
				t.Fatalf("to_char(%v, %q) gives %d bytes", d, form, len(text.Str()))
			}
		}
	})
}

// FuzzNumberReading reads texts as templates say: whatever both are, the answer is a number with as many digits as the template has at most, or
// a refusal.
func FuzzNumberReading(f *testing.F) {
	for _, pair := range [][2]string{
		{"12,454.8-", "99G999D9S"},
		{"<5>", "9PR"},
		{"5.01-", "FM9.999999MI"},
		{"$1,234.5", "L9,999.9"},
		{"485th", "999TH"},
		{"12345", "999V99"},
		{"é5", `"x"9`},
		{"123", "9.9"},
		{"+ 7", "SG9PL"},
		{"\xff9", "é9"},
		{"-", "S9"},
		{".", "D"},
	} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, text, form string) {
		read, err := readNumber(text, form)
		kind := fault.KindOf(err)
		switch {
		case err != nil && kind != fault.InvalidStatement && kind != fault.LimitExceeded && kind != fault.OutOfRange && kind != fault.Unsupported:
			t.Fatalf("to_number(%q, %q): %v", text, form, err)
		case err == nil && !read.IsNull() && len(read.Decimal().Text('f')) > len(form)+3:
			t.Fatalf("to_number(%q, %q) gives %v", text, form, read)
		}
	})
}
