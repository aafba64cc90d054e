package exec

import (
	"context"
	"fmt"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/flush"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/schemachange"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// aboutStorage runs STORAGE CHECK, STORAGE FLUSH and STORAGE COMPACT.
func (e *Engine) aboutStorage(ctx context.Context, caller session.Session, statement plan.Statement) (Result, error) {
	switch s := statement.(type) {
	case *plan.StorageCheck:
		return e.checkStorage(ctx, caller, s)
	case *plan.StorageFlush:
		return e.flush(ctx, caller, s)
	}
	return Result{}, fmt.Errorf("statement %T is none about storage", statement)
}

// flush makes a job for every table that has rows in the row store, or segments to merge, and no such job yet.
func (e *Engine) flush(ctx context.Context, caller session.Session, s *plan.StorageFlush) (Result, error) {
	var made, there []string
	for _, found := range s.Tables {
		waiting, job := e.hasHot, applier.NewFlushJob(uint64(found.ID), string(caller.User))
		if s.Compact {
			waiting, job = e.hasSegments, applier.NewCompactJob(uint64(found.ID), false, string(caller.User))
		}
		some, err := waiting(ctx, found)
		if err != nil {
			return Result{}, err
		}
		if !some {
			continue
		}
		response, err := e.deps.Executor.Execute(ctx, shard.Meta, &commandv1.Command{
			Header: &commandv1.Header{Actor: string(caller.User)},
			Body:   &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{Job: job}},
		})
		if err != nil {
			return Result{}, err
		}
		id := catalog.JobID(&commandv1.Job{IdPrefix: job.GetIdPrefix(), Number: response.GetObjectId()})
		if strings.HasSuffix(response.GetMessage(), "exists already") {
			there = append(there, id)
		} else {
			made = append(made, id)
		}
	}
	return Result{Message: flushMessage(s, len(s.Tables) == 1, made, there), AsUser: caller.User}, nil
}

// flushMessage says which jobs there are in the words that clients look for.
func flushMessage(s *plan.StorageFlush, single bool, made, there []string) string {
	verb, idle := "flush", "no rows are waiting"
	if s.Compact {
		verb, idle = "compaction", "no segments can be merged"
	}
	switch {
	case len(made) == 0 && len(there) > 0:
		return fmt.Sprintf("Storage %s of %s skipped: it is queued already. %s", verb, s.What, jobIDs(single, there))
	case len(made) == 0:
		return fmt.Sprintf("Storage %s of %s skipped: %s", verb, s.What, idle)
	}
	return fmt.Sprintf("Storage %s of %s started. %s", verb, s.What, jobIDs(single, append(made, there...)))
}

func jobIDs(single bool, ids []string) string {
	if single {
		return "Job ID: " + ids[0]
	}
	return "Job IDs: [" + strings.Join(ids, ", ") + "]"
}

// hasSegments reports whether some scope of a table has segments that a compaction would merge.
func (e *Engine) hasSegments(ctx context.Context, found *schema.Table) (some bool, err error) {
	before := e.deps.Clock.Now().Add(-found.DeletedRetention()).UnixMicro()
	for _, group := range schemachange.Groups(e.deps.Catalog.Current(), found) {
		if _, err := e.deps.Executor.Barrier(ctx, group); err != nil {
			return false, err
		}
		lo, hi := keys.ManifestSpan(group, found.ID)
		err := manifest.Each(e.deps.Storage, lo, hi, func(_ []byte, m *commandv1.Manifest) error {
			some = some || flush.Mergeable(m.GetSegments(), before)
			return nil
		})
		if some || err != nil {
			return some, err
		}
	}
	return false, nil
}

// hasHot reports whether the row store has a version of a row of a table.
func (e *Engine) hasHot(ctx context.Context, found *schema.Table) (bool, error) {
	for _, group := range schemachange.Groups(e.deps.Catalog.Current(), found) {
		if _, err := e.deps.Executor.Barrier(ctx, group); err != nil {
			return false, err
		}
		it, err := e.deps.Storage.Scan(keys.TableSpan(group, found.ID))
		if err != nil {
			return false, err
		}
		hot := it.First()
		if err := it.Close(); hot || err != nil {
			return hot, err
		}
	}
	return false, nil
}
