package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storages"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

const (
	purgeTables = 1000 // of one command
	maxPurges   = 8    // that are refused because of rows that came late, before the job is tried again later
)

// FileDropper has the other members delete the files of an account.
type FileDropper interface {
	// DropFiles asks each of them once. It returns how many files went, and why some may be left, member by member: their sweepers find them.
	DropFiles(ctx context.Context, user ident.UserID, deletedMicros int64) (deleted int, left []string)
}

// UserCleanup removes all that belongs to a dropped account: its rows in every user and stream table, its files in every storage of every member, and
// the account. The message names the members that did not answer, and the backups that were made while the account was there and hold its rows still.
// While the job runs, no account of the same id can be created; a run that lost its job removes nothing that a later one
// wrote. Others may be nil on a node that runs alone; fenced reports whether every member heeds the index of a purge.
func UserCleanup(
	store *catalog.Store, reader storage.Reader, exec executor.CommandExecutor, files *cold.Store, others FileDropper, fenced func() bool,
) Kind {
	return Kind{Type: applier.JobTypeUserCleanup, Run: func(ctx context.Context, work *Work) error {
		var parameters applier.UserCleanupParameters
		if err := json.Unmarshal([]byte(work.Job.GetParameters()), &parameters); err != nil {
			return Permanent(fmt.Errorf("parameters: %w", err))
		}
		c := userCleanup{store: store, exec: exec, user: ident.UserID(parameters.User), deletedMicros: parameters.DeletedMicros, fenced: fenced}
		account, err := c.account(ctx)
		if err != nil {
			return err
		}
		tables := tablesOfUsers(store.Current())
		if err = c.purge(ctx, tables, work); err != nil {
			return err
		}
		deleted, spared, err := DeleteUserFiles(ctx, store.Current(), files, c.user, true, func() error {
			_, gone := c.account(ctx)
			return gone
		})
		if err != nil {
			return err
		}
		work.Report(75, fmt.Sprintf("deleted %d files", deleted))
		var left []string
		if others != nil {
			var elsewhere int
			elsewhere, left = others.DropFiles(ctx, c.user, account.DeletedMicros)
			deleted += elsewhere
		}
		holders, err := backupsWith(reader, account)
		if err != nil {
			return err
		}
		_, err = exec.Execute(ctx, shard.Meta, &commandv1.Command{Body: &commandv1.Command_ForgetUser{
			ForgetUser: &commandv1.ForgetUser{Id: parameters.User, DeletedMicros: parameters.DeletedMicros},
		}})
		if err != nil {
			return fmt.Errorf("forget the account: %w", err)
		}
		message := fmt.Sprintf("removed the rows of %d tables and %d files", len(tables), deleted)
		if len(left) > 0 {
			message += "; files may be left for the sweeps, within two hours after the node is back: " + strings.Join(left, "; ")
		}
		if spared > 0 {
			message += fmt.Sprintf("; files in the directories of the user that another cluster wrote, and that stay: %d", spared)
		}
		if len(holders) > 0 {
			message += "; backups that still hold rows of the user: " + strings.Join(holders, ", ")
		}
		work.Report(100, message)
		return nil
	}}
}

// userCleanup is one run of the job.
type userCleanup struct {
	store         *catalog.Store
	exec          executor.CommandExecutor
	user          ident.UserID
	deletedMicros int64
	fenced        func() bool // every member heeds the index of a purge
}

// account is the dropped account as the cluster has it now. An error says that it is not there any more.
func (c *userCleanup) account(ctx context.Context) (*catalog.User, error) {
	if _, err := c.exec.Barrier(ctx, shard.Meta); err != nil {
		return nil, err
	}
	account, exists := c.store.Current().UserOrDeleted(c.user)
	if !exists || !account.Deleted() || account.DeletedMicros != c.deletedMicros {
		return nil, fmt.Errorf("%w: the account is gone, or there is a new one", ErrNothingToDo)
	}
	return account, nil
}

// purge removes the rows of the account. A statement of his that was under way may write behind the index at which the account was seen to be
// gone; then it looks again.
func (c *userCleanup) purge(ctx context.Context, tables []*schema.Table, work *Work) error {
	group := c.store.Current().Cluster().Shards.RouteUser(c.user)
	for attempt := 1; ; attempt++ {
		// In this order: what another account writes comes behind the index, because the name was not free yet when it was read.
		index, err := c.exec.Barrier(ctx, group)
		if err != nil {
			return err
		}
		if _, err = c.account(ctx); err != nil {
			return err
		}
		if !c.fenced() {
			index = 0
		}
		err = c.purgeUpTo(ctx, group, index, tables, work)
		if fault.KindOf(err) != fault.Conflict || attempt == maxPurges {
			return err
		}
	}
}

// tablesOfUsers lists the tables in which users have rows of their own.
func tablesOfUsers(current *catalog.Catalog) []*schema.Table {
	var tables []*schema.Table
	for _, t := range current.Tables() {
		if t.Kind == schema.KindUser || t.Kind == schema.KindStream {
			tables = append(tables, t)
		}
	}
	return tables
}

func (c *userCleanup) purgeUpTo(ctx context.Context, group shard.GroupID, index uint64, tables []*schema.Table, work *Work) error {
	for done := 0; done < len(tables); {
		body := &commandv1.PurgeUser{User: string(c.user), UptoIndex: index}
		for ; done < len(tables) && len(body.GetTables()) < purgeTables; done++ {
			purged := &commandv1.UserTable{TableId: uint64(tables[done].ID)}
			for _, index := range tables[done].Indexes {
				purged.IndexIds = append(purged.IndexIds, index.ID)
			}
			body.Tables = append(body.Tables, purged)
		}
		if _, err := c.exec.Execute(ctx, group, &commandv1.Command{Body: &commandv1.Command_PurgeUser{PurgeUser: body}}); err != nil {
			return fmt.Errorf("purge the rows of the user from %s: %w", group, err)
		}
		work.Report(uint32(50*done/len(tables)), fmt.Sprintf("purged %d of %d tables", done, len(tables))) //nolint:gosec // a percentage
	}
	return nil
}

// DeleteUserFiles removes the user's directory of every table from the storages of this node, and from those that all members see if shared says so. What it
// finds it deletes only if still says that the account is the dropped one. Files of another account of the name are in the same directories, but under
// other names (flush.Worker), so that a delete which comes late cannot meet them. Spared is how many files another cluster wrote.
func DeleteUserFiles(
	ctx context.Context, current *catalog.Catalog, files *cold.Store, user ident.UserID, shared bool, still func() error,
) (deleted, spared int, err error) {
	for _, t := range tablesOfUsers(current) {
		id := t.Options["STORAGE_ID"]
		if id == "" {
			id = catalog.LocalStorage
		}
		storage, exists := current.Storage(id)
		if !exists || !shared && storage.Type == storages.TypeS3 {
			continue
		}
		prefix, err := storages.TablePrefix(storage, t, user)
		if err != nil {
			continue // no file can have such a name
		}
		gone, left, err := files.DropDirectory(ctx, id, prefix, still)
		deleted, spared = deleted+gone, spared+left
		if err != nil {
			return deleted, spared, fmt.Errorf("delete files of %s: %w", t.FullName(), err)
		}
	}
	return deleted, spared, nil
}

// backupsWith names the backups that were made while an account was there.
func backupsWith(reader storage.Reader, account *catalog.User) (names []string, err error) {
	backups, err := catalog.LoadBackups(reader)
	for _, b := range backups {
		if b.GetFinishedMicros() >= account.CreatedMicros {
			names = append(names, b.GetName()+" in "+b.GetLocation())
		}
	}
	return names, err
}
