package statemachine

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// parseJobCommand reads, as parseCommand does:
//
//	create-job type=t [key=k] [retries=N] [leader-only] [only=N] [at=N]   claim job=N node=N term=N hold=N [leader]
//	heartbeat | complete | fail | release | skip job=N token=N node=N term=N [percent=N hold=N retry=N final text=t]
//	kill id=CL-N       expire      evict before=N
//	create-schedule name=n next=N [every=t | cron=t] [overlap] [if-not-exists]   alter-schedule name=n [every=t] [next=N] [paused=N]
//	drop-schedule name=n [if-exists]       fire name=n expected=N next=N [skip]
func parseJobCommand(t *testing.T, word string, f fields) *commandv1.Command {
	t.Helper()
	claim := &commandv1.JobClaim{Number: f.number("job"), Token: f.number("token"), NodeId: f.number("node"), Term: f.number("term")}
	hold, text := int64(f.number("hold")), f.text("text")
	switch word {
	case "create-job":
		return &commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{Job: &commandv1.Job{
			Number: 999, Type: f.text("type"), IdPrefix: "JB", IdempotencyKey: f.text("key"), MaxRetries: uint32(f.number("retries")),
			LeaderOnly: f.flag("leader-only"), OnlyNode: f.number("only"), NotBeforeMicros: int64(f.number("at")),
		}}}}
	case "claim":
		return &commandv1.Command{Body: &commandv1.Command_ClaimJob{ClaimJob: &commandv1.ClaimJob{
			Number: f.number("job"), NodeId: f.number("node"), Term: f.number("term"), Leader: f.flag("leader"), HoldMicros: hold,
		}}}
	case "heartbeat":
		return &commandv1.Command{Body: &commandv1.Command_HeartbeatJob{HeartbeatJob: &commandv1.HeartbeatJob{
			Claim: claim, Percent: uint32(f.number("percent")), Message: text, HoldMicros: hold,
		}}}
	case "complete":
		return &commandv1.Command{Body: &commandv1.Command_CompleteJob{CompleteJob: &commandv1.CompleteJob{Claim: claim, Message: text}}}
	case "skip":
		return &commandv1.Command{Body: &commandv1.Command_SkipJob{SkipJob: &commandv1.SkipJob{Claim: claim, Message: text}}}
	case "release":
		return &commandv1.Command{Body: &commandv1.Command_ReleaseJob{ReleaseJob: &commandv1.ReleaseJob{Claim: claim}}}
	case "fail":
		return &commandv1.Command{Body: &commandv1.Command_FailJob{FailJob: &commandv1.FailJob{
			Claim: claim, Error: text, RetryAtMicros: int64(f.number("retry")), Final: f.flag("final"),
		}}}
	case "kill":
		return &commandv1.Command{Body: &commandv1.Command_CancelJob{CancelJob: &commandv1.CancelJob{Id: f.text("id")}}}
	case "expire":
		return &commandv1.Command{Body: &commandv1.Command_ExpireClaims{ExpireClaims: &commandv1.ExpireClaims{}}}
	case "evict":
		return &commandv1.Command{Body: &commandv1.Command_EvictJobs{EvictJobs: &commandv1.EvictJobs{BeforeMicros: int64(f.number("before"))}}}
	}
	return parseScheduleCommand(t, word, f)
}

func parseScheduleCommand(t *testing.T, word string, f fields) *commandv1.Command {
	t.Helper()
	switch word {
	case "create-schedule":
		return &commandv1.Command{Body: &commandv1.Command_CreateSchedule{CreateSchedule: &commandv1.CreateSchedule{
			Schedule: &commandv1.Schedule{
				Name: f.text("name"), Every: f.text("every"), Cron: f.text("cron"), Statement: "SELECT 1", User: "alice",
				NextMicros: int64(f.number("next")), Overlap: f.flag("overlap"),
			},
			IfNotExists: f.flag("if-not-exists"),
		}}}
	case "alter-schedule":
		body := &commandv1.AlterSchedule{Name: f.text("name")}
		if every := f.text("every"); every != "" {
			body.Every = &every
		}
		if f.text("next") != "" {
			body.NextMicros = new(int64(f.number("next")))
		}
		if f.text("paused") != "" {
			body.Paused = new(f.number("paused") == 1)
		}
		return &commandv1.Command{Body: &commandv1.Command_AlterSchedule{AlterSchedule: body}}
	case "drop-schedule":
		return &commandv1.Command{Body: &commandv1.Command_DropSchedule{DropSchedule: &commandv1.DropSchedule{
			Name: f.text("name"), IfExists: f.flag("if-exists"),
		}}}
	case "fire":
		return &commandv1.Command{Body: &commandv1.Command_FireSchedule{FireSchedule: &commandv1.FireSchedule{
			Name: f.text("name"), ExpectedMicros: int64(f.number("expected")), NextMicros: int64(f.number("next")), Skip: f.flag("skip"),
		}}}
	}
	t.Fatalf("unknown entry %s", word)
	return nil
}

// jobSummary prints the records of jobs and schedules.
func jobSummary(t *testing.T, reader storage.Reader) string {
	t.Helper()
	live, err := catalog.LoadLiveJobs(reader)
	must(t, err)
	ended, err := catalog.LoadDoneJobs(reader)
	must(t, err)
	schedules, err := catalog.LoadSchedules(reader)
	must(t, err)
	var out strings.Builder
	for _, job := range append(live, ended...) {
		fmt.Fprintf(&out, "%s %s: %s", catalog.JobID(job), job.GetType(), catalog.JobState(job.GetState()))
		if claim := job.GetClaim(); claim != nil {
			fmt.Fprintf(&out, " on node %d, token %d, until %d", claim.GetNodeId(), claim.GetToken(), claim.GetUntilMicros())
		}
		fmt.Fprintf(&out, ", %d%% %q, retries %d, error %q\n", job.GetPercent(), job.GetMessage(), job.GetRetries(), job.GetError())
		for _, run := range job.GetRuns() {
			fmt.Fprintf(&out, "  node %d token %d: %s %q\n", run.GetNodeId(), run.GetToken(), catalog.JobState(run.GetState()), run.GetError())
		}
	}
	for _, s := range schedules {
		fmt.Fprintf(&out, "schedule %s: every %q cron %q next %d last %d job %d skipped %d paused %v\n",
			s.GetName(), s.GetEvery(), s.GetCron(), s.GetNextMicros(), s.GetLastMicros(), s.GetLastJob(), s.GetSkipped(), s.GetPaused())
	}
	return out.String()
}

// randomJobCommand makes commands about few jobs with few tokens, so that right and stale claims both occur.
func randomJobCommand(random *rand.Rand, index uint64) *commandv1.Command {
	now := int64(1_000_000 + index) // as the header of a random log says
	claim := &commandv1.JobClaim{
		Number: uint64(1 + random.IntN(20)), Token: uint64(1 + random.IntN(20)), NodeId: uint64(1 + random.IntN(2)), Term: 1,
	}
	name := fmt.Sprint("s", random.IntN(3))
	switch random.IntN(12) {
	case 0, 1:
		return &commandv1.Command{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{Job: &commandv1.Job{
			Type: "t", IdPrefix: "JB", IdempotencyKey: fmt.Sprint("k", random.IntN(5)), MaxRetries: uint32(random.IntN(3)),
			NotBeforeMicros: now + int64(random.IntN(40)) - 20,
		}}}}
	case 2, 3:
		return &commandv1.Command{Body: &commandv1.Command_ClaimJob{ClaimJob: &commandv1.ClaimJob{
			Number: claim.GetNumber(), NodeId: claim.GetNodeId(), Term: 1, HoldMicros: int64(1 + random.IntN(300)),
		}}}
	case 4:
		return &commandv1.Command{Body: &commandv1.Command_HeartbeatJob{HeartbeatJob: &commandv1.HeartbeatJob{Claim: claim, Percent: 5, HoldMicros: 50}}}
	case 5:
		return &commandv1.Command{Body: &commandv1.Command_CompleteJob{CompleteJob: &commandv1.CompleteJob{Claim: claim}}}
	case 6:
		return &commandv1.Command{Body: &commandv1.Command_FailJob{FailJob: &commandv1.FailJob{Claim: claim, Error: "e", RetryAtMicros: now}}}
	case 7:
		return &commandv1.Command{Body: &commandv1.Command_CancelJob{CancelJob: &commandv1.CancelJob{Id: fmt.Sprint("JB-", claim.GetNumber())}}}
	case 8:
		return &commandv1.Command{Body: &commandv1.Command_ExpireClaims{ExpireClaims: &commandv1.ExpireClaims{}}}
	case 9:
		return &commandv1.Command{Body: &commandv1.Command_EvictJobs{EvictJobs: &commandv1.EvictJobs{BeforeMicros: now - 100}}}
	case 10:
		return &commandv1.Command{Body: &commandv1.Command_CreateSchedule{CreateSchedule: &commandv1.CreateSchedule{
			Schedule: &commandv1.Schedule{Name: name, Every: "1s", Statement: "SELECT 1", User: "u", NextMicros: now},
		}}}
	}
	return &commandv1.Command{Body: &commandv1.Command_FireSchedule{FireSchedule: &commandv1.FireSchedule{
		Name: name, ExpectedMicros: now - int64(random.IntN(10)), NextMicros: now + 1,
	}}}
}
