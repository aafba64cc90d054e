package applier

import (
	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

func (c *metaCall) createNamespace(body *commandv1.CreateNamespace) (*commandv1.Response, error) {
	name := body.GetName()
	if name == "" {
		return command.Refuse(fault.InvalidStatement, "the namespace has no name"), nil
	}
	if _, exists := c.Namespace(name); exists {
		if body.GetIfNotExists() {
			return done("Namespace '%s' already exists", name), nil
		}
		return command.Refuse(fault.AlreadyExists, "Namespace '%s' already exists", name), nil
	}
	namespace := &catalog.Namespace{Name: name, Options: body.GetOptions(), CreatedMicros: c.now}
	return done("Namespace '%s' created successfully", name), c.putNamespace(namespace)
}

func (c *metaCall) dropNamespace(body *commandv1.DropNamespace) (*commandv1.Response, error) {
	name := body.GetName()
	if _, exists := c.Namespace(name); !exists {
		if body.GetIfExists() {
			return done("Namespace '%s' does not exist", name), nil
		}
		return command.Refuse(fault.TableNotFound, "Namespace '%s' not found", name), nil
	}
	for _, table := range c.TablesIn(name) {
		if _, err := c.removeTable(table); err != nil {
			return nil, err
		}
	}
	c.DeleteNamespace(name)
	return done("Namespace '%s' dropped successfully", name), c.batch.Delete(keys.Namespace(name))
}

// createTable numbers the table by the log index of its creation and places it.
func (c *metaCall) createTable(body *commandv1.CreateTable) (*commandv1.Response, error) {
	if c.Cluster() == nil {
		return notFounded(), nil
	}
	table, err := catalog.TableFromProto(body.GetTable())
	if err != nil {
		return command.Refuse(fault.InvalidStatement, "the table cannot be created: %v", err), nil
	}
	if table.Kind == schema.KindSystem {
		return command.Refuse(fault.InvalidStatement, "system tables cannot be created"), nil
	}
	if _, exists := c.Namespace(table.Namespace); !exists {
		return command.Refuse(fault.TableNotFound, "Namespace '%s' not found", table.Namespace), nil
	}
	if existing, exists := c.Table(table.Namespace, table.Name); exists {
		if !body.GetIfNotExists() {
			return command.Refuse(fault.AlreadyExists, "Table '%s' already exists", table.FullName()), nil
		}
		response := done("Table '%s' already exists", table.FullName())
		response.ObjectId = uint64(existing.ID)
		return response, nil
	}
	if id := table.Options["STORAGE_ID"]; body.GetCheckStorage() && id != "" {
		if _, exists := c.Storage(id); !exists {
			return storageNotFound(id), nil
		}
	}
	table.ID = ident.TableID(c.index)
	table.Group = 0
	if table.Kind == schema.KindShared {
		table.Group = c.shards().RouteTable(table.ID)
	}
	table.Version = 1
	for i := range table.Columns {
		table.NextColumnID = max(table.NextColumnID, table.Columns[i].ID+1)
	}
	table.CreatedMicros, table.UpdatedMicros = c.now, c.now
	response := done("Table '%s' created successfully", table.FullName())
	response.ObjectId = uint64(table.ID)
	return response, c.putTable(table)
}

func (c *metaCall) dropTable(body *commandv1.DropTable) (*commandv1.Response, error) {
	table, exists := c.Table(body.GetNamespace(), body.GetName())
	if !exists {
		fullName := body.GetNamespace() + "." + body.GetName()
		if body.GetIfExists() {
			return done("Table '%s' does not exist", fullName), nil
		}
		return command.Refuse(fault.TableNotFound, "Table '%s' not found", fullName), nil
	}
	job, err := c.removeTable(table)
	if err != nil {
		return nil, err
	}
	response := done("Table '%s' dropped successfully. Cleanup job: %s", table.FullName(), catalog.JobID(job))
	response.ObjectId = uint64(table.ID)
	return response, nil
}

// cleanupDone forgets a dropped table. Repeating it changes nothing.
func (c *metaCall) cleanupDone(body *commandv1.CleanupDone) (*commandv1.Response, error) {
	table := ident.TableID(body.GetTableId())
	c.DeleteCleanup(table)
	return done("Table %d cleaned up", table), c.batch.Delete(keys.Cleanup(table))
}
