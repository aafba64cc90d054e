package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TypeJobCleanup is the type of the job that forgets jobs which ended long ago.
const TypeJobCleanup = applier.JobTypeJobCleanup

// historyAge is how long an ended job is kept, unless newer ones need its place.
const historyAge = 30 * 24 * time.Hour

// JobCleanup forgets jobs that ended more than 30 days ago.
func JobCleanup(wall clock.Clock, exec executor.CommandExecutor) Kind {
	return Kind{Type: TypeJobCleanup, Run: func(ctx context.Context, work *Work) error {
		response, err := exec.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_EvictJobs{
			EvictJobs: &commandv1.EvictJobs{BeforeMicros: wall.Now().Add(-historyAge).UnixMicro()},
		}})
		if err != nil {
			return err
		}
		work.Report(100, fmt.Sprintf("forgot %d jobs", response.GetAffected()))
		return nil
	}}
}
