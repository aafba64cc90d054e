package plan

import (
	"strconv"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// maxColumns bounds the columns of a table.
const maxColumns = 1000

// createTable makes the descriptor that CREATE TABLE declares. Its id and group are given out when the
// command is applied.
func (e *Environment) createTable(node *parse.CreateTable) (Statement, error) {
	namespace, name := e.tableName(node.Name)
	if table.IsViewNamespace(namespace) {
		return nil, at(node.Name, fault.New(fault.PermissionDenied, "access denied: no table can be created in '%s'", namespace))
	}
	if node.As != nil {
		return nil, unsupported(node, "CREATE TABLE ... AS is not supported: a table needs a primary key, which a query does not name; create the table, then use INSERT INTO ... SELECT")
	}
	if err := checkObjectName(node.Name, "table", name); err != nil {
		return nil, err
	}
	descriptor := &schema.Table{Namespace: namespace, Name: name, Version: 1, Options: map[string]string{}}
	if err := e.tableKind(node, descriptor); err != nil {
		return nil, err
	}
	if _, exists := e.Catalog.Namespace(namespace); !exists {
		return nil, at(node.Name, fault.New(fault.NotFound, "namespace '%s' not found; create it first", namespace))
	}
	if err := tableOptions(node, descriptor); err != nil {
		return nil, err
	}
	for _, option := range node.Options {
		if option.Name != "storage_id" {
			continue
		}
		if _, exists := e.Catalog.Storage(descriptor.Options["STORAGE_ID"]); !exists {
			return nil, at(option, fault.New(fault.NotFound, "storage '%s' not found", descriptor.Options["STORAGE_ID"]))
		}
	}
	if err := tableColumns(node, descriptor); err != nil {
		return nil, err
	}
	if err := e.uniqueConstraints(node, descriptor); err != nil {
		return nil, err
	}
	return &Meta{
		Command: &commandv1.Command{Body: &commandv1.Command_CreateTable{CreateTable: &commandv1.CreateTable{
			Table: catalog.TableToProto(descriptor), IfNotExists: node.IfNotExists, CheckStorage: true,
		}}},
	}, nil
}

// tableKind takes the kind from the statement, then from the TYPE option, then from the default: SHARED,
// or USER for a user or service in the namespace named like itself.
func (e *Environment) tableKind(node *parse.CreateTable, descriptor *schema.Table) error {
	descriptor.Kind = node.Kind
	for _, option := range node.Options {
		if option.Name != "type" {
			continue
		}
		word, err := optionText(option)
		if err != nil {
			return err
		}
		kind, ok := kindOfWord(word)
		if !ok {
			return invalid(option, "option TYPE = '%s' must be USER, SHARED or STREAM", word)
		}
		if node.Kind != 0 && node.Kind != kind {
			return invalid(option, "option TYPE = '%s' contradicts CREATE %s TABLE", word, strings.ToUpper(node.Kind.String()))
		}
		descriptor.Kind = kind
	}
	if descriptor.Kind == 0 {
		descriptor.Kind = schema.KindShared
		ownNamespace := descriptor.Namespace == string(e.Caller.User())
		if ownNamespace && (e.Caller.Role == session.RoleUser || e.Caller.Role == session.RoleService) {
			descriptor.Kind = schema.KindUser
		}
	}
	return nil
}

func kindOfWord(word string) (schema.TableKind, bool) {
	switch lower(word) {
	case "user":
		return schema.KindUser, true
	case "shared":
		return schema.KindShared, true
	case "stream":
		return schema.KindStream, true
	}
	return 0, false
}

func tableOptions(node *parse.CreateTable, descriptor *schema.Table) error {
	seen := map[string]bool{}
	for _, option := range node.Options {
		if seen[option.Name] {
			return invalid(option, "option %s is given twice", strings.ToUpper(option.Name))
		}
		seen[option.Name] = true
		if err := tableOption(option, descriptor); err != nil {
			return err
		}
	}
	if descriptor.Kind == schema.KindStream && !seen[strings.ToLower(schema.TTLOption)] {
		return invalid(node, "a STREAM table needs the option TTL_SECONDS, the seconds that its rows exist")
	}
	return nil
}

// maxTTLSeconds is ten years.
const maxTTLSeconds = 10 * 366 * 24 * 3600

func tableOption(option parse.Option, descriptor *schema.Table) error {
	name := strings.ToUpper(option.Name)
	value, err := optionText(option)
	if err != nil {
		return err
	}
	switch name {
	case "TYPE":
		return nil
	case "ACCESS_LEVEL":
		level, ok := accessOfWord(value)
		if !ok {
			return invalid(option, "option ACCESS_LEVEL = '%s' must be public, private, restricted or dba", value)
		}
		if descriptor.Kind != schema.KindShared {
			return invalid(option, "option ACCESS_LEVEL is for SHARED tables")
		}
		descriptor.Access = level
		return nil
	case "STORAGE_ID":
		if value == "" {
			return invalid(option, "option STORAGE_ID must not be empty")
		}
	case "USE_USER_STORAGE":
		if descriptor.Kind != schema.KindUser {
			return invalid(option, "option USE_USER_STORAGE is for USER tables")
		}
		if _, err := strconv.ParseBool(lower(value)); err != nil {
			return invalid(option, "option USE_USER_STORAGE = '%s' must be true or false", value)
		}
	case "FLUSH_POLICY", "DELETED_RETENTION_HOURS":
		if descriptor.Kind == schema.KindStream {
			return invalid(option, "option %s is not for STREAM tables: their rows are never flushed and leave nothing behind", name)
		}
		if name == "DELETED_RETENTION_HOURS" {
			if _, err := strconv.ParseUint(value, 10, 32); err != nil {
				return invalid(option, "option DELETED_RETENTION_HOURS = '%s' must be a whole number of hours", value)
			}
			break
		}
		if err := checkFlushPolicy(option, value); err != nil {
			return err
		}
	case schema.TTLOption:
		if descriptor.Kind != schema.KindStream {
			return invalid(option, "option TTL_SECONDS is for STREAM tables")
		}
		if seconds, err := strconv.ParseInt(value, 10, 64); err != nil || seconds < 1 || seconds > maxTTLSeconds {
			return invalid(option, "option TTL_SECONDS = '%s' must be a number of seconds from 1 to %d", value, maxTTLSeconds)
		}
	case schema.NodeLocalOption:
		if descriptor.Kind != schema.KindStream {
			return invalid(option, "option NODE_LOCAL is for STREAM tables: rows of other tables are always replicated")
		}
		local, err := strconv.ParseBool(lower(value))
		if err != nil {
			return invalid(option, "option NODE_LOCAL = '%s' must be true or false", value)
		}
		value = strconv.FormatBool(local)
	default:
		return invalid(option, "unknown table option %s", name)
	}
	descriptor.Options[name] = value
	return nil
}

// checkFlushPolicy accepts rows:N, interval:S or both, separated by a comma.
func checkFlushPolicy(option parse.Option, value string) error {
	const maxRows, maxSeconds = 1_000_000, 86_400
	bounds := map[string]uint64{"rows": maxRows, "interval": maxSeconds}
	for part := range strings.SplitSeq(value, ",") {
		word, number, _ := strings.Cut(strings.TrimSpace(part), ":")
		bound, known := bounds[lower(strings.TrimSpace(word))]
		count, err := strconv.ParseUint(strings.TrimSpace(number), 10, 32)
		if !known || err != nil || count < 1 || count >= bound {
			return invalid(option, "option FLUSH_POLICY = '%s' must be 'rows:N', 'interval:S' or both, with N from 1 to %d and S from 1 to %d",
				value, maxRows-1, maxSeconds-1)
		}
		delete(bounds, lower(strings.TrimSpace(word)))
	}
	return nil
}

func accessOfWord(word string) (schema.AccessLevel, bool) {
	for _, level := range []schema.AccessLevel{
		schema.AccessPrivate, schema.AccessPublic, schema.AccessRestricted, schema.AccessDBA,
	} {
		if lower(word) == level.String() {
			return level, true
		}
	}
	return 0, false
}

// optionText returns the value of an option as text, whatever literal it was written as.
func optionText(option parse.Option) (string, error) {
	switch value := option.Value.(type) {
	case *parse.StringLiteral:
		return value.Value, nil
	case *parse.IntegerLiteral:
		return strconv.FormatInt(value.Value, 10), nil
	case *parse.BoolLiteral:
		return strconv.FormatBool(value.Value), nil
	}
	return "", invalid(option, "option %s needs a constant", strings.ToUpper(option.Name))
}

func tableColumns(node *parse.CreateTable, descriptor *schema.Table) error {
	if len(node.Columns) > maxColumns {
		return invalid(node, "a table has at most %d columns, got %d", maxColumns, len(node.Columns))
	}
	names := map[string]bool{}
	for i := range node.Columns {
		definition := &node.Columns[i]
		if err := checkColumnName(definition); err != nil {
			return err
		}
		if names[lower(definition.Name)] {
			return invalid(definition, "column '%s' is declared twice", definition.Name)
		}
		names[lower(definition.Name)] = true
		column, err := tableColumn(definition)
		if err != nil {
			return err
		}
		column.ID = uint32(i + 1)
		descriptor.Columns = append(descriptor.Columns, column)
	}
	descriptor.NextColumnID = uint32(len(node.Columns) + 1) //nolint:gosec // at most maxColumns
	if err := tableConstraints(node, descriptor); err != nil {
		return err
	}
	return checkPrimaryKey(node, descriptor)
}

func checkColumnName(definition *parse.ColumnDef) error {
	if schema.IsReservedColumn(definition.Name) {
		return invalid(definition, "column name '%s' is reserved", definition.Name)
	}
	return checkName(definition, "column", definition.Name)
}

func tableColumn(definition *parse.ColumnDef) (schema.Column, error) {
	columnType, err := columnType(&definition.Type)
	if err != nil {
		return schema.Column{}, err
	}
	column := schema.Column{
		Name: definition.Name, Type: columnType, PrimaryKey: definition.PrimaryKey,
		Nullable: definition.Nullability != parse.NotNull && !definition.PrimaryKey,
	}
	if definition.PrimaryKey && definition.Nullability == parse.Nullable {
		return schema.Column{}, invalid(definition, "primary key column '%s' cannot be NULL", definition.Name)
	}
	if definition.Identity || strings.HasSuffix(definition.Type.Name, "serial") {
		if !columnType.Kind.IsInteger() {
			return schema.Column{}, invalid(definition, "identity column '%s' must be an integer", definition.Name)
		}
		// Generated numbers need 64 bits, whatever width was asked for.
		column.Type = datum.Of(datum.BigInt)
		column.Default.Kind = schema.DefaultSnowflake
		column.Nullable = false
	}
	if definition.Default == nil {
		return column, nil
	}
	if column.Default.Kind != schema.DefaultNone {
		return schema.Column{}, invalid(definition, "identity column '%s' cannot have a DEFAULT", definition.Name)
	}
	column.Default, err = columnDefault(definition, column.Type)
	return column, err
}

// columnType reads a type that a column can have.
func columnType(name *parse.TypeName) (datum.Type, error) {
	if name.Array || name.Name == "enum" { // labels are documentation: an enum holds any text
		return datum.Of(datum.Text), nil
	}
	found, err := datum.ParseTypeName(name.Name, name.Args)
	if err != nil {
		return datum.Type{}, at(name, fault.New(fault.KindOf(err), "%w", err))
	}
	if found.Kind == datum.Null || found.Kind >= datum.Array {
		return datum.Type{}, invalid(name, "a column cannot have type %s", found)
	}
	return found, nil
}

func tableConstraints(node *parse.CreateTable, descriptor *schema.Table) error {
	for i := range node.Constraints {
		constraint := &node.Constraints[i]
		switch constraint.Kind {
		case parse.CheckConstraint, parse.ForeignKeyConstraint:
			continue // accepted and not enforced, as documented
		case parse.UniqueConstraint:
			continue // becomes an index once all columns are known
		case parse.PrimaryKeyConstraint:
			if len(constraint.Columns) != 1 {
				return invalid(constraint, "a primary key has exactly one column; composite keys are not supported")
			}
		}
		name := constraint.Columns[0]
		position, ok := descriptor.Column(name.Name)
		if !ok {
			return invalid(name, "column '%s' of the constraint does not exist", name.Name)
		}
		column := &descriptor.Columns[position]
		if node.Columns[position].Nullability == parse.Nullable {
			return invalid(name, "primary key column '%s' cannot be NULL", name.Name)
		}
		column.PrimaryKey, column.Nullable = true, false
	}
	return nil
}

func checkPrimaryKey(node *parse.CreateTable, descriptor *schema.Table) error {
	count := 0
	for i := range descriptor.Columns {
		if !descriptor.Columns[i].PrimaryKey {
			continue
		}
		count++
		kind := descriptor.Columns[i].Type.Kind
		if kind == datum.JSON || kind == datum.File || kind == datum.Embedding {
			return invalid(&node.Columns[i], "column '%s' of type %s cannot be a primary key", descriptor.Columns[i].Name, kind)
		}
	}
	switch {
	case count > 1:
		return invalid(node, "a primary key has exactly one column; composite keys are not supported")
	case count == 0 && descriptor.Kind != schema.KindStream:
		return invalid(node, "a %s table needs a PRIMARY KEY column", strings.ToUpper(descriptor.Kind.String()))
	}
	return nil
}
