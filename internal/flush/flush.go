// Package flush moves rows from the row store into segments, and merges segments.
//
// Whoever holds the job of a flush asks the leader of each group of the table, for one bounded piece of the work after the other
// (order.go). The leader goes through the scopes (piece.go). Of each it reads up to SegmentRows rows from one snapshot of the store, writes
// them as a segment, has the file kept by a majority of the members, and proposes the one command that makes it part of
// the table and removes the rows from the row store of every replica. What happens when the node dies in between is in
// docs/adr/0014-cold-rows.md: nothing is lost, nothing is there twice, and files may be left that nobody names.
//
// Always true: the command is proposed only when the file is durable on a majority, under a name that no member of it had
// another file for; the file holds every row of the row
// store between its first and its last key in the snapshot; the snapshot's applied index is the one in the command.
//
// Tables whose descriptor is unfinished are left alone, because whoever finishes them relies on rows staying where
// they are. A job runs a Worker (jobs); two at one table do no harm, the group refuses the later one.
//
// Compact merges segments that are there already. What is chosen is in choose.go, and why in the same ADR.
package flush

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/schemachange"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storages"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// The size of a segment: it ends when it has this many rows, or bytes of rows.
const (
	SegmentRows  = 1 << 16
	segmentBytes = 64 << 20
)

// maxErrors bounds the scopes of a table that may fail before a run ends.
const maxErrors = 16

// maxAttempts bounds how often one segment is begun again because the scope's manifest changed meanwhile or another file
// had its name.
const maxAttempts = 8

// commitPatience bounds the time from the begin of a file to the proposal that names it. The sweeper of files that
// nobody names waits for much longer.
const commitPatience = 5 * time.Minute

// Keepers have other members keep a file.
type Keepers interface {
	// Keep returns when a majority of the members has the file durably, this node included. An error says that it is
	// not known to be so; it wraps a TakenError when members have another file of that name, which they do not replace.
	Keep(ctx context.Context, storageID, path string, sum []byte, size int64) error
}

// TakenError says that another file has the name of a segment.
type TakenError struct {
	Next uint64 // the number to go on with
}

// Error implements error.
func (e *TakenError) Error() string {
	return fmt.Sprintf("another file has the name; %s may be free", FileName(e.Next))
}

// Worker moves rows. All fields but those with a word for nil are required. It has no state; its methods may be called from any goroutine.
type Worker struct {
	Catalog  *catalog.Store
	Storage  *storage.Engine
	Executor executor.CommandExecutor
	Cold     *cold.Store
	Clock    clock.Clock
	Keepers  Keepers // nil for a node that runs alone
	Leaders  Leaders // of the groups; nil for a node that runs alone, which leads all
	// Applied reads a group's applied index from a picture of the store.
	Applied func(reader storage.Reader, group shard.GroupID) (uint64, error)
	// Traffic counts what the node applies: while it grows, others write, and the run gives way to them. Nil: it never does.
	Traffic func() uint64
	// ClockAgrees says why the clock should not decide how old a deletion is; then none is forgotten. Nil trusts the clock.
	ClockAgrees func() error
	// Step is called before each step that a crash may follow; tests stop there. Nil does nothing.
	Step func(step string) error
}

// eachScope works on the scopes of a table that list names in each of its groups, and tells how many groups are done. An error
// that concerns one scope alone keeps no other one from its work, until there are maxErrors of them.
func (w *Worker) eachScope(
	ctx context.Context, id ident.TableID, verb string, list func(*schema.Table, shard.GroupID) ([]ident.UserID, error),
	work func(*schema.Table, shard.GroupID, ident.UserID) error, tell func(done, all int),
) error {
	if _, err := w.Executor.Barrier(ctx, shard.Meta); err != nil {
		return err
	}
	current := w.Catalog.Current()
	t, err := flushable(current, id)
	if err != nil {
		return err
	}
	groups := schemachange.Groups(current, t)
	var failed []error
	for i, group := range groups {
		if _, err := w.Executor.Barrier(ctx, group); err != nil {
			return err
		}
		users, err := list(t, group)
		if err != nil {
			return err
		}
		for _, user := range users {
			err := work(t, group, user)
			if err == nil {
				continue
			}
			failed = append(failed, fmt.Errorf("%s %s in %s: %w", verb, t.FullName(), group, err))
			if !concernsScope(err) || len(failed) == maxErrors {
				return errors.Join(failed...)
			}
		}
		tell(i+1, len(groups))
	}
	return errors.Join(failed...)
}

// concernsScope reports whether an error says nothing about other scopes of the table.
func concernsScope(err error) bool {
	return fault.KindOf(err) == fault.LimitExceeded || errors.Is(err, objstore.ErrInvalidKey)
}

// Flushable reports whether the rows of a table can be moved at all, as the catalog is now; the error says what is in the
// way.
func Flushable(current *catalog.Catalog, id ident.TableID) error {
	t, err := flushable(current, id)
	if err != nil {
		return err
	}
	_, err = placeOf(current, t)
	return err
}

// placeOf finds the storage of a table. USE_USER_STORAGE changes nothing: no statement gives a user a storage of his own, and who has none
// uses that of the table.
func placeOf(current *catalog.Catalog, t *schema.Table) (*catalog.Storage, error) {
	id := t.Options["STORAGE_ID"]
	if id == "" {
		id = catalog.LocalStorage
	}
	found, ok := current.Storage(id)
	if !ok {
		return nil, fault.New(fault.NotFound, "storage '%s' of table '%s' not found", id, t.FullName())
	}
	return found, nil
}

// flushable finds a table whose rows may be moved.
func flushable(current *catalog.Catalog, id ident.TableID) (*schema.Table, error) {
	t, ok := current.TableByID(id)
	switch {
	case !ok:
		return nil, fault.New(fault.TableNotFound, "table %d not found", id)
	case t.Kind != schema.KindShared && t.Kind != schema.KindUser:
		return nil, fault.New(fault.InvalidStatement, "table '%s' is a %s table; only user and shared tables can be flushed", t.FullName(), t.Kind)
	case t.Unfinished():
		return nil, fault.New(fault.Conflict, "table '%s' is being altered; flush it when that is done", t.FullName())
	}
	return t, nil
}

// keep has a file kept by a majority.
func (w *Worker) keep(ctx context.Context, s *commandv1.Segment) error {
	if err := w.step("keep"); err != nil {
		return err
	}
	if err := w.Cold.Ensure(s); err != nil { // what was written is what will be read
		return err
	}
	shared, err := w.Cold.Shared(s.GetStorageId())
	if err != nil {
		return err
	}
	if w.Keepers == nil || shared {
		return nil
	}
	err = w.Keepers.Keep(ctx, s.GetStorageId(), s.GetPath(), s.GetSha256(), int64(s.GetSizeBytes())) //nolint:gosec // the size of a file
	if err != nil {
		return fmt.Errorf("have %s kept by a majority: %w", s.GetPath(), err)
	}
	return nil
}

func (w *Worker) step(name string) error {
	// gofail: var coldStep string
	// if coldStep == name {
	// 	panic("fail point: " + name)
	// }
	if w.Step == nil {
		return nil
	}
	return w.Step(name)
}

// place is where the files of a scope lie.
type place struct {
	storage   string
	directory string // below that of the storage, without a slash at its end
	objects   objstore.Store
}

// place finds the storage of a table and fills its template in.
func (w *Worker) place(t *schema.Table, user ident.UserID) (*place, error) {
	found, err := placeOf(w.Catalog.Current(), t)
	if err != nil {
		return nil, err
	}
	objects, err := w.Cold.Objects(found.ID)
	if err != nil {
		return nil, err
	}
	directory, err := storages.TablePrefix(found, t, user)
	if err != nil {
		return nil, err
	}
	return &place{storage: found.ID, directory: directory, objects: objects}, nil
}
