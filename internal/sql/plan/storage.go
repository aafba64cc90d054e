package plan

import (
	"encoding/json"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
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
	for _, setting := range node.Settings {
		if err := storageSetting(setting, storage); err != nil {
			return nil, err
		}
	}
	switch {
	case storage.Type == "":
		return nil, invalid(node, "storage '%s' needs a TYPE", id)
	case storage.BaseDirectory == "":
		return nil, invalid(node, "storage '%s' needs a PATH", id)
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
	for _, setting := range node.Settings {
		if setting.Name == "type" {
			return nil, invalid(setting, "the TYPE of a storage cannot change; create another storage")
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
		case "config":
			change.Config = &changed.Config
		case "shared_tables_template":
			change.SharedTablesTemplate = &changed.SharedTemplate
		case "user_tables_template":
			change.UserTablesTemplate = &changed.UserTemplate
		}
	}
	meta := &Meta{Command: &commandv1.Command{Body: &commandv1.Command_AlterStorage{AlterStorage: change}}}
	if change.BaseDirectory != nil {
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
		if lower(value) != "filesystem" {
			return unsupported(setting, "storages of type '%s' are not supported yet; use TYPE filesystem", value)
		}
		storage.Type = "filesystem"
	case "name":
		storage.Name = value
	case "description":
		storage.Description = value
	case "path", "base_directory":
		storage.BaseDirectory = value
		if !strings.HasPrefix(value, "/") || strings.Contains(value, "..") {
			return invalid(setting, "%s '%s' must be an absolute path without '..'", name, value)
		}
	case "credentials":
		storage.Credentials = value
		return jsonObject(setting, value)
	case "config":
		storage.Config = value
		return jsonObject(setting, value)
	case "shared_tables_template":
		storage.SharedTemplate = value
		return checkTemplate(setting, value, "{namespace}", "{tableName}")
	case "user_tables_template":
		storage.UserTemplate = value
		return checkTemplate(setting, value, "{namespace}", "{tableName}", "{userId}")
	default:
		return unsupported(setting, "%s belongs to object stores, which are not supported yet", name)
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
	return nil
}
