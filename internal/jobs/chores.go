package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/recurrence"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

const (
	historyPeriod = time.Hour        // between two jobs that forget old jobs
	misfireGrace  = 30 * time.Second // a due time that is older was missed
)

// chores is what the leader's runner remembers between steps. Losing it does no harm.
type chores struct {
	historyDone time.Time
	// retentionDone is when old deletions were last looked for.
	retentionDone time.Time
	evictions     map[ident.TableID]time.Time // when a stream table is looked through next
	flushes       flushes
	compactions   compactions
}

// keepHouse does what the leader owes the records. A refusal means that another leader did it.
func (r *Runner) keepHouse(ctx context.Context, jobs []*commandv1.Job) error {
	now := r.cfg.Clock.Now()
	if overdue(jobs, now.UnixMicro()) {
		if err := r.propose(ctx, &commandv1.Command{Body: &commandv1.Command_ExpireClaims{ExpireClaims: &commandv1.ExpireClaims{}}}); err != nil {
			return fmt.Errorf("expire claims: %w", err)
		}
	}
	if err := r.adoptCleanups(ctx, jobs); err != nil {
		return err
	}
	if err := r.adoptSchemaChanges(ctx, jobs); err != nil {
		return err
	}
	if err := r.fireSchedules(ctx, now); err != nil {
		return err
	}
	if err := r.evictStreams(ctx, now); err != nil {
		return err
	}
	if !r.cfg.ByHand {
		if err := r.tendRows(ctx, now); err != nil {
			return err
		}
	}
	if now.Sub(r.chores.historyDone) < historyPeriod {
		return nil
	}
	r.chores.historyDone = now
	return r.propose(ctx, create(&commandv1.Job{
		Type: TypeJobCleanup, IdPrefix: "JC", IdempotencyKey: TypeJobCleanup, MaxRetries: 3, LeaderOnly: true,
	}))
}

// tendRows makes the jobs for rows that are to be moved, merged or forgotten by now.
func (r *Runner) tendRows(ctx context.Context, now time.Time) error {
	if err := r.flushDue(ctx, now); err != nil {
		return err
	}
	if err := r.compactDue(ctx, now); err != nil {
		return err
	}
	return r.retainDeleted(ctx, now)
}

func overdue(jobs []*commandv1.Job, nowMicros int64) bool {
	for _, job := range jobs {
		switch catalog.JobState(job.GetState()) { //nolint:exhaustive // the others wait for nothing
		case catalog.JobRunning:
			if job.GetClaim().GetUntilMicros() <= nowMicros {
				return true
			}
		case catalog.JobNew:
			if job.GetNotBeforeMicros() <= nowMicros {
				return true
			}
		}
	}
	return false
}

// adoptCleanups makes the jobs of dropped tables that have none: theirs was killed, or the table was dropped by
// a version without jobs.
func (r *Runner) adoptCleanups(ctx context.Context, jobs []*commandv1.Job) error {
	keys := make(map[string]bool, len(jobs))
	for _, job := range jobs {
		keys[job.GetIdempotencyKey()] = true
	}
	for _, cleanup := range r.cfg.Catalog.Current().Cleanups() {
		job := applier.NewCleanupJob(uint64(cleanup.Table.ID))
		if keys[job.GetIdempotencyKey()] {
			continue
		}
		if err := r.propose(ctx, create(job)); err != nil {
			return fmt.Errorf("adopt the cleanup of %s: %w", cleanup.Table.FullName(), err)
		}
	}
	return nil
}

// adoptSchemaChanges makes the jobs of unfinished tables that have none, because theirs was killed.
func (r *Runner) adoptSchemaChanges(ctx context.Context, jobs []*commandv1.Job) error {
	keys := make(map[string]bool, len(jobs))
	for _, job := range jobs {
		keys[job.GetIdempotencyKey()] = true
	}
	for _, table := range r.cfg.Catalog.Current().Tables() {
		if !table.Unfinished() {
			continue
		}
		job := applier.NewSchemaChangeJob(uint64(table.ID))
		if keys[job.GetIdempotencyKey()] {
			continue
		}
		if err := r.propose(ctx, create(job)); err != nil {
			return fmt.Errorf("adopt the schema change of %s: %w", table.FullName(), err)
		}
	}
	return nil
}

func (r *Runner) fireSchedules(ctx context.Context, now time.Time) error {
	schedules, err := catalog.LoadSchedules(r.cfg.Store)
	if err != nil {
		return err
	}
	for _, s := range schedules {
		due := time.UnixMicro(s.GetNextMicros())
		if s.GetPaused() || now.Before(due) {
			continue
		}
		next, err := nextTime(s, due, now)
		if err != nil {
			// The planner read the rule once; a zone may be missing on this machine.
			r.cfg.Logger.Warn("a schedule cannot be read", slog.String("schedule", s.GetName()), slog.Any("error", err))
			continue
		}
		missed := now.Sub(due) > misfireGrace && !s.GetCatchUp()
		err = r.propose(ctx, &commandv1.Command{Body: &commandv1.Command_FireSchedule{FireSchedule: &commandv1.FireSchedule{
			Name: s.GetName(), ExpectedMicros: s.GetNextMicros(), NextMicros: next.UnixMicro(), Skip: missed,
		}}})
		if err != nil {
			return fmt.Errorf("fire schedule %s: %w", s.GetName(), err)
		}
	}
	return nil
}

// nextTime is the first due time after now, in step with the one that is used up: many missed times count as
// one.
func nextTime(s *commandv1.Schedule, due, now time.Time) (time.Time, error) {
	rule, err := recurrence.Parse(s.GetEvery(), s.GetCron(), s.GetTimeZone())
	if err != nil {
		return time.Time{}, err
	}
	next, found := rule.Next(due)
	if found && !next.After(now) && s.GetEvery() != "" {
		period := next.Sub(due)
		missed := int64(now.Sub(due) / period)
		next = due.Add(time.Duration(missed+1) * period)
	} else if found && !next.After(now) {
		next, found = rule.Next(now)
	}
	if !found {
		return time.Time{}, errors.New("it is never due again")
	}
	return next, nil
}

// propose executes a command whose refusal is no failure.
func (r *Runner) propose(ctx context.Context, cmd *commandv1.Command) error {
	if _, err := r.execute(ctx, cmd); err != nil && !refused(err) {
		return err
	}
	return nil
}

func create(job *commandv1.Job) *commandv1.Command {
	return &commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{Job: job}}}
}
