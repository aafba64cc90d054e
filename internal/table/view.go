package table

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// Schemas of the computed tables.
const (
	SystemNamespace      = "system"
	InformationNamespace = "information_schema"
)

// viewDefinition declares one computed table.
type viewDefinition struct {
	namespace, name string
	columns         []viewColumn
}

type viewColumn struct {
	name     string
	kind     datum.Kind
	nullable bool
}

func text(name string) viewColumn      { return viewColumn{name: name, kind: datum.Text} }
func bigInt(name string) viewColumn    { return viewColumn{name: name, kind: datum.BigInt} }
func integer(name string) viewColumn   { return viewColumn{name: name, kind: datum.Int} }
func boolean(name string) viewColumn   { return viewColumn{name: name, kind: datum.Boolean} }
func jsonText(name string) viewColumn  { return viewColumn{name: name, kind: datum.JSON} }
func timestamp(name string) viewColumn { return viewColumn{name: name, kind: datum.Timestamp} }
func float(name string) viewColumn     { return viewColumn{name: name, kind: datum.Float} }

func orNull(column viewColumn) viewColumn {
	column.nullable = true
	return column
}

func (d *viewDefinition) descriptor() *schema.Table {
	descriptor := &schema.Table{Namespace: d.namespace, Name: d.name, Kind: schema.KindSystem, Version: 1}
	for i, column := range d.columns {
		descriptor.Columns = append(descriptor.Columns, schema.Column{
			ID: uint32(i + 1), Name: column.name, Type: datum.Type{Kind: column.kind}, Nullable: column.nullable,
		})
	}
	descriptor.NextColumnID = uint32(len(d.columns) + 1)
	return descriptor
}
