package jobs

import (
	"testing"
	"time"

	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func TestNextTime(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name     string
		schedule *commandv1.Schedule
		late     time.Duration
		want     time.Duration // after start
	}{
		{"in time", &commandv1.Schedule{Every: "1m"}, time.Second, time.Minute},
		{"keeps step", &commandv1.Schedule{Every: "1m"}, 10*time.Minute + time.Second, 11 * time.Minute},
		{"exactly due again", &commandv1.Schedule{Every: "1m"}, time.Minute, 2 * time.Minute},
		{"cron", &commandv1.Schedule{Cron: "*/5 * * * *"}, 0, 5 * time.Minute},
		{"cron, missed", &commandv1.Schedule{Cron: "*/5 * * * *"}, 12 * time.Minute, 15 * time.Minute},
	} {
		next, err := nextTime(c.schedule, start, start.Add(c.late))
		if err != nil || !next.Equal(start.Add(c.want)) {
			t.Errorf("%s: %s, %v", c.name, next, err)
		}
	}
	if _, err := nextTime(&commandv1.Schedule{Every: "1m", TimeZone: "Mars/Olympus"}, start, start); err == nil {
		t.Error("a time zone that is not there was found")
	}
}
