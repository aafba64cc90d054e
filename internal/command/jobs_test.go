package command

import (
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// jobExamples has every command about jobs and schedules once.
func jobExamples() []*commandv1.Command {
	claim := &commandv1.JobClaim{Number: 3, Token: 9, NodeId: 7, Term: 4, UntilMicros: 50}
	job := &commandv1.Job{
		Number: 3, Type: "cleanup", State: 2, Parameters: "{}", IdempotencyKey: "cleanup:17", User: "alice", MaxRetries: 3,
		LeaderOnly: true, OnlyNode: 7, NotBeforeMicros: 40, Retries: 1, Percent: 50, Message: "half", Error: "e", Claim: claim,
		Runs: []*commandv1.JobRun{{
			NodeId: 7, Token: 9, State: 2, Error: "e", StartedMicros: 1, UpdatedMicros: 2, FinishedMicros: 3,
		}},
		CreatedMicros: 1, UpdatedMicros: 2, StartedMicros: 3, FinishedMicros: 4, IdPrefix: "CL",
	}
	schedule := &commandv1.Schedule{
		Name: "nightly", Every: "1 hour", Cron: "0 2 * * *", TimeZone: "Europe/Berlin", Statement: "DELETE FROM t WHERE id < 3",
		Namespace: "app", User: "alice", Overlap: true, CatchUp: true, Paused: true, NextMicros: 1, LastMicros: 2, LastJob: 3,
		Skipped: 4, CreatedMicros: 5, UpdatedMicros: 6,
	}
	return []*commandv1.Command{
		{Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{Job: job}}},
		{Body: &commandv1.Command_ClaimJob{ClaimJob: &commandv1.ClaimJob{Number: 3, NodeId: 7, Term: 4, Leader: true, HoldMicros: 30}}},
		{Body: &commandv1.Command_HeartbeatJob{HeartbeatJob: &commandv1.HeartbeatJob{
			Claim: claim, Percent: 50, Message: "half", HoldMicros: 30,
		}}},
		{Body: &commandv1.Command_ReleaseJob{ReleaseJob: &commandv1.ReleaseJob{Claim: claim}}},
		{Body: &commandv1.Command_CompleteJob{CompleteJob: &commandv1.CompleteJob{Claim: claim, Message: "done"}}},
		{Body: &commandv1.Command_FailJob{FailJob: &commandv1.FailJob{Claim: claim, Error: "e", RetryAtMicros: 60, Final: true}}},
		{Body: &commandv1.Command_CancelJob{CancelJob: &commandv1.CancelJob{Id: "CL-3"}}},
		{Body: &commandv1.Command_SkipJob{SkipJob: &commandv1.SkipJob{Claim: claim, Message: "nothing to do"}}},
		{Body: &commandv1.Command_ExpireClaims{ExpireClaims: &commandv1.ExpireClaims{}}},
		{Body: &commandv1.Command_EvictJobs{EvictJobs: &commandv1.EvictJobs{BeforeMicros: 60}}},
		{Body: &commandv1.Command_CreateSchedule{CreateSchedule: &commandv1.CreateSchedule{Schedule: schedule, IfNotExists: true}}},
		{Body: &commandv1.Command_AlterSchedule{AlterSchedule: &commandv1.AlterSchedule{
			Name: "nightly", Every: new("2 hours"), Cron: new("0 3 * * *"), TimeZone: new("UTC"), Paused: new(true), NextMicros: new(int64(7)),
		}}},
		{Body: &commandv1.Command_DropSchedule{DropSchedule: &commandv1.DropSchedule{Name: "nightly", IfExists: true}}},
		{Body: &commandv1.Command_FireSchedule{FireSchedule: &commandv1.FireSchedule{
			Name: "nightly", ExpectedMicros: 1, NextMicros: 2, Skip: true,
		}}},
	}
}

// resultExamples has jobs that leave a result.
func resultExamples() []*commandv1.Command {
	return []*commandv1.Command{{Header: header(), Body: &commandv1.Command_CompleteJob{CompleteJob: &commandv1.CompleteJob{
		Claim: &commandv1.JobClaim{Number: 3, Token: 9, NodeId: 7, Term: 4}, Message: "done", Result: `{"rows":1}`,
	}}}}
}

// restoreExample names the job that restores.
func restoreExample() *commandv1.Command {
	return &commandv1.Command{Header: header(), Body: &commandv1.Command_RestoreCatalog{RestoreCatalog: &commandv1.RestoreCatalog{
		Backup: "uid/20260102T030405.000000Z", Finish: true, Job: 9,
	}}}
}

// retentionExamples has every command about deletions whose time is over once.
func retentionExamples() []*commandv1.Command {
	return []*commandv1.Command{
		{Header: header(), Body: &commandv1.Command_MarkTime{MarkTime: &commandv1.MarkTime{}}},
		{Header: header(), Body: &commandv1.Command_PurgeDeleted{PurgeDeleted: &commandv1.PurgeDeleted{
			TableId: 17, Scopes: []*commandv1.DeletedScope{{User: "alice", ExpectVersion: 3, Rows: []*commandv1.DeletedRow{{PrimaryKey: []byte{0x80, 1}, Seq: 65536}}}},
		}}},
	}
}
