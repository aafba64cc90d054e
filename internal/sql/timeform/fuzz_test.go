package timeform_test

import (
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/timeform"
)

// FuzzTemplates writes a time as a template says and reads it again: no template and no text breaks anything, and what a template names whole
// comes back.
func FuzzTemplates(f *testing.F) {
	for _, form := range []string{
		"YYYY-MM-DD HH24:MI:SS.US", "FMDay, FMDDth FMMonth YYYY", `YYYY"T"HH12 AM TZH:TZM`, "IYYY-IW-ID J Q RM CC", "FX\\\"YY\"", "SSSSS FF3 Y,YYY BC", "é",
	} {
		f.Add(form, "2026-01-02 03:04:05.678901", int64(1_767_323_045_678_901))
	}
	f.Fuzz(func(t *testing.T, form, text string, micros int64) {
		template, err := timeform.Parse(form)
		if err != nil {
			if kind := fault.KindOf(err); kind != fault.Unsupported && kind != fault.LimitExceeded {
				t.Fatalf("%q fails with %v", form, err)
			}
			return
		}
		for _, read := range []func(string) (*timeform.Read, error){template.Read, template.Whole} {
			if _, failed := read(text); failed != nil && fault.KindOf(failed) == fault.Internal {
				t.Fatalf("%q of %q: %v", form, text, failed)
			}
		}
		const inYears = 4_000_000_000_000_000 // up to about 2096
		micros %= inYears
		clock := datum.ClockOf(datum.NewInt(datum.Timestamp, micros))
		written := template.Write(&timeform.Fields{Clock: clock, Zoned: true})
		if strings.Contains(form, "\x00") || len(written) > 64*len(form)+64 {
			return
		}
		whole, err := timeform.Parse("YYYY-MM-DD HH24:MI:SS.US")
		if err != nil {
			t.Fatal(err)
		}
		again, err := whole.Read(whole.Write(&timeform.Fields{Clock: clock}))
		if err != nil || again.Clock != clock || !again.HasDate || !again.HasTime || again.HasZone {
			t.Fatalf("%+v comes back as %+v (%v)", clock, again, err)
		}
	})
}
