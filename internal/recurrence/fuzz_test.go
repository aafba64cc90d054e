package recurrence

import (
	"testing"
	"time"
)

// FuzzParse checks that any text gives an error or a rule whose next times come after the one before.
func FuzzParse(f *testing.F) {
	for _, every := range []string{"30 seconds", "1h30m", "2 hours 30 minutes", "-1s", "9223372036854775807h", "1 second 1"} {
		f.Add(every, "", "")
	}
	for _, cron := range []string{"*/5 * * * *", "0 2 29 2 1-5", "0 0 31 2 *", "59-1 * * * *", "1,2,3/2 * * jan sun", "0 0 1 1 0/0"} {
		f.Add("", cron, "Europe/Berlin")
	}
	f.Add("", "", "../../etc/passwd")
	start := time.Date(2026, 3, 28, 23, 59, 59, 0, time.UTC)
	f.Fuzz(func(t *testing.T, every, cron, zone string) {
		rule, err := Parse(every, cron, zone)
		if err != nil {
			return
		}
		at := start
		for range 3 {
			next, due := rule.Next(at)
			if !due || !next.After(at) {
				t.Fatalf("%q %q in %q: due at %v after %v, %t", every, cron, zone, next, at, due)
			}
			at = next
		}
	})
}
