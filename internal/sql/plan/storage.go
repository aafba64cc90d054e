package plan

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/storages"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// maxStorageText bounds each setting of a storage in bytes.
const maxStorageText = 4096

// StorageCheck asks whether a storage can be used from this node.
type StorageCheck struct {
	Storage  *catalog.Storage
	Extended bool // also measure how much room there is
}

func (*StorageCheck) statement() {}

// StorageCheckColumns are the columns of the answer to STORAGE CHECK.
func StorageCheckColumns() []Column {
	text, bigInt, boolean := datum.Of(datum.Text), datum.Of(datum.BigInt), datum.Of(datum.Boolean)
	return []Column{
		{Name: "storage_id", Type: text},
		{Name: "status", Type: text},
		{Name: "readable", Type: boolean},
		{Name: "writable", Type: boolean},
		{Name: "listable", Type: boolean},
		{Name: "deletable", Type: boolean},
		{Name: "latency_ms", Type: bigInt},
		{Name: "total_bytes", Type: bigInt},
		{Name: "used_bytes", Type: bigInt},
		{Name: "error", Type: text},
		{Name: "tested_at", Type: datum.Of(datum.Timestamp)},
	}
}

func (e *Environment) createStorage(node *parse.CreateStorage) (Statement, error) {
	id := node.Name.Name
	if err := checkName(node.Name, "storage", id); err != nil {
		return nil, err
	}
	storage := &catalog.Storage{
		ID: id, Name: id, SharedTemplate: catalog.DefaultSharedTemplate, UserTemplate: catalog.DefaultUserTemplate,
	}
	for _, setting := range membersLast(node.Settings) {
		if err := storageSetting(setting, storage); err != nil {
			return nil, err
		}
	}
	switch {
	case storage.Type == "":
		return nil, invalid(node, "storage '%s' needs a TYPE", id)
	case storage.BaseDirectory == "":
		return nil, invalid(node, "storage '%s' needs a PATH, or a BUCKET", id)
	}
	if err := checkPlace(node, storage); err != nil {
		return nil, err
	}
	if _, exists := e.Catalog.Storage(id); exists && !node.IfNotExists {
		return nil, at(node.Name, fault.New(fault.AlreadyExists, "storage '%s' already exists", id))
	}
	return &Meta{
		Command: &commandv1.Command{Body: &commandv1.Command_CreateStorage{CreateStorage: &commandv1.CreateStorage{
			Storage: catalog.StorageToProto(storage), IfNotExists: node.IfNotExists,
		}}},
		Storage: storage,
	}, nil
}

func (e *Environment) alterStorage(node *parse.AlterStorage) (Statement, error) {
	current, exists := e.Catalog.Storage(node.Name.Name)
	if !exists {
		return nil, at(node.Name, fault.New(fault.NotFound, "storage '%s' not found", node.Name.Name))
	}
	changed := *current
	change := &commandv1.AlterStorage{Id: current.ID}
	for _, setting := range membersLast(node.Settings) {
		if setting.Name == "type" {
			return nil, invalid(setting, "the TYPE of a storage cannot change; create another storage")
		}
		if setting.Name == "credentials" {
			changed.Credentials = "" // what is there is sealed
		}
		if err := storageSetting(setting, &changed); err != nil {
			return nil, err
		}
		switch setting.Name {
		case "name":
			change.Name = &changed.Name
		case "description":
			change.Description = &changed.Description
		case "path", "base_directory", "bucket":
			if current.ID == catalog.LocalStorage {
				return nil, invalid(setting, "the directory of storage '%s' follows the data path of each node", current.ID)
			}
			change.BaseDirectory = &changed.BaseDirectory
		case "credentials":
			change.Credentials = &changed.Credentials
		case "config", "region", "endpoint":
			change.Config = &changed.Config
		case "shared_tables_template":
			change.SharedTablesTemplate = &changed.SharedTemplate
		case "user_tables_template":
			change.UserTablesTemplate = &changed.UserTemplate
		}
	}
	meta := &Meta{Command: &commandv1.Command{Body: &commandv1.Command_AlterStorage{AlterStorage: change}}}
	if err := checkPlace(node, &changed); err != nil {
		return nil, err
	}
	if change.BaseDirectory != nil || change.Credentials != nil || change.Config != nil {
		meta.Storage = &changed
	}
	return meta, nil
}

func dropStorage(node *parse.DropStorage) Statement {
	return &Meta{Command: &commandv1.Command{Body: &commandv1.Command_DropStorage{DropStorage: &commandv1.DropStorage{
		Id: node.Name.Name, IfExists: node.IfExists,
	}}}}
}

func (e *Environment) storageCheck(node *parse.StorageCheck) (Statement, error) {
	storage, exists := e.Catalog.Storage(node.Name.Name)
	if !exists {
		return nil, at(node.Name, fault.New(fault.NotFound, "storage '%s' not found", node.Name.Name))
	}
	return &StorageCheck{Storage: storage, Extended: node.Extended}, nil
}

// storageSetting reads one setting into a storage.
func storageSetting(setting parse.Option, storage *catalog.Storage) error {
	value, err := optionText(setting)
	if err != nil {
		return err
	}
	name := strings.ToUpper(setting.Name)
	if len(value) > maxStorageText || strings.ContainsRune(value, 0) {
		return invalid(setting, "%s must have at most %d bytes and no zero byte", name, maxStorageText)
	}
	switch setting.Name {
	case "type":
		storage.Type = lower(value)
		if storage.Type != storages.TypeFilesystem && storage.Type != storages.TypeS3 {
			return unsupported(setting, "storages of type '%s' are not supported; use TYPE filesystem or s3", value)
		}
	case "name":
		storage.Name = value
	case "description":
		storage.Description = value
	case "path", "base_directory", "bucket":
		storage.BaseDirectory = value
	case "credentials":
		storage.Credentials = value
		return jsonObject(setting, value)
	case "config":
		storage.Config = value
		return jsonObject(setting, value)
	case "region", "endpoint":
		config, err := withMember(storage.Config, setting.Name, value)
		if err != nil {
			return invalid(setting, "%s cannot be put into CONFIG: %v", name, err)
		}
		storage.Config = config
	case "shared_tables_template":
		storage.SharedTemplate = value
		return checkTemplate(setting, value, "{namespace}", "{tableName}")
	case "user_tables_template":
		storage.UserTemplate = value
		return checkTemplate(setting, value, "{namespace}", "{tableName}", "{userId}")
	default:
		return unsupported(setting, "%s is no setting of a storage", name)
	}
	return nil
}

// membersLast puts the settings that are members of CONFIG behind it.
func membersLast(settings []parse.Option) []parse.Option {
	ordered := slices.Clone(settings)
	slices.SortStableFunc(ordered, func(a, b parse.Option) int {
		member := func(o parse.Option) int {
			if o.Name == "region" || o.Name == "endpoint" {
				return 1
			}
			return 0
		}
		return member(a) - member(b)
	})
	return ordered
}

// withMember puts a member into a JSON object.
func withMember(object, name, value string) (string, error) {
	members := map[string]any{}
	if object != "" {
		if err := json.Unmarshal([]byte(object), &members); err != nil {
			return "", err
		}
	}
	members[name] = value
	merged, err := json.Marshal(members)
	return string(merged), err
}

// checkPlace makes sure that a storage says where it is in the way of its type.
func checkPlace(node parse.Node, storage *catalog.Storage) error {
	place := storage.BaseDirectory
	if storage.Type == storages.TypeFilesystem {
		if place != "" && (!strings.HasPrefix(place, "/") || strings.Contains(place, "..")) {
			return invalid(node, "PATH '%s' must be an absolute path without '..'", place)
		}
		return nil
	}
	open := *storage
	if storages.Sealed(open.Credentials) {
		open.Credentials = "" // they were looked at when they came
	}
	if err := storages.Check(&open); err != nil {
		return invalid(node, "storage '%s': %w", storage.ID, err)
	}
	return nil
}

func jsonObject(setting parse.Option, value string) error {
	var object map[string]any
	if err := json.Unmarshal([]byte(value), &object); err != nil {
		return invalid(setting, "%s must be a JSON object: %v", strings.ToUpper(setting.Name), err)
	}
	return nil
}

// checkTemplate makes sure that no two tables, or users, get the same directory and that none leaves the
// base directory.
func checkTemplate(setting parse.Option, value string, placeholders ...string) error {
	rest := value
	for _, placeholder := range placeholders {
		if strings.Count(value, placeholder) != 1 {
			return invalid(setting, "%s '%s' must hold %s once", strings.ToUpper(setting.Name), value, placeholder)
		}
		rest = strings.ReplaceAll(rest, placeholder, "x")
	}
	if strings.ContainsAny(rest, "{}\\") || strings.HasPrefix(value, "/") || strings.Contains(value, "..") {
		return invalid(setting, "%s '%s' must be a relative path of letters and %s", strings.ToUpper(setting.Name), value,
			strings.Join(placeholders, ", "))
	}
	for element := range strings.SplitSeq(value, "/") {
		if strings.Count(element, "{") > 1 { // a table "a" of user "b-c" would meet a table "a-b" of user "c"
			return invalid(setting, "%s '%s' holds two placeholders in '%s'; put a '/' between them", strings.ToUpper(setting.Name), value, element)
		}
	}
	return nil
}

// StorageFlush asks for jobs that make the rows of tables cold, or that merge their segments.
type StorageFlush struct {
	Tables  []*schema.Table
	What    string // the tables, as the statement names them
	Compact bool
}

func (*StorageFlush) statement() {}

// storageFlush finds the tables of a statement. ALL leaves out those that are never flushed.
func (e *Environment) storageFlush(table parse.ObjectName, in parse.Ident, compact bool) (Statement, error) {
	if table.Name != "" {
		namespace, name := e.tableName(table)
		found, ok := e.Catalog.Table(namespace, name)
		switch {
		case !ok || !CanSee(e.Caller.Role, found):
			return nil, at(table, fault.New(fault.TableNotFound, "table '%s.%s' not found", namespace, name))
		case found.Kind != schema.KindShared && found.Kind != schema.KindUser:
			return nil, at(table, fault.New(fault.InvalidStatement,
				"table '%s' is a %s table; only user and shared tables can be flushed", found.FullName(), found.Kind))
		}
		return &StorageFlush{Tables: []*schema.Table{found}, What: "table '" + found.FullName() + "'", Compact: compact}, nil
	}
	statement := &StorageFlush{What: "all tables", Compact: compact}
	namespace := in.Name
	if namespace != "" {
		if _, ok := e.Catalog.Namespace(namespace); !ok {
			return nil, at(in, fault.New(fault.TableNotFound, "Namespace '%s' not found", namespace))
		}
		statement.What = "all tables of namespace '" + namespace + "'"
	}
	for _, found := range e.Catalog.Tables() {
		stored := found.Kind == schema.KindShared || found.Kind == schema.KindUser
		if stored && (namespace == "" || found.Namespace == namespace) && CanSee(e.Caller.Role, found) {
			statement.Tables = append(statement.Tables, found)
		}
	}
	return statement, nil
}
