package applier

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// BackupParameters say where a job of type JobTypeBackup or JobTypeRestore finds its place.
type BackupParameters struct {
	Location string `json:"location"`         // an absolute directory, or a storage and a prefix
	Backup   string `json:"backup,omitempty"` // which one to restore; empty for the newest
}

// restoreMark is a number for the name of a backup, never zero.
func restoreMark(backup string) uint64 { return xxhash.Sum64String(backup) | 1 }

// restoreCatalog puts records of a backup into the catalog. Until the last command of the backup, only that backup goes on;
// every command can be repeated.
func (c *metaCall) restoreCatalog(body *commandv1.RestoreCatalog) (*commandv1.Response, error) {
	if c.Cluster() == nil {
		return notFounded(), nil
	}
	if refused, err := c.admitRestorer(body); refused != nil || err != nil {
		return refused, err
	}
	restoring, err := catalog.LoadSequence(c.batch, catalog.SequenceRestoring)
	if err != nil {
		return nil, err
	}
	mark := restoreMark(body.GetBackup())
	restoredBy, err := catalog.LoadSequence(c.batch, catalog.SequenceRestoredBy)
	if err != nil {
		return nil, err
	}
	switch {
	case restoring == 0 && body.GetJob() != 0 && restoredBy == body.GetJob():
		// Its node died before it could say so. The cluster is in use: nothing of the backup may come a second time.
		response := done("The backup is restored already")
		response.ObjectId = restoredBy
		return response, nil
	case restoring == 0 && c.inUse():
		return command.Refuse(fault.InvalidStatement, "a backup is restored into an empty cluster only; this one has tables"), nil
	case restoring != 0 && restoring != mark:
		return command.Refuse(fault.InvalidStatement, "another backup is being restored into this cluster; finish it, or begin with empty data directories"), nil
	}
	for _, record := range body.GetRecords() {
		if refused := c.checkRestored(record); refused != nil {
			return refused, nil
		}
	}
	for _, record := range body.GetRecords() {
		if err = c.restoreRecord(record); err != nil {
			return nil, err
		}
	}
	if err = c.noteRestore(body); err != nil {
		return nil, err
	}
	if body.GetFinish() {
		mark = 0
		if err = setSequence(c.batch, catalog.SequenceRestoredBy, body.GetJob()); err != nil {
			return nil, err
		}
	}
	if err = setSequence(c.batch, catalog.SequenceRestoring, mark); err != nil {
		return nil, err
	}
	base, err := catalog.LoadSequence(c.batch, catalog.SequenceTableBase)
	if err != nil {
		return nil, err
	}
	if err = setSequence(c.batch, catalog.SequenceTableBase, max(base, body.GetLastTableId())); err != nil {
		return nil, err
	}
	picture, err := catalog.Load(c.batch)
	if err != nil {
		return nil, err
	}
	*c.Editor = *picture.Edit()
	return done("%d records of the catalog restored", len(body.GetRecords())), nil
}

// inUse reports whether there is, or was a moment ago, a table beside those that came with the cluster.
func (c *metaCall) inUse() bool {
	return slices.ContainsFunc(c.Tables(), func(table *schema.Table) bool { return !table.ID.Reserved() }) ||
		slices.ContainsFunc(c.Cleanups(), func(cleanup *catalog.Cleanup) bool { return !cleanup.Table.ID.Reserved() })
}

// checkRestored refuses a record that is none, or one that says who this cluster is.
func (c *metaCall) checkRestored(record *commandv1.CatalogRecord) *commandv1.Response {
	group, kind, _, err := keys.Split(record.GetKey())
	if err != nil || group != shard.Meta || !RestorableKind(kind) {
		return command.Refuse(fault.InvalidStatement, "the backup has a record of the catalog under the key %x, which cannot be restored", record.GetKey())
	}
	key, err := keyOfRestored(kind, record)
	if err == nil && key != nil && !bytes.Equal(key, record.GetKey()) {
		err = fmt.Errorf("it is the record of key %x", key)
	}
	if err != nil {
		return command.Refuse(fault.InvalidStatement, "the backup has a record of the catalog under the key %x that cannot be read: %v", record.GetKey(), err)
	}
	return nil
}

// keyOfRestored reads a record and says where it belongs; nil for kinds that are taken as they are.
func keyOfRestored(kind keys.Kind, record *commandv1.CatalogRecord) ([]byte, error) {
	switch kind { //nolint:exhaustive // the others are taken as they are
	case keys.KindTable:
		table, err := restoredTable(record)
		if err != nil {
			return nil, err
		}
		if table.ID.Reserved() {
			return nil, fmt.Errorf("table '%s' came with its cluster, and this one has its own", table.FullName())
		}
		return keys.Table(table.ID), nil
	case keys.KindUser:
		user, err := restoredUser(record)
		if err != nil {
			return nil, err
		}
		return keys.User(user.ID), nil
	case keys.KindNamespace:
		stored := &commandv1.Namespace{}
		err := catalog.Unmarshal(record.GetValue(), stored)
		return keys.Namespace(stored.GetName()), err
	case keys.KindStorage:
		stored := &commandv1.Storage{}
		if err := catalog.Unmarshal(record.GetValue(), stored); err != nil {
			return nil, err
		}
		storage, err := catalog.StorageFromProto(stored)
		if err != nil {
			return nil, err
		}
		return keys.Storage(storage.ID), nil
	case keys.KindView:
		stored := &commandv1.View{}
		if err := catalog.Unmarshal(record.GetValue(), stored); err != nil {
			return nil, err
		}
		view, err := catalog.ViewFromProto(stored)
		if err != nil {
			return nil, err
		}
		return keys.View(view.Table.Namespace, view.Table.Name), nil
	case keys.KindSchedule:
		stored := &commandv1.Schedule{}
		err := catalog.Unmarshal(record.GetValue(), stored)
		return keys.Schedule(stored.GetName()), err
	}
	return nil, nil
}

// RestorableKind reports whether keys of a kind are what users made of the catalog. The others say what this cluster is and does.
func RestorableKind(kind keys.Kind) bool {
	switch kind { //nolint:exhaustive // the others are restored
	case keys.KindCluster, keys.KindMember, keys.KindCleanup, keys.KindSequence, keys.KindJob, keys.KindJobDone, keys.KindJobKey,
		keys.KindAudit, keys.KindBackup:
		return false
	}
	return kind >= keys.KindCluster
}

func restoredTable(record *commandv1.CatalogRecord) (*schema.Table, error) {
	stored := &commandv1.Table{}
	if err := catalog.Unmarshal(record.GetValue(), stored); err != nil {
		return nil, err
	}
	return catalog.TableFromProto(stored)
}

func restoredUser(record *commandv1.CatalogRecord) (*catalog.User, error) {
	stored := &commandv1.User{}
	if err := catalog.Unmarshal(record.GetValue(), stored); err != nil {
		return nil, err
	}
	return catalog.UserFromProto(stored)
}

// restoreRecord writes a record that was checked. A shared table goes to the group that this cluster's shards give it; an
// account that is there, such as root, stays as it is. A table takes the place of one of its name that came with the cluster.
func (c *metaCall) restoreRecord(record *commandv1.CatalogRecord) error {
	_, kind, _, err := keys.Split(record.GetKey())
	if err != nil {
		return err
	}
	switch kind { //nolint:exhaustive // the others are taken as they are
	case keys.KindTable:
		table, err := restoredTable(record)
		if err != nil {
			return err
		}
		table.Group = 0
		if table.Kind == schema.KindShared {
			table.Group = c.shards().RouteTable(table.ID)
		}
		if own, exists := c.Table(table.Namespace, table.Name); exists && own.ID != table.ID {
			// It came with this cluster, and its namesake was made by somebody after the other cluster's own was dropped.
			if _, err := c.removeTable(own); err != nil {
				return err
			}
		}
		return c.putTable(table)
	case keys.KindUser, keys.KindSchedule:
		_, exists, err := c.batch.Get(record.GetKey())
		if err != nil || exists {
			return err
		}
		if kind == keys.KindSchedule {
			if _, err := c.add(catalog.SequenceSchedules, 1); err != nil {
				return err
			}
		}
	}
	return c.batch.Set(record.GetKey(), record.GetValue())
}

// MaxBackups bounds the backups that the cluster remembers.
const MaxBackups = 256

// recordBackup remembers a backup.
func (c *metaCall) recordBackup(body *commandv1.RecordBackup) (*commandv1.Response, error) {
	backup := body.GetBackup()
	if backup.GetName() == "" || len(backup.GetName()) > 256 || len(backup.GetLocation()) > 4096 || backup.GetJob() == 0 {
		return command.Refuse(fault.InvalidStatement, "the backup has no usable name, location or job"), nil
	}
	if refused, err := c.admitRun(backup.GetJob(), body.GetToken()); refused != nil || err != nil {
		return refused, err
	}
	known, err := catalog.LoadBackups(c.batch)
	if err != nil {
		return nil, err
	}
	for i, oldest := range known {
		if len(known)-i < MaxBackups {
			break
		}
		if err := c.batch.Delete(keys.Backup(oldest.GetJob())); err != nil {
			return nil, err
		}
	}
	return done("Backup '%s' recorded", backup.GetName()), c.put(keys.Backup(backup.GetJob()), backup)
}
