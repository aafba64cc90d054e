// Package schemachange does with the rows of a table what a changed descriptor leaves to be done: it fills new
// indexes, empties dropped ones, and looks through old rows for the NULLs that a NOT NULL forbids.
//
// A Worker takes a table whose descriptor is unfinished (schema.Table.Unfinished) and works in this order:
//
//  1. It fences every group of the table at the descriptor's revision. From then on no row is written that does not
//     know of the change, whatever statements of older descriptors are still on their way.
//  2. It goes through the rows of each group. Entries of an index are proposed together with the _seq of their row; a row
//     that was written meanwhile is skipped on apply, because its writer knew of the index.
//  3. It puts the finished descriptor in the place of the unfinished one, if that has not changed; else it starts again.
//
// An index that is dropped takes two rounds. In the first one it still has every row, so that commands which depend on what
// was read of it, and pass the fence, are right; from the second one on new rows are not in it.
//
// When the rows forbid the change (two rows with one unique key, a NULL), the third step takes the change back instead,
// and the error says why. Every step may be repeated and interrupted anywhere, and two workers at one table do no harm:
// what counts is in the log of each group and in the descriptor's revision.
//
// Rows of a node-local table are gone through on every node; see LookThrough.
//
// The statement that altered the table runs a Worker at once (sql/exec); a job does so when it was interrupted (jobs).
package schemachange

import (
	"context"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// maxAttempts bounds how often a table that is altered meanwhile is started with again.
const maxAttempts = 16

// Worker finishes schema changes. It has no state; its methods may be called from any goroutine.
type Worker struct {
	Catalog  *catalog.Store
	Storage  *storage.Engine
	Executor executor.CommandExecutor
	Cold     *cold.Store // reads rows in segments; nil fails changes of tables that have some
	// Elsewhere reaches the other nodes; nil for a node that has none.
	Elsewhere Elsewhere
}

// Progress is told how far the work is: groups done of all.
type Progress func(done, all int)

// Finish does what is left to be done with a table. It reports false when there was nothing. A *fault.Error of kind
// DuplicateKey or NotNull says that the rows forbid a change, which was taken back.
func (w *Worker) Finish(ctx context.Context, id ident.TableID, progress Progress) (worked bool, err error) {
	var forbidden error
	for range maxAttempts {
		if _, err := w.Executor.Barrier(ctx, shard.Meta); err != nil {
			return worked, err
		}
		current := w.Catalog.Current()
		table, ok := current.TableByID(id)
		if !ok || !table.Unfinished() {
			return worked, forbidden
		}
		worked = true
		next, why, err := w.work(ctx, current, table, progress)
		if err == nil {
			err = w.replace(ctx, table, next)
		}
		switch {
		case err == nil && why != nil:
			forbidden = why // what it left, such as entries of the index, goes in another round
		case err != nil && fault.KindOf(err) != fault.Altered:
			return worked, err
		}
	}
	return worked, fault.New(fault.Conflict, "table %d was altered again and again while a change of it was carried out", id)
}

// work carries out one round and returns the descriptor that follows from it.
func (w *Worker) work(
	ctx context.Context, current *catalog.Catalog, table *schema.Table, progress Progress,
) (next *schema.Table, forbidden, err error) {
	if table.NodeLocal() {
		return w.everywhere(ctx, table)
	}
	groups := Groups(current, table)
	for _, group := range groups {
		if err := w.fence(ctx, group, table); err != nil {
			return nil, nil, err
		}
	}
	next = table.Clone()
	for i, group := range groups {
		why, err := w.group(ctx, group, table, next)
		if err != nil {
			return nil, nil, fmt.Errorf("change %s in %s: %w", table.FullName(), group, err)
		}
		if why != nil {
			return next, why, nil
		}
		if progress != nil {
			progress(i+1, len(groups))
		}
	}
	finish(next)
	return next, nil, nil
}

// fence keeps writes of older descriptors out of a group.
func (w *Worker) fence(ctx context.Context, group shard.GroupID, table *schema.Table) error {
	_, err := w.Executor.Execute(ctx, group, &commandv1.Command{Body: &commandv1.Command_FenceTable{
		FenceTable: &commandv1.FenceTable{TableId: uint64(table.ID), Revision: table.Revision},
	}})
	if err != nil {
		return fmt.Errorf("fence %s in %s: %w", table.FullName(), group, err)
	}
	return nil
}

// group does what is to be done in one group. Rows that forbid a change take it back in next.
func (w *Worker) group(ctx context.Context, group shard.GroupID, table, next *schema.Table) (forbidden, err error) {
	if _, err = w.Executor.Barrier(ctx, group); err != nil {
		return nil, err
	}
	for i := range table.Indexes {
		x := &table.Indexes[i]
		switch x.State {
		case schema.IndexDropping:
			_, err = w.Executor.Execute(ctx, group, &commandv1.Command{Body: &commandv1.Command_PurgeIndex{
				PurgeIndex: &commandv1.PurgeIndex{TableId: uint64(table.ID), IndexId: x.ID},
			}})
		case schema.IndexBuilding:
			err = w.fill(ctx, group, table, x)
			if fault.KindOf(err) == fault.DuplicateKey {
				next.Indexes[i].State = schema.IndexDropping
				return notUnique(table, x, err), nil
			}
		case schema.IndexReady, schema.IndexRetiring:
		}
		if err != nil {
			return nil, err
		}
	}
	for i := range table.Columns {
		if table.Columns[i].Proof == schema.ProofDone {
			continue
		}
		found, err := w.hasNull(group, table, i)
		if err != nil {
			return nil, err
		}
		if found {
			return takeBack(next, i), nil
		}
	}
	return nil, nil
}

// notUnique says why a unique index cannot be. Whoever alters a table of private rows is told no value of them.
func notUnique(table *schema.Table, x *schema.Index, err error) error {
	if table.Kind == schema.KindShared {
		return err
	}
	return fault.New(fault.DuplicateKey, "Unique violation: two rows of one user have the same values in unique index '%s' of table '%s'",
		x.Name, table.FullName())
}

// takeBack undoes the NOT NULL of a column that has NULLs.
func takeBack(next *schema.Table, position int) error {
	column := &next.Columns[position]
	why := fault.New(fault.NotNull, "NOT NULL violation: column '%s' of table '%s' has rows without a value", column.Name, next.FullName())
	next.Version++
	if column.Proof == schema.ProofOfAdded {
		for _, x := range next.IndexedBy(column.ID) {
			x.State = schema.IndexDropping // nobody has read it: it was to be ready together with the column
		}
		next.Columns = append(next.Columns[:position:position], next.Columns[position+1:]...)
		return why
	}
	column.Proof = schema.ProofDone
	return why
}

// finish says in a descriptor that everything is done.
func finish(next *schema.Table) {
	kept := next.Indexes[:0]
	for _, x := range next.Indexes {
		switch x.State {
		case schema.IndexDropping:
			continue
		case schema.IndexRetiring:
			// Its groups are fenced: whatever depends on the index is decided. Its entries go in another round.
			x.State = schema.IndexDropping
		case schema.IndexBuilding, schema.IndexReady:
			x.State = schema.IndexReady
		}
		kept = append(kept, x)
	}
	next.Indexes = kept
	for i := range next.Columns {
		if column := &next.Columns[i]; column.Proof != schema.ProofDone {
			column.Proof, column.Nullable = schema.ProofDone, false
		}
	}
}

func (w *Worker) replace(ctx context.Context, table, next *schema.Table) error {
	_, err := w.Executor.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_AlterTable{
		AlterTable: &commandv1.AlterTable{Table: catalog.TableToProto(next), ExpectRevision: table.Revision, KeepVersion: true},
	}})
	return err
}

// Groups lists the groups that may hold rows of a table, of a node-local one those of this node.
func Groups(current *catalog.Catalog, table *schema.Table) []shard.GroupID {
	if table.NodeLocal() {
		return []shard.GroupID{shard.Local}
	}
	holder := catalog.Cleanup{Table: table}
	return holder.Groups(current.Cluster().Shards)
}
