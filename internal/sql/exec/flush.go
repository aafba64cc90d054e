package exec

import (
	"context"
	"fmt"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/schemachange"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// aboutStorage runs STORAGE CHECK and STORAGE FLUSH.
func (e *Engine) aboutStorage(ctx context.Context, caller session.Session, statement plan.Statement) (Result, error) {
	switch s := statement.(type) {
	case *plan.StorageCheck:
		return e.checkStorage(ctx, caller, s)
	case *plan.StorageFlush:
		return e.flush(ctx, caller, s)
	}
	return Result{}, fmt.Errorf("statement %T is none about storage", statement)
}

// flush makes a job for every table that has rows in the row store and no such job yet.
func (e *Engine) flush(ctx context.Context, caller session.Session, s *plan.StorageFlush) (Result, error) {
	var made, there []string
	for _, found := range s.Tables {
		hot, err := e.hasHot(ctx, found)
		if err != nil {
			return Result{}, err
		}
		if !hot {
			continue
		}
		response, err := e.deps.Executor.Execute(ctx, shard.Meta, &commandv1.Command{
			Header: &commandv1.Header{Actor: string(caller.User)},
			Body: &commandv1.Command_CreateJob{CreateJob: &commandv1.CreateJob{
				Job: applier.NewFlushJob(uint64(found.ID), string(caller.User)),
			}},
		})
		if err != nil {
			return Result{}, err
		}
		id := catalog.JobID(&commandv1.Job{IdPrefix: applier.PrefixFlush, Number: response.GetObjectId()})
		if strings.HasSuffix(response.GetMessage(), "exists already") {
			there = append(there, id)
		} else {
			made = append(made, id)
		}
	}
	return Result{Message: flushMessage(s.What, len(s.Tables) == 1, made, there), AsUser: caller.User}, nil
}

// flushMessage says which jobs there are in the words that clients look for.
func flushMessage(what string, single bool, made, there []string) string {
	switch {
	case len(made) == 0 && len(there) > 0:
		return fmt.Sprintf("Storage flush of %s skipped: it is queued already. %s", what, jobIDs(single, there))
	case len(made) == 0:
		return fmt.Sprintf("Storage flush of %s skipped: no rows are waiting", what)
	}
	return fmt.Sprintf("Storage flush of %s started. %s", what, jobIDs(single, append(made, there...)))
}

func jobIDs(single bool, ids []string) string {
	if single {
		return "Job ID: " + ids[0]
	}
	return "Job IDs: [" + strings.Join(ids, ", ") + "]"
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
