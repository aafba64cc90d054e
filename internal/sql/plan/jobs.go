package plan

import (
	"github.com/kalamdb/kalamdb-go/internal/recurrence"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// killJob ends a job.
func killJob(node *parse.KillJob) Statement {
	return &Meta{Command: &commandv1.Command{Body: &commandv1.Command_CancelJob{CancelJob: &commandv1.CancelJob{Id: node.ID}}}}
}

// createSchedule reads the rule and checks that the caller may run the statement now. The next due time is
// stamped when the command is sent.
func (e *Environment) createSchedule(node *parse.CreateSchedule) (Statement, error) {
	if _, err := recurrence.Parse(node.Every, node.Cron, node.TimeZone); err != nil {
		return nil, invalid(node, "schedule '%s': %v", node.Name.Name, err)
	}
	switch node.Statement.(type) {
	case *parse.Insert, *parse.Update, *parse.Delete, *parse.Query, *parse.WithChanges, *parse.ExecuteAsUser:
	case *parse.RunJob, *parse.StorageFlush, *parse.StorageCompact, *parse.BackupDatabase: // they start jobs
	default:
		return nil, invalid(node.Statement,
			"a schedule runs SELECT, INSERT, UPDATE, DELETE, EXECUTE AS USER, STORAGE FLUSH, STORAGE COMPACT, BACKUP DATABASE or RUN JOB")
	}
	if err := Authorize(e, node.Statement); err != nil {
		return nil, err
	}
	return &Meta{Command: &commandv1.Command{Body: &commandv1.Command_CreateSchedule{CreateSchedule: &commandv1.CreateSchedule{
		IfNotExists: node.IfNotExists,
		Schedule: &commandv1.Schedule{
			Name: node.Name.Name, Every: node.Every, Cron: node.Cron, TimeZone: node.TimeZone, Overlap: node.Overlap,
			CatchUp: node.CatchUp, Statement: parse.Print(node.Statement), Namespace: e.Caller.Namespace, User: string(e.Caller.User()),
		},
	}}}}, nil
}

func alterSchedule(node *parse.AlterSchedule) (Statement, error) {
	change := &commandv1.AlterSchedule{Name: node.Name.Name}
	if node.Pause || node.Resume {
		change.Paused = &node.Pause
	} else {
		if _, err := recurrence.Parse(node.Every, node.Cron, node.TimeZone); err != nil {
			return nil, invalid(node, "schedule '%s': %v", node.Name.Name, err)
		}
		if node.Every != "" {
			change.Every = &node.Every
		} else {
			change.Cron = &node.Cron
		}
		change.TimeZone = &node.TimeZone
	}
	return &Meta{Command: &commandv1.Command{Body: &commandv1.Command_AlterSchedule{AlterSchedule: change}}}, nil
}

func dropSchedule(node *parse.DropSchedule) Statement {
	return &Meta{Command: &commandv1.Command{Body: &commandv1.Command_DropSchedule{DropSchedule: &commandv1.DropSchedule{
		Name: node.Name.Name, IfExists: node.IfExists,
	}}}}
}
