package exec

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// StorageProber tries storages from this node.
type StorageProber interface {
	// Probe writes, lists, reads and deletes one small file of its own below the base directory, which it makes if
	// it is missing. What fails is said in the report. Extended also measures the room.
	Probe(ctx context.Context, storage *catalog.Storage, extended bool) StorageReport
	// Seal encrypts the credentials of a storage before they are replicated.
	Seal(id, credentials string) (string, error)
}

// StorageReport is how a storage was found. It is healthy when everything worked, unreachable when nothing did.
type StorageReport struct {
	Readable, Writable, Listable, Deletable bool
	LatencyMillis                           int64
	TotalBytes, UsedBytes                   *int64 // nil when unknown
	Error                                   string // the first thing that failed; empty when nothing did
}

func (r *StorageReport) status() string {
	switch {
	case r.Readable && r.Writable && r.Listable && r.Deletable && r.Error == "":
		return "healthy"
	case r.Readable || r.Writable || r.Listable:
		return "degraded"
	}
	return "unreachable"
}

// tryStorage refuses a storage that cannot be used from this node.
func (e *Engine) tryStorage(ctx context.Context, storage *catalog.Storage) error {
	if e.deps.Storages == nil {
		return fault.New(fault.Unsupported, "this node cannot try storages")
	}
	report := e.deps.Storages.Probe(ctx, storage, false)
	if report.status() != "healthy" {
		return fault.New(fault.InvalidStatement, "storage '%s' cannot be used from this node: %s", storage.ID, report.Error)
	}
	return nil
}

// sealCredentials encrypts the credentials in a command: they are in the clear in the statement alone.
func (e *Engine) sealCredentials(cmd *commandv1.Command) (err error) {
	switch body := cmd.GetBody().(type) {
	case *commandv1.Command_CreateStorage:
		storage := body.CreateStorage.GetStorage()
		storage.Credentials, err = e.deps.Storages.Seal(storage.GetId(), storage.GetCredentials())
	case *commandv1.Command_AlterStorage:
		if body.AlterStorage.Credentials == nil {
			return nil
		}
		var sealed string
		sealed, err = e.deps.Storages.Seal(body.AlterStorage.GetId(), body.AlterStorage.GetCredentials())
		body.AlterStorage.Credentials = &sealed
	}
	return err
}

func (e *Engine) checkStorage(ctx context.Context, caller session.Session, s *plan.StorageCheck) (Result, error) {
	if e.deps.Storages == nil {
		return Result{}, fault.New(fault.Unsupported, "this node cannot try storages")
	}
	report := e.deps.Storages.Probe(ctx, s.Storage, s.Extended)
	bytes := func(v *int64) datum.Datum {
		if v == nil {
			return datum.Datum{}
		}
		return datum.NewBigInt(*v)
	}
	row := []datum.Datum{
		datum.NewText(s.Storage.ID), datum.NewText(report.status()), datum.NewBool(report.Readable), datum.NewBool(report.Writable),
		datum.NewBool(report.Listable), datum.NewBool(report.Deletable), datum.NewBigInt(report.LatencyMillis),
		bytes(report.TotalBytes), bytes(report.UsedBytes), text(report.Error),
		datum.NewInt(datum.Timestamp, e.deps.Clock.Now().UnixMicro()),
	}
	return Result{
		Columns: plan.StorageCheckColumns(), Rows: [][]datum.Datum{row}, HasRows: true, RowCount: 1, AsUser: caller.User,
	}, nil
}
