package table

import (
	"context"
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// jobViews declares the views of jobs and schedules.
func jobViews() []viewDefinition {
	return []viewDefinition{
		{SystemNamespace, "job_nodes", (*System).jobNodesRows, []viewColumn{
			text("job_id"), bigInt("node_id"), text("status"), orNull(text("error_message")), timestamp("created_at"),
			orNull(timestamp("started_at")), orNull(timestamp("finished_at")), timestamp("updated_at"),
		}},
		{SystemNamespace, "jobs", (*System).jobsRows, []viewColumn{
			text("job_id"), text("job_type"), text("status"), orNull(text("leader_status")), orNull(jsonText("parameters")),
			orNull(text("message")), orNull(text("exception_trace")), orNull(text("idempotency_key")), orNull(text("queue")),
			orNull(integer("priority")), smallInt("retry_count"), smallInt("max_retries"), orNull(bigInt("memory_used")),
			orNull(bigInt("cpu_used")), timestamp("created_at"), timestamp("updated_at"), orNull(timestamp("started_at")),
			orNull(timestamp("finished_at")), bigInt("node_id"), orNull(bigInt("leader_node_id")), integer("progress_percent"),
		}},
		{SystemNamespace, "backups", (*System).backupsRows, []viewColumn{
			text("name"), text("location"), text("job_id"), bigInt("node_id"), bigInt("row_count"), bigInt("total_bytes"), bigInt("written_bytes"),
			timestamp("started_at"), timestamp("finished_at"),
		}},
		{SystemNamespace, "exports", (*System).exportsRows, []viewColumn{
			text("job_id"), text("user_id"), text("status"), timestamp("created_at"), orNull(text("message")), orNull(text("download_url")),
			orNull(timestamp("expires_at")), orNull(bigInt("size_bytes")), orNull(bigInt("row_count")), orNull(bigInt("node_id")), orNull(text("sha256")),
		}},
		{SystemNamespace, "schedules", (*System).schedulesRows, []viewColumn{
			text("schedule_name"), orNull(text("every")), orNull(text("cron")), text("time_zone"), text("statement"), text("user_id"),
			text("overlap"), text("misfire"), boolean("paused"), orNull(timestamp("next_run")), orNull(timestamp("last_run")),
			orNull(text("last_job_id")), bigInt("skipped"), timestamp("created_at"), timestamp("updated_at"),
		}},
	}
}

// allJobs reads the live and the ended jobs of one moment.
func (r *ViewRequest) allJobs() (jobs []*commandv1.Job, err error) {
	err = r.read(func(reader storage.Reader) error {
		live, failure := catalog.LoadLiveJobs(reader)
		if failure != nil {
			return failure
		}
		ended, failure := catalog.LoadDoneJobs(reader)
		jobs = append(live, ended...)
		return failure
	})
	return jobs, err
}

func (r *ViewRequest) read(use func(reader storage.Reader) error) error {
	snapshot := r.Snapshot()
	return errors.Join(use(snapshot), snapshot.Close())
}

// backupsRows lists the newest backup last. A node id of zero says that every node reaches the location.
func (*System) backupsRows(_ context.Context, request *ViewRequest) (rows [][]datum.Datum, err error) {
	err = request.read(func(reader storage.Reader) error {
		backups, failure := catalog.LoadBackups(reader)
		for _, b := range backups {
			rows = append(rows, []datum.Datum{
				textValue(b.GetName()), textValue(b.GetLocation()), textValue(catalog.JobID(&commandv1.Job{IdPrefix: "BK", Number: b.GetJob()})),
				number(b.GetNodeId()), number(b.GetRows()), number(b.GetTotalBytes()), number(b.GetWrittenBytes()),
				moment(b.GetStartedMicros()), moment(b.GetFinishedMicros()),
			})
		}
		return failure
	})
	return rows, err
}

// exportsRows lists the newest export last. Those without a file to download have no download_url.
func (*System) exportsRows(_ context.Context, request *ViewRequest) (rows [][]datum.Datum, err error) {
	err = request.read(func(reader storage.Reader) error {
		exports, failure := catalog.LoadExports(reader, request.Catalog)
		for _, e := range exports {
			row := []datum.Datum{
				textValue(catalog.JobID(e.Job)), textValue(e.Job.GetUser()), textValue(catalog.JobState(e.Job.GetState()).String()),
				moment(e.Job.GetCreatedMicros()), optionalText(e.Job.GetMessage()),
				{},
				{},
				{},
				{},
				{},
				{},
			}
			if r := e.Result; r != nil {
				row = append(row[:5], textValue(catalog.ExportURL(&e)), moment(r.ExpiresMicros), number(uint64(r.Bytes)), number(uint64(r.Rows)), //nolint:gosec // counts
					number(uint64(r.Node)), textValue(r.SHA256))
			}
			rows = append(rows, row)
		}
		return failure
	})
	return rows, err
}

func (s *System) jobsRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	jobs, err := request.allJobs()
	if err != nil {
		return nil, err
	}
	rows := make([][]datum.Datum, 0, len(jobs))
	for _, job := range jobs {
		node := number(0) // no node has run it yet
		if runs := job.GetRuns(); len(runs) > 0 {
			node = number(runs[len(runs)-1].GetNodeId())
		}
		parameters := datum.Datum{}
		if job.GetParameters() != "" {
			parameters = datum.NewString(datum.JSON, job.GetParameters())
		}
		rows = append(rows, []datum.Datum{
			textValue(catalog.JobID(job)), textValue(job.GetType()), textValue(catalog.JobState(job.GetState()).String()),
			{},
			parameters, optionalText(job.GetMessage()), optionalText(job.GetError()), optionalText(job.GetIdempotencyKey()),
			{},
			{},
			smaller(job.GetRetries()), smaller(job.GetMaxRetries()),
			{},
			{},
			instant(job.GetCreatedMicros()), instant(job.GetUpdatedMicros()), instant(job.GetStartedMicros()),
			instant(job.GetFinishedMicros()), node,
			{},
			small(job.GetPercent()),
		})
	}
	return rows, nil
}

func (s *System) jobNodesRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	jobs, err := request.allJobs()
	if err != nil {
		return nil, err
	}
	var rows [][]datum.Datum
	for _, job := range jobs {
		for _, run := range job.GetRuns() {
			rows = append(rows, []datum.Datum{
				textValue(catalog.JobID(job)), number(run.GetNodeId()), textValue(catalog.JobState(run.GetState()).String()),
				optionalText(run.GetError()), instant(job.GetCreatedMicros()), instant(run.GetStartedMicros()),
				instant(run.GetFinishedMicros()), instant(run.GetUpdatedMicros()),
			})
		}
	}
	return rows, nil
}

func (s *System) schedulesRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	err := request.read(func(reader storage.Reader) error {
		schedules, err := catalog.LoadSchedules(reader)
		for _, schedule := range schedules {
			rows = append(rows, scheduleRow(schedule))
		}
		return err
	})
	return rows, err
}

func scheduleRow(schedule *commandv1.Schedule) []datum.Datum {
	zone, overlap, misfire, job := "UTC", "skip", "skip", datum.Datum{}
	if schedule.GetTimeZone() != "" {
		zone = schedule.GetTimeZone()
	}
	if schedule.GetOverlap() {
		overlap = "allow"
	}
	if schedule.GetCatchUp() {
		misfire = "run"
	}
	if schedule.GetLastJob() != 0 {
		job = textValue(catalog.ScheduledJobID(schedule.GetLastJob()))
	}
	return []datum.Datum{
		textValue(schedule.GetName()), optionalText(schedule.GetEvery()), optionalText(schedule.GetCron()), textValue(zone),
		textValue(schedule.GetStatement()), textValue(schedule.GetUser()), textValue(overlap), textValue(misfire),
		datum.NewBool(schedule.GetPaused()), instant(schedule.GetNextMicros()), instant(schedule.GetLastMicros()), job,
		number(schedule.GetSkipped()), instant(schedule.GetCreatedMicros()), instant(schedule.GetUpdatedMicros()),
	}
}
