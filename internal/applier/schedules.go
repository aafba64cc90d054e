package applier

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/invariant"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func malformedRecord(format string, args ...any) error {
	return fmt.Errorf("%w: %s", storage.ErrCorruption, fmt.Sprintf(format, args...))
}

// prefixCleanup begins the ids of cleanup jobs.
const prefixCleanup = "CL"

// prefixSchemaChange begins the ids of jobs that finish a schema change.
const prefixSchemaChange = "SC"

// StatementParameters is what a job of type JobTypeStatement runs; the user is in the job's record.
type StatementParameters struct {
	Schedule  string `json:"schedule"`
	Statement string `json:"statement"`
	Namespace string `json:"namespace,omitempty"`
}

// CleanupParameters names the table whose rows a job of type JobTypeCleanup removes.
type CleanupParameters struct {
	Table uint64 `json:"table_id"`
}

// NewCleanupJob is the job that removes the rows of a dropped table. It never gives up: the rows have to go.
func NewCleanupJob(table uint64) *commandv1.Job {
	return &commandv1.Job{
		Type: JobTypeCleanup, IdPrefix: prefixCleanup, Parameters: fmt.Sprintf(`{"table_id":%d}`, table),
		IdempotencyKey: fmt.Sprintf("cleanup:%d", table), MaxRetries: catalog.UnlimitedRetries,
	}
}

// SchemaChangeParameters are the parameters of a job that does what a changed descriptor leaves to be done.
type SchemaChangeParameters struct {
	Table uint64 `json:"table_id"`
}

// NewSchemaChangeJob is the job that brings the rows of a table in line with its descriptor. The statement that
// altered the table does the same at once; the job is for when it is interrupted.
func NewSchemaChangeJob(table uint64) *commandv1.Job {
	return &commandv1.Job{
		Type: JobTypeSchemaChange, IdPrefix: prefixSchemaChange, Parameters: fmt.Sprintf(`{"table_id":%d}`, table),
		IdempotencyKey: fmt.Sprintf("schema_change:%d", table), MaxRetries: catalog.UnlimitedRetries,
	}
}

// FlushParameters name the table whose rows a job of type JobTypeFlush makes cold.
type FlushParameters struct {
	Table uint64 `json:"table_id"`
}

// PrefixFlush begins the ids of jobs that make rows cold.
const PrefixFlush = "FL"

// NewFlushJob is the job that makes the rows of a table cold.
func NewFlushJob(table uint64, user string) *commandv1.Job {
	return &commandv1.Job{
		Type: JobTypeFlush, IdPrefix: PrefixFlush, Parameters: fmt.Sprintf(`{"table_id":%d}`, table),
		IdempotencyKey: fmt.Sprintf("flush:%d", table), MaxRetries: 3, User: user,
	}
}

// CompactParameters name the table whose segments a job of type JobTypeCompact merges.
type CompactParameters struct {
	Table uint64 `json:"table_id"`
	// Light merges only what is worth it by itself; otherwise everything that can be merged is.
	Light bool `json:"light,omitempty"`
}

// PrefixCompact begins the ids of jobs that merge segments.
const PrefixCompact = "CO"

// NewCompactJob is the job that merges the segments of a table. Light ones and others are not one job: a light one that
// waits does not do what a statement asks for.
func NewCompactJob(table uint64, light bool, user string) *commandv1.Job {
	parameters, key := fmt.Sprintf(`{"table_id":%d}`, table), fmt.Sprintf("compact:%d", table)
	if light {
		parameters, key = fmt.Sprintf(`{"table_id":%d,"light":true}`, table), key+":light"
	}
	return &commandv1.Job{
		Type: JobTypeCompact, IdPrefix: PrefixCompact, Parameters: parameters, IdempotencyKey: key, MaxRetries: 3, User: user,
	}
}

// UserCleanupParameters name the dropped account whose rows a job of type JobTypeUserCleanup removes.
type UserCleanupParameters struct {
	User          string `json:"user_id"`
	DeletedMicros int64  `json:"deleted_micros"`
}

// userCleanupKey is the idempotency key of the job that removes the rows of an account.
func userCleanupKey(user string) string {
	sum := sha256.Sum256([]byte(user)) // an id may be longer than a key
	return "user_cleanup:" + hex.EncodeToString(sum[:16])
}

// NewUserCleanupJob is the job that removes the rows of a dropped account, and then the account. It never gives up.
func NewUserCleanupJob(user string, deletedMicros int64) *commandv1.Job {
	parameters, err := json.Marshal(UserCleanupParameters{User: user, DeletedMicros: deletedMicros})
	invariant.Check(err == nil, "the parameters of a job cannot be written")
	return &commandv1.Job{
		Type: JobTypeUserCleanup, IdPrefix: "UC", Parameters: string(parameters), IdempotencyKey: userCleanupKey(user),
		MaxRetries: catalog.UnlimitedRetries,
	}
}

// cleanupJob makes the job of a table that is dropped, if it has none.
func (c *metaCall) cleanupJob(table uint64) (*commandv1.Job, error) {
	return c.ownJob(NewCleanupJob(table))
}

// ownJob makes a job that the cluster owes itself, if there is none.
func (c *metaCall) ownJob(wanted *commandv1.Job) (*commandv1.Job, error) {
	existing, err := c.liveJobOf(wanted.GetIdempotencyKey())
	if err != nil {
		return nil, err
	}
	if existing != 0 {
		job, _, err := catalog.LoadJob(c.batch, existing)
		return job, err
	}
	return c.addJob(wanted)
}

func (c *metaCall) createSchedule(body *commandv1.CreateSchedule) (*commandv1.Response, error) {
	s := body.GetSchedule()
	switch {
	case s.GetName() == "" || len(s.GetName()) > 128:
		return command.Refuse(fault.InvalidStatement, "the schedule has no usable name"), nil
	case (s.GetEvery() == "") == (s.GetCron() == ""):
		return command.Refuse(fault.InvalidStatement, "a schedule has an interval or a cron text"), nil
	case s.GetStatement() == "" || s.GetUser() == "" || s.GetNextMicros() <= 0:
		return command.Refuse(fault.InvalidStatement, "a schedule has a statement, a user and a next time"), nil
	case len(s.GetStatement()) > catalog.MaxJobText/2:
		return command.Refuse(fault.LimitExceeded, "the statement of a schedule has at most %d bytes", catalog.MaxJobText/2), nil
	}
	existing, err := catalog.LoadSchedule(c.batch, s.GetName())
	if err != nil {
		return nil, err
	}
	if existing != nil {
		if body.GetIfNotExists() {
			return done("Schedule '%s' already exists", s.GetName()), nil
		}
		return command.Refuse(fault.AlreadyExists, "Schedule '%s' already exists", s.GetName()), nil
	}
	count, err := catalog.LoadSequence(c.batch, catalog.SequenceSchedules)
	if err != nil {
		return nil, err
	}
	if count >= catalog.MaxSchedules {
		return command.Refuse(fault.LimitExceeded, "there are %d schedules; no more are taken", count), nil
	}
	if _, err := c.add(catalog.SequenceSchedules, 1); err != nil {
		return nil, err
	}
	s.CreatedMicros, s.UpdatedMicros, s.LastMicros, s.LastJob, s.Skipped = c.now, c.now, 0, 0, 0
	return done("Schedule '%s' created successfully", s.GetName()), c.put(keys.Schedule(s.GetName()), s)
}

// schedule returns a schedule that must exist.
func (c *metaCall) schedule(name string) (s *commandv1.Schedule, refused *commandv1.Response, err error) {
	s, err = catalog.LoadSchedule(c.batch, name)
	if err == nil && s == nil {
		refused = command.Refuse(fault.NotFound, "Schedule '%s' not found", name)
	}
	return s, refused, err
}

func (c *metaCall) alterSchedule(body *commandv1.AlterSchedule) (*commandv1.Response, error) {
	s, refused, err := c.schedule(body.GetName())
	if refused != nil || err != nil {
		return refused, err
	}
	if (body.Every != nil || body.Cron != nil || body.TimeZone != nil) && body.NextMicros == nil {
		return command.Refuse(fault.InvalidStatement, "a new recurrence comes with its next time"), nil
	}
	switch {
	case body.Every != nil:
		s.Every, s.Cron = body.GetEvery(), ""
	case body.Cron != nil:
		s.Every, s.Cron = "", body.GetCron()
	}
	if body.TimeZone != nil {
		s.TimeZone = body.GetTimeZone()
	}
	if body.Paused != nil {
		s.Paused = body.GetPaused()
	}
	if body.NextMicros != nil {
		s.NextMicros = body.GetNextMicros()
	}
	s.UpdatedMicros = c.now
	return done("Schedule '%s' altered successfully", s.GetName()), c.put(keys.Schedule(s.GetName()), s)
}

func (c *metaCall) dropSchedule(body *commandv1.DropSchedule) (*commandv1.Response, error) {
	_, refused, err := c.schedule(body.GetName())
	if err != nil {
		return nil, err
	}
	if refused != nil {
		if body.GetIfExists() {
			return done("Schedule '%s' does not exist", body.GetName()), nil
		}
		return refused, nil
	}
	if _, err := c.add(catalog.SequenceSchedules, -1); err != nil {
		return nil, err
	}
	return done("Schedule '%s' dropped successfully", body.GetName()), c.batch.Delete(keys.Schedule(body.GetName()))
}

// fireSchedule uses up one due time: it makes the job, or counts the time as skipped.
func (c *metaCall) fireSchedule(body *commandv1.FireSchedule) (*commandv1.Response, error) {
	s, refused, err := c.schedule(body.GetName())
	if refused != nil || err != nil {
		return refused, err
	}
	switch {
	case s.GetPaused():
		return command.Refuse(fault.Conflict, "schedule '%s' is paused", s.GetName()), nil
	case s.GetNextMicros() != body.GetExpectedMicros():
		return command.Refuse(fault.Conflict, "schedule '%s' waits for %d, not %d", s.GetName(), s.GetNextMicros(), body.GetExpectedMicros()), nil
	case s.GetNextMicros() > c.now:
		return command.Refuse(fault.Conflict, "schedule '%s' is not due yet", s.GetName()), nil
	case body.GetNextMicros() <= s.GetNextMicros():
		return command.Refuse(fault.InvalidStatement, "the next time of schedule '%s' does not move on", s.GetName()), nil
	}
	wanted, err := scheduledJob(s)
	if err != nil {
		return nil, err
	}
	running, err := c.liveJobOf(wanted.GetIdempotencyKey())
	if err != nil {
		return nil, err
	}
	full, err := c.jobsFull()
	if err != nil {
		return nil, err
	}
	s.NextMicros, s.UpdatedMicros = body.GetNextMicros(), c.now
	if body.GetSkip() || running != 0 || full {
		s.Skipped++
		return done("Schedule '%s' skipped", s.GetName()), c.put(keys.Schedule(s.GetName()), s)
	}
	job, err := c.addJob(wanted)
	if err != nil {
		return nil, err
	}
	s.LastMicros, s.LastJob = c.now, job.GetNumber()
	response := done("Schedule '%s' started job %s", s.GetName(), catalog.JobID(job))
	response.ObjectId = job.GetNumber()
	return response, c.put(keys.Schedule(s.GetName()), s)
}

// scheduledJob is the job of one due time. It is tried once: a statement that may have run is not repeated.
func scheduledJob(s *commandv1.Schedule) (*commandv1.Job, error) {
	parameters, err := json.Marshal(StatementParameters{Schedule: s.GetName(), Statement: s.GetStatement(), Namespace: s.GetNamespace()})
	if err != nil {
		return nil, fmt.Errorf("job of schedule %s: %w", s.GetName(), err)
	}
	job := &commandv1.Job{Type: JobTypeStatement, IdPrefix: catalog.SchedulePrefix, Parameters: string(parameters), User: s.GetUser()}
	if !s.GetOverlap() {
		job.IdempotencyKey = "schedule:" + s.GetName()
	}
	return job, nil
}
