package recurrence

import (
	"testing"
	"time"
)

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ every, cron, zone string }{
		{"", "", ""},
		{"1h", "* * * * *", ""},
		{"1h", "", "Mars/Olympus"},
		{"0s", "", ""},
		{"-1h", "", ""},
		{"900 days", "", ""},
		{"5", "", ""},
		{"five minutes", "", ""},
		{"5 lightyears", "", ""},
		{"99999999 weeks", "", ""},
		{"", "* * * *", ""},
		{"", "60 * * * *", ""},
		{"", "* 24 * * *", ""},
		{"", "* * 0 * *", ""},
		{"", "* * * 13 *", ""},
		{"", "* * * * 8", ""},
		{"", "*/0 * * * *", ""},
		{"", "5-1 * * * *", ""},
		{"", "a * * * *", ""},
		{"", "1-b * * * *", ""},
		{"", "0 0 31 2 *", ""},
		{"", ", * * * *", ""},
	} {
		if rule, err := Parse(c.every, c.cron, c.zone); err == nil {
			t.Errorf("%+v gives %+v", c, rule)
		}
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ every, cron, zone, after, want string }{
		{every: "90s", after: "2026-01-01T00:00:00Z", want: "2026-01-01T00:01:30Z"},
		{every: "2 hours 30 minutes", after: "2026-01-01T00:00:00Z", want: "2026-01-01T02:30:00Z"},
		{cron: "* * * * *", after: "2026-01-01T00:00:00Z", want: "2026-01-01T00:01:00Z"},
		{cron: "* * * * *", after: "2026-01-01T00:00:59Z", want: "2026-01-01T00:01:00Z"},
		{cron: "*/15 8-10 * * *", after: "2026-01-01T10:45:00Z", want: "2026-01-02T08:00:00Z"},
		{cron: "30 2 * * *", zone: "UTC", after: "2026-01-31T02:30:00Z", want: "2026-02-01T02:30:00Z"},
		{cron: "0 0 29 2 *", after: "2026-01-01T00:00:00Z", want: "2028-02-29T00:00:00Z"},
		{cron: "0 12 * * 7", after: "2026-11-23T00:00:00Z", want: "2026-11-29T12:00:00Z"},
		{cron: "0 12 1 * 3", after: "2026-11-23T00:00:00Z", want: "2026-11-25T12:00:00Z"},
		{cron: "0 9 * * 1-5", zone: "America/New_York", after: "2026-07-03T14:00:00Z", want: "2026-07-06T13:00:00Z"},
		{cron: "30 2 * * *", zone: "Europe/Berlin", after: "2026-03-28T12:00:00Z", want: "2026-03-30T00:30:00Z"},
		{cron: "30 2 * * *", zone: "Europe/Berlin", after: "2026-10-25T00:30:00Z", want: "2026-10-25T01:30:00Z"},
	} {
		rule, err := Parse(c.every, c.cron, c.zone)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		after, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		if next, due := rule.Next(after); !due || next.UTC().Format(time.RFC3339) != c.want {
			t.Errorf("%+v: %s, %v", c, next.UTC().Format(time.RFC3339), due)
		}
	}
}
