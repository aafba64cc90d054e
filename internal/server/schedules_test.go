package server

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestSchedulesTellTheirTimes makes schedules of jobs and looks when they are due, in the time of their zone, and when they ran.
func TestSchedulesTellTheirTimes(t *testing.T) {
	t.Parallel()
	_, root := oneNode(t, withShards(1, 1))
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY)")
	times := func(name string) (next, last string) {
		t.Helper()
		next, last, _ = strings.Cut(root.grid("SELECT next_run, last_run FROM system.schedules WHERE schedule_name = '"+name+"'"), "|")
		return next, last
	}
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	noon := func(after time.Time) string { // no zone skips it, or has it twice
		local := after.In(zone)
		at := time.Date(local.Year(), local.Month(), local.Day(), 12, 30, 0, 0, zone)
		if !at.After(after) {
			at = time.Date(local.Year(), local.Month(), local.Day()+1, 12, 30, 0, 0, zone)
		}
		return strconv.FormatInt(at.UnixMicro(), 10)
	}
	before := noon(time.Now())
	root.sql("CREATE SCHEDULE daily CRON '30 12 * * *' TIME ZONE 'Europe/Berlin' OVERLAP ALLOW MISFIRE RUN DO STORAGE FLUSH ALL")
	next, last := times("daily")
	if after := noon(time.Now()); next != before && next != after || last != "null" {
		t.Errorf("it is due at %s and ran at %s, want %s or %s, and never", next, last, before, after)
	}
	if got := root.grid("SELECT cron, time_zone, overlap, misfire FROM system.schedules WHERE schedule_name = 'daily'"); got != "30 12 * * *|Europe/Berlin|allow|run" {
		t.Errorf("it is told as %s", got)
	}
	root.sql("ALTER SCHEDULE daily SET EVERY '36 hours'")
	if altered, _ := times("daily"); altered == next {
		t.Errorf("an altered schedule is due at %s still", altered)
	}
	root.sql("INSERT INTO app.t VALUES (1)")
	root.sql("CREATE SCHEDULE often EVERY '1 second' DO STORAGE FLUSH TABLE app.t")
	within(t, "the job of the schedule has flushed the table", func() bool {
		return root.grid("SELECT count(*) FROM system.jobs WHERE job_type = 'flush' AND status = 'completed'") != "0"
	})
	next, last = times("often")
	from, err := strconv.ParseInt(last, 10, 64)
	if err != nil {
		t.Fatalf("it ran at %q: %v", last, err)
	}
	if to, err := strconv.ParseInt(next, 10, 64); err != nil || to <= from {
		t.Errorf("it ran at %s and is due at %s: %v", last, next, err)
	}
	root.sql("ALTER SCHEDULE often PAUSE")
	if got := root.grid("SELECT paused FROM system.schedules WHERE schedule_name = 'often'"); got != "true" {
		t.Errorf("a paused schedule is told as %s", got)
	}
	root.sql("DROP SCHEDULE often")
	if got := root.grid("SHOW SCHEDULES"); strings.Contains(got, "often") || !strings.Contains(got, "daily") {
		t.Errorf("after DROP SCHEDULE: %s", got)
	}
}

// TestProgressIsSeenWhileAJobRuns reads how far a job is that has not ended, as its heartbeats say, and kills it.
func TestProgressIsSeenWhileAJobRuns(t *testing.T) {
	t.Parallel()
	n, root := oneNode(t, withShards(1, 1))
	execute := func(cmd *commandv1.Command) uint64 {
		t.Helper()
		response, err := n.exec.Execute(t.Context(), shard.Meta, cmd)
		if err != nil {
			t.Fatal(err)
		}
		return response.GetObjectId()
	}
	number := execute(&commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{
		Job: &commandv1.Job{Type: "a kind that no node runs", IdPrefix: "XX"},
	}}})
	execute(&commandv1.Command{Body: &commandv1.Command_ClaimJob{ClaimJob: &commandv1.ClaimJob{Number: number, NodeId: 1, Term: 1 << 40, HoldMicros: 1 << 40}}})
	job, _, err := catalog.LoadJob(n.store, number)
	if err != nil {
		t.Fatal(err)
	}
	const seen = "SELECT status, progress_percent, message, finished_at FROM system.jobs WHERE job_type = 'a kind that no node runs'"
	for percent, text := range map[uint32]string{30: "three of ten", 70: "seven of ten"} {
		execute(&commandv1.Command{Body: &commandv1.Command_HeartbeatJob{HeartbeatJob: &commandv1.HeartbeatJob{
			Claim: job.GetClaim(), HoldMicros: 1 << 40, Percent: percent, Message: text,
		}}})
		if got, want := root.grid(seen), "running|"+strconv.Itoa(int(percent))+"|"+text+"|null"; got != want {
			t.Errorf("the job is %s, want %s", got, want)
		}
	}
	root.sql("KILL JOB '" + catalog.JobID(job) + "'")
	if got := root.grid(seen); !strings.HasPrefix(got, "cancelled|") || strings.HasSuffix(got, "|null") {
		t.Errorf("after KILL JOB it is %s", got)
	}
}
