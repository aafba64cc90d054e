package applier

import (
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// maxStorages bounds the storages of a cluster.
const maxStorages = 256

func (c *metaCall) putStorage(storage *catalog.Storage) error {
	c.SetStorage(storage)
	return c.put(keys.Storage(storage.ID), catalog.StorageToProto(storage))
}

func (c *metaCall) createStorage(body *commandv1.CreateStorage) (*commandv1.Response, error) {
	storage, err := catalog.StorageFromProto(body.GetStorage())
	if err != nil {
		return command.Refuse(fault.InvalidStatement, "the storage cannot be created: %v", err), nil
	}
	if _, exists := c.Storage(storage.ID); exists {
		if body.GetIfNotExists() {
			return done("Storage '%s' already exists", storage.ID), nil
		}
		return command.Refuse(fault.AlreadyExists, "Storage '%s' already exists", storage.ID), nil
	}
	if len(c.Storages()) >= maxStorages {
		return command.Refuse(fault.LimitExceeded, "a cluster can have %d storages; drop one that is not used", maxStorages), nil
	}
	storage.CreatedMicros, storage.UpdatedMicros = c.now, c.now
	return done("Storage '%s' created successfully", storage.ID), c.putStorage(storage)
}

// alterStorage changes what is set in the command. Where files are does not change while a table has some there.
func (c *metaCall) alterStorage(body *commandv1.AlterStorage) (*commandv1.Response, error) {
	storage, exists := c.Storage(body.GetId())
	if !exists {
		return storageNotFound(body.GetId()), nil
	}
	changed := *storage
	for _, field := range []struct {
		value *string
		to    *string
		moves bool
	}{
		{body.Name, &changed.Name, false},
		{body.Description, &changed.Description, false},
		{body.BaseDirectory, &changed.BaseDirectory, true},
		{body.Credentials, &changed.Credentials, false},
		{body.Config, &changed.Config, false},
		{body.SharedTablesTemplate, &changed.SharedTemplate, true},
		{body.UserTablesTemplate, &changed.UserTemplate, true},
	} {
		if field.value == nil {
			continue
		}
		if table := c.StorageUser(storage.ID); field.moves && table != nil && *field.value != *field.to {
			return command.Refuse(fault.InvalidStatement,
				"Storage '%s' is used by table '%s', so its directories cannot change", storage.ID, table.FullName()), nil
		}
		*field.to = *field.value
	}
	changed.UpdatedMicros = c.now
	return done("Storage '%s' altered successfully", storage.ID), c.putStorage(&changed)
}

func (c *metaCall) dropStorage(body *commandv1.DropStorage) (*commandv1.Response, error) {
	id := body.GetId()
	if _, exists := c.Storage(id); !exists {
		if body.GetIfExists() {
			return done("Storage '%s' does not exist", id), nil
		}
		return storageNotFound(id), nil
	}
	if id == catalog.LocalStorage {
		return command.Refuse(fault.InvalidStatement, "Storage '%s' is always there and cannot be dropped", id), nil
	}
	if table := c.StorageUser(id); table != nil {
		return command.Refuse(fault.InvalidStatement, "Storage '%s' is used by table '%s'; drop its tables first", id, table.FullName()), nil
	}
	c.DeleteStorage(id)
	return done("Storage '%s' dropped successfully", id), c.batch.Delete(keys.Storage(id))
}

func storageNotFound(id string) *commandv1.Response {
	return command.Refuse(fault.NotFound, "Storage '%s' not found", id)
}
