package exec

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/recurrence"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// stampSchedule writes the first due time into a command that sets a rule. Replicas have no clock.
func (e *Engine) stampSchedule(cmd *commandv1.Command) error {
	var every, cron, zone string
	set := func(int64) {}
	switch body := cmd.GetBody().(type) {
	case *commandv1.Command_CreateSchedule:
		schedule := body.CreateSchedule.GetSchedule()
		every, cron, zone = schedule.GetEvery(), schedule.GetCron(), schedule.GetTimeZone()
		set = func(micros int64) { schedule.NextMicros = micros }
	case *commandv1.Command_AlterSchedule:
		change := body.AlterSchedule
		every, cron, zone = change.GetEvery(), change.GetCron(), change.GetTimeZone()
		set = func(micros int64) { change.NextMicros = &micros }
	}
	if every == "" && cron == "" {
		return nil
	}
	rule, err := recurrence.Parse(every, cron, zone)
	if err != nil {
		return fmt.Errorf("schedule: %w", err)
	}
	next, _ := rule.Next(e.deps.Clock.Now()) // a rule that was parsed is due some time
	set(next.UnixMicro())
	return nil
}
