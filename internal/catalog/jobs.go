package catalog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Jobs and schedules are records of the meta group like those of the catalog, but no part of its picture: a
// running job changes every few seconds, and readers of tables should not pay for that. They are read from
// the keys, which bounds keep few: MaxLiveJobs, MaxDoneJobs and MaxSchedules.

// JobState is where a job stands.
type JobState uint32

// The states of jobs. The numbers are part of the disk format.
const (
	JobNew       JobState = iota // created, not due yet
	JobQueued                    // waits for a node
	JobRunning                   // claimed by a node
	JobRetrying                  // failed, and is tried again when it is due
	JobCompleted                 // ended: done
	JobFailed                    // ended: no tries are left
	JobCancelled                 // ended: killed
	JobSkipped                   // ended: there was nothing to do
)

// Bounds of what is kept. A job or schedule over its bound is refused; a finished job over its bound makes
// the oldest finished one be forgotten.
const (
	MaxLiveJobs  = 1024
	MaxDoneJobs  = 1024
	MaxSchedules = 256
	MaxJobRuns   = 8       // runs that a job's record keeps
	MaxJobText   = 1 << 13 // bytes of each text in a job's record
)

// UnlimitedRetries as max_retries keeps a job alive until it succeeds or is killed.
const UnlimitedRetries = 1<<32 - 1

// Names of the sequences of jobs.
const (
	SequenceJob       = "job"       // the last job number
	SequenceJobToken  = "job_token" // the last fencing token
	SequenceJobTerm   = "job_term"  // the highest term that claimed a job
	SequenceLiveJobs  = "jobs_live" // how many jobs have not ended
	SequenceDoneJobs  = "jobs_done" // how many ended jobs are kept
	SequenceSchedules = "schedules" // how many schedules there are
)

// String prints the state as views spell it.
func (s JobState) String() string {
	names := [...]string{"new", "queued", "running", "retrying", "completed", "failed", "cancelled", "skipped"}
	if int(s) < len(names) {
		return names[s]
	}
	return "unknown"
}

// Ended reports whether the job will never run again.
func (s JobState) Ended() bool { return s >= JobCompleted }

// JobID is the name of a job in SQL.
func JobID(job *commandv1.Job) string {
	return job.GetIdPrefix() + "-" + strconv.FormatUint(job.GetNumber(), 10)
}

// SchedulePrefix is the prefix of the jobs that schedules make.
const SchedulePrefix = "SC"

// ScheduledJobID is the name of a job that a schedule made.
func ScheduledJobID(number uint64) string {
	return JobID(&commandv1.Job{IdPrefix: SchedulePrefix, Number: number})
}

// ParseJobID takes an id apart; ok is false when it cannot be one.
func ParseJobID(id string) (prefix string, number uint64, ok bool) {
	prefix, digits, found := strings.Cut(id, "-")
	number, err := strconv.ParseUint(digits, 10, 64)
	return prefix, number, found && err == nil && number > 0
}

// LoadJob returns the record of a job, nil when there is none. Done says that it has ended.
func LoadJob(reader storage.Reader, number uint64) (job *commandv1.Job, done bool, err error) {
	for _, place := range []struct {
		key  []byte
		done bool
	}{{keys.Job(number), false}, {keys.JobDone(number), true}} {
		job = &commandv1.Job{}
		found, err := loadOne(reader, place.key, job)
		if err != nil {
			return nil, false, fmt.Errorf("job %d: %w", number, err)
		}
		if found {
			return job, place.done, nil
		}
	}
	return nil, false, nil
}

// LoadLiveJobs returns the jobs that have not ended, in the order of their numbers.
func LoadLiveJobs(reader storage.Reader) ([]*commandv1.Job, error) {
	return loadKind(reader, keys.KindJob, same[*commandv1.Job], func(j *commandv1.Job) []byte { return keys.Job(j.GetNumber()) })
}

// LoadDoneJobs returns the jobs that have ended and are still kept, in the order of their numbers.
func LoadDoneJobs(reader storage.Reader) ([]*commandv1.Job, error) {
	return loadKind(reader, keys.KindJobDone, same[*commandv1.Job], func(j *commandv1.Job) []byte { return keys.JobDone(j.GetNumber()) })
}

// LoadSchedule returns a schedule, nil when there is none of that name.
func LoadSchedule(reader storage.Reader, name string) (*commandv1.Schedule, error) {
	schedule := &commandv1.Schedule{}
	found, err := loadOne(reader, keys.Schedule(name), schedule)
	if err != nil {
		return nil, fmt.Errorf("schedule %s: %w", name, err)
	}
	if !found {
		return nil, nil //nolint:nilnil // documented: nil is an answer
	}
	return schedule, nil
}

// LoadSchedules returns all schedules by name.
func LoadSchedules(reader storage.Reader) ([]*commandv1.Schedule, error) {
	return loadKind(reader, keys.KindSchedule, same[*commandv1.Schedule], func(s *commandv1.Schedule) []byte { return keys.Schedule(s.GetName()) })
}

func same[M any](record M) (M, error) { return record, nil }

func loadOne(reader storage.Reader, key []byte, record proto.Message) (found bool, err error) {
	value, ok, err := reader.Get(key)
	if err != nil || !ok {
		return false, err
	}
	if err := unmarshal(value, record); err != nil {
		return false, errors.Join(storage.ErrCorruption, err)
	}
	return true, nil
}
