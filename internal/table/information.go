package table

import (
	"cmp"
	"context"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// databaseName is the only catalog there is: the first part of a three-part name.
const databaseName = "kalam"

// informationViews declares the views of information_schema, in ascending name. They are open to every role
// and show what the caller may know of.
func informationViews() []viewDefinition {
	return []viewDefinition{
		{InformationNamespace, "columns", (*System).informationColumnsRows, []viewColumn{
			text("table_catalog"), text("table_schema"), text("table_name"), text("column_name"), bigInt("ordinal_position"),
			orNull(text("column_default")), text("is_nullable"), text("data_type"), orNull(bigInt("character_maximum_length")),
			orNull(bigInt("character_octet_length")), orNull(bigInt("numeric_precision")), orNull(bigInt("numeric_precision_radix")),
			orNull(bigInt("numeric_scale")), orNull(bigInt("datetime_precision")), orNull(text("interval_type")),
			text("udt_catalog"), text("udt_schema"), text("udt_name"), text("is_identity"), text("is_generated"), text("is_updatable"),
		}},
		{InformationNamespace, "df_settings", (*System).informationSettingsRows, []viewColumn{
			text("name"), orNull(text("value")), orNull(text("description")),
		}},
		{InformationNamespace, "key_column_usage", (*System).informationKeysRows, []viewColumn{
			text("constraint_catalog"), text("constraint_schema"), text("constraint_name"), text("table_catalog"),
			text("table_schema"), text("table_name"), text("column_name"), bigInt("ordinal_position"),
			orNull(bigInt("position_in_unique_constraint")),
		}},
		{InformationNamespace, "parameters", (*System).noRows, []viewColumn{
			text("specific_catalog"), text("specific_schema"), text("specific_name"), bigInt("ordinal_position"),
			text("parameter_mode"), orNull(text("parameter_name")), text("data_type"), orNull(text("parameter_default")),
			boolean("is_variadic"), integer("rid"),
		}},
		{InformationNamespace, "routines", (*System).noRows, []viewColumn{
			text("specific_catalog"), text("specific_schema"), text("specific_name"), text("routine_catalog"),
			text("routine_schema"), text("routine_name"), text("routine_type"), boolean("is_deterministic"),
			orNull(text("data_type")), orNull(text("function_type")), orNull(text("description")), orNull(text("syntax_example")),
		}},
		{InformationNamespace, "schemata", (*System).informationSchemataRows, []viewColumn{
			text("catalog_name"), text("schema_name"), orNull(text("schema_owner")), orNull(text("default_character_set_catalog")),
			orNull(text("default_character_set_schema")), orNull(text("default_character_set_name")), orNull(text("sql_path")),
		}},
		{InformationNamespace, "table_constraints", (*System).informationConstraintsRows, []viewColumn{
			text("constraint_catalog"), text("constraint_schema"), text("constraint_name"), text("table_catalog"),
			text("table_schema"), text("table_name"), text("constraint_type"), text("is_deferrable"), text("initially_deferred"),
			text("enforced"),
		}},
		{InformationNamespace, "tables", (*System).informationTablesRows, []viewColumn{
			text("table_catalog"), text("table_schema"), text("table_name"), text("table_type"),
		}},
		{InformationNamespace, "views", (*System).informationViewsRows, []viewColumn{
			text("table_catalog"), text("table_schema"), text("table_name"), orNull(text("definition")),
		}},
	}
}

// allTables lists the tables and views of the catalog and the computed tables that the caller may know of, by namespace and name.
func (s *System) allTables(request *ViewRequest) []*schema.Table {
	list := request.visibleTables()
	for _, view := range request.Catalog.Views() {
		if request.Visible(view.Table) {
			list = append(list, view.Table)
		}
	}
	for _, view := range s.Views() {
		if request.Visible(view) {
			list = append(list, view)
		}
	}
	slices.SortFunc(list, func(a, b *schema.Table) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// namespaces lists the namespaces of stored and of computed tables by name. The computed ones are left out
// for callers who may read nothing in them.
func (s *System) namespaces(request *ViewRequest) []string {
	var names []string
	for _, namespace := range request.Catalog.Namespaces() {
		names = append(names, namespace.Name)
	}
	for _, t := range s.allTables(request) {
		names = append(names, t.Namespace)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *System) informationTablesRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, t := range s.allTables(request) {
		kind := "BASE TABLE"
		if !t.HasSystemColumns() {
			kind = "VIEW"
		}
		rows = append(rows, []datum.Datum{textValue(databaseName), textValue(t.Namespace), textValue(t.Name), textValue(kind)})
	}
	return rows, nil
}

func (s *System) informationViewsRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, t := range s.allTables(request) {
		if !t.HasSystemColumns() {
			rows = append(rows, []datum.Datum{textValue(databaseName), textValue(t.Namespace), textValue(t.Name), request.definition(t)})
		}
	}
	return rows, nil
}

func (s *System) informationSchemataRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, name := range s.namespaces(request) {
		rows = append(rows, []datum.Datum{textValue(databaseName), textValue(name), {}, {}, {}, {}, {}})
	}
	return rows, nil
}

func (s *System) informationColumnsRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, t := range s.allTables(request) {
		updatable := "YES"
		if !t.HasSystemColumns() {
			updatable = "NO"
		}
		for i := range t.Columns {
			column := &t.Columns[i]
			nullable := "NO"
			if column.Nullable {
				nullable = "YES"
			}
			precision, radix, scale := numericSize(column.Type)
			instants := datum.Datum{}
			if k := column.Type.Kind; k == datum.Timestamp || k == datum.DateTime || k == datum.Time {
				instants = number(6)
			}
			rows = append(rows, []datum.Datum{
				textValue(databaseName), textValue(t.Namespace), textValue(t.Name), textValue(column.Name), number(i + 1),
				defaultValue(column.Default), textValue(nullable), textValue(column.Type.String()),
				{},
				{},
				precision, radix, scale,
				instants,
				{},
				textValue(databaseName), textValue(PostgresNamespace), textValue(postgresType(column.Type).name),
				textValue("NO"), textValue("NEVER"), textValue(updatable),
			})
		}
	}
	return rows, nil
}

// numericSize gives the digits of a numeric type, their radix and the digits behind the point.
func numericSize(t datum.Type) (precision, radix, scale datum.Datum) {
	switch t.Kind { //nolint:exhaustive // the others have no size
	case datum.SmallInt:
		return number(16), number(2), number(0)
	case datum.Int:
		return number(32), number(2), number(0)
	case datum.BigInt:
		return number(64), number(2), number(0)
	case datum.Float:
		return number(24), number(2), datum.Datum{}
	case datum.Double:
		return number(53), number(2), datum.Datum{}
	case datum.Decimal:
		return number(int(t.Precision)), number(10), number(int(t.Scale))
	}
	return datum.Datum{}, datum.Datum{}, datum.Datum{}
}

func (s *System) informationSettingsRows(context.Context, *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, setting := range SessionSettings() {
		rows = append(rows, []datum.Datum{textValue(setting.Name), textValue(setting.Value), textValue(setting.Description)})
	}
	return rows, nil
}

// SessionSettings are what drivers ask of a PostgreSQL server; none of them can be changed.
func SessionSettings() []Setting {
	return []Setting{
		{Name: "bytea_output", Value: "hex", Description: "How bytes are printed as text."},
		{Name: "client_encoding", Value: "UTF8", Description: "Encoding of text on the wire."},
		{Name: "datestyle", Value: "ISO, MDY", Description: "How dates are printed."},
		{Name: "default_transaction_isolation", Value: "serializable", Description: "Isolation of statements within one group."},
		{Name: "default_transaction_read_only", Value: "off", Description: "Whether transactions change nothing."},
		{Name: "integer_datetimes", Value: "on", Description: "Times are whole microseconds."},
		{Name: "intervalstyle", Value: "postgres", Description: "How intervals are printed."},
		{Name: "lc_collate", Value: "C", Description: "Order of texts: by their bytes."},
		{Name: "lc_ctype", Value: "C", Description: "Classes of characters."},
		{Name: "server_encoding", Value: "UTF8", Description: "Encoding of stored text."},
		{Name: "server_version", Value: PostgresVersion, Description: "Version of PostgreSQL whose dialect is spoken."},
		{Name: "server_version_num", Value: "160000", Description: "The same as one number."},
		{Name: "standard_conforming_strings", Value: "on", Description: "Backslashes in plain strings are literal."},
		{Name: "timezone", Value: "UTC", Description: "Zone of times without one."},
		{Name: "transaction_isolation", Value: "serializable", Description: "Isolation of statements within one group."},
	}
}
