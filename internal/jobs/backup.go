package jobs

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/backup"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Place opens where backups lie: a directory of this node, or a storage and a prefix.
type Place func(location string) (objstore.Store, error)

// Backup writes a backup of all groups from this node's replicas. A run that is interrupted leaves chunks, which the next one finds. One that lost
// its job may leave a whole backup, which the cluster does not remember: the run that took over recorded its own.
func Backup(source backup.Source, open Place) Kind {
	return Kind{Type: applier.JobTypeBackup, Limit: 1, Run: func(ctx context.Context, work *Work) error {
		parameters, store, err := place(work, open)
		if err != nil {
			return err
		}
		m, err := backup.Write(ctx, source, store, work.Report)
		if err != nil {
			return err
		}
		token := uint64(0)
		if source.Fenced != nil && source.Fenced() {
			token = work.Token
		}
		_, err = source.Executor.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_RecordBackup{
			RecordBackup: &commandv1.RecordBackup{Token: token, Backup: &commandv1.Backup{
				Name: m.Name, Location: parameters.Location, Job: work.Job.GetNumber(), NodeId: work.Job.GetOnlyNode(),
				StartedMicros: m.Started.UnixMicro(), FinishedMicros: m.Finished.UnixMicro(), Rows: m.Totals.Rows,
				TotalBytes: uint64(m.Totals.StoredBytes), WrittenBytes: uint64(m.Totals.WrittenBytes), //nolint:gosec // sizes
			}},
		}})
		if err != nil {
			return fmt.Errorf("the backup %s is complete, but cannot be recorded: %w", m.Name, err)
		}
		if err := backup.At(source.Step, "recorded"); err != nil {
			return err
		}
		work.Report(100, fmt.Sprintf("backup %s: %d rows, %d bytes in %d chunks, of which %d bytes in %d chunks are new",
			m.Name, m.Totals.Rows, m.Totals.StoredBytes, m.Totals.Chunks, m.Totals.WrittenBytes, m.Totals.NewChunks))
		return nil
	}}
}

func place(work *Work, open Place) (parameters applier.BackupParameters, store objstore.Store, err error) {
	if err = json.Unmarshal([]byte(work.Job.GetParameters()), &parameters); err != nil {
		return parameters, nil, Permanent(fmt.Errorf("parameters: %w", err))
	}
	if store, err = open(parameters.Location); err != nil {
		return parameters, nil, fmt.Errorf("open '%s': %w", parameters.Location, err)
	}
	return parameters, store, nil
}
