package applier

import (
	"maps"

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
	if refusal, err := c.dropViewsOf(name, body.GetCascade()); refusal != nil || err != nil {
		return refusal, err
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
	if _, exists := c.View(table.Namespace, table.Name); exists {
		return command.Refuse(fault.AlreadyExists, "View '%s' already exists", table.FullName()), nil
	}
	if id := table.Options["STORAGE_ID"]; body.GetCheckStorage() && id != "" {
		if _, exists := c.Storage(id); !exists {
			return storageNotFound(id), nil
		}
	}
	for i := range table.Indexes {
		if c.indexNameTaken(table.Namespace, table.Indexes[i].Name, 0) {
			return command.Refuse(fault.AlreadyExists, "Index '%s.%s' already exists", table.Namespace, table.Indexes[i].Name), nil
		}
	}
	base, err := catalog.LoadSequence(c.batch, catalog.SequenceTableBase)
	if err != nil {
		return nil, err
	}
	table.ID = ident.TableID(c.index + base)
	c.begin(table)
	response := done("Table '%s' created successfully", table.FullName())
	response.ObjectId = uint64(table.ID)
	return response, c.putTable(table)
}

// begin completes the descriptor of a table that has its id and no rows yet.
func (c *metaCall) begin(table *schema.Table) {
	table.Group = 0
	if table.Kind == schema.KindShared {
		table.Group = c.shards().RouteTable(table.ID)
	}
	table.Version, table.Revision = 1, 1
	for i := range table.Columns {
		table.NextColumnID = max(table.NextColumnID, table.Columns[i].ID+1)
	}
	for i := range table.Indexes {
		table.NextIndexID = max(table.NextIndexID, table.Indexes[i].ID+1)
		table.Indexes[i].State = schema.IndexReady // there is no row that it could miss
	}
	table.CreatedMicros, table.UpdatedMicros = c.now, c.now
}

// alterTable replaces a descriptor that is still the one that the change was made from.
func (c *metaCall) alterTable(body *commandv1.AlterTable) (*commandv1.Response, error) {
	table, err := catalog.TableFromProto(body.GetTable())
	if err != nil {
		return command.Refuse(fault.InvalidStatement, "the table cannot be altered: %v", err), nil
	}
	current, exists := c.TableByID(table.ID)
	switch {
	case !exists:
		return command.Refuse(fault.TableNotFound, "Table '%s' not found", table.FullName()), nil
	case current.Revision != body.GetExpectRevision():
		return altered(), nil
	case table.FullName() != current.FullName() || table.Kind != current.Kind || table.Group != current.Group:
		return command.Refuse(fault.Internal, "table %d cannot become '%s'", table.ID, table.FullName()), nil
	case table.Version < current.Version || table.NextColumnID < current.NextColumnID || table.NextIndexID < current.NextIndexID:
		return command.Refuse(fault.Internal, "table '%s' cannot go back", table.FullName()), nil
	case primaryKeyID(table) != primaryKeyID(current):
		return command.Refuse(fault.InvalidStatement, "the primary key of table '%s' cannot change", table.FullName()), nil
	}
	for i := range table.Indexes {
		x := &table.Indexes[i]
		if x.ID >= current.NextIndexID && c.indexNameTaken(table.Namespace, x.Name, table.ID) {
			return command.Refuse(fault.AlreadyExists, "Index '%s.%s' already exists", table.Namespace, x.Name), nil
		}
	}
	table.Revision = current.Revision + 1
	table.CreatedMicros, table.UpdatedMicros = current.CreatedMicros, c.now
	response := done("%s", body.GetMessage())
	response.ObjectId = uint64(table.ID)
	if body.GetKeepVersion() && table.Version > current.Version {
		if err := c.keepVersion(current); err != nil {
			return nil, err
		}
	}
	if err := c.putTable(table); err != nil {
		return nil, err
	}
	if table.Unfinished() {
		job, err := c.ownJob(NewSchemaChangeJob(uint64(table.ID)))
		if err != nil {
			return nil, err
		}
		response.Message += " Job ID: " + catalog.JobID(job)
	}
	return response, nil
}

// indexNameTaken reports whether another table of the namespace has an index of that name.
func (c *metaCall) indexNameTaken(namespace, name string, except ident.TableID) bool {
	for _, other := range c.TablesIn(namespace) {
		if _, taken := other.Index(name); taken && other.ID != except {
			return true
		}
	}
	return false
}

func primaryKeyID(table *schema.Table) uint32 {
	position := table.PrimaryKey()
	if position < 0 {
		return 0
	}
	return table.Columns[position].ID
}

// alterNamespace sets options and keeps the others.
func (c *metaCall) alterNamespace(body *commandv1.AlterNamespace) (*commandv1.Response, error) {
	current, exists := c.Namespace(body.GetName())
	if !exists {
		return command.Refuse(fault.TableNotFound, "Namespace '%s' not found", body.GetName()), nil
	}
	next := *current
	next.Options = make(map[string]string, len(current.Options)+len(body.GetOptions()))
	maps.Copy(next.Options, current.Options)
	maps.Copy(next.Options, body.GetOptions())
	if len(next.Options) > maxNamespaceOptions {
		return command.Refuse(fault.LimitExceeded, "a namespace has at most %d options", maxNamespaceOptions), nil
	}
	return done("Namespace '%s' altered successfully", next.Name), c.putNamespace(&next)
}

// maxNamespaceOptions bounds the options of a namespace.
const maxNamespaceOptions = 64

func (c *metaCall) dropTable(body *commandv1.DropTable) (*commandv1.Response, error) {
	table, exists := c.Table(body.GetNamespace(), body.GetName())
	if !exists {
		fullName := body.GetNamespace() + "." + body.GetName()
		if _, isView := c.View(body.GetNamespace(), body.GetName()); isView {
			return command.Refuse(fault.InvalidStatement, "'%s' is a view; use DROP VIEW", fullName), nil
		}
		if body.GetIfExists() {
			return done("Table '%s' does not exist", fullName), nil
		}
		return command.Refuse(fault.TableNotFound, "Table '%s' not found", fullName), nil
	}
	name := catalog.ObjectName{Namespace: table.Namespace, Name: table.Name}
	if refusal, err := c.dropReaders("Table", name, body.GetCascade()); refusal != nil || err != nil {
		return refusal, err
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
