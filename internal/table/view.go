package table

import (
	"context"
	"math"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// Namespaces of the computed tables.
const (
	SystemNamespace      = "system"
	InformationNamespace = "information_schema"
	PostgresNamespace    = "pg_catalog"
)

// viewDefinition declares one computed table.
type viewDefinition struct {
	namespace, name string
	rows            func(s *System, ctx context.Context, request *ViewRequest) ([][]datum.Datum, error)
	columns         []viewColumn
}

type viewColumn struct {
	name     string
	kind     datum.Kind
	elem     datum.Kind // of an array
	nullable bool
}

func text(name string) viewColumn      { return viewColumn{name: name, kind: datum.Text} }
func bigInt(name string) viewColumn    { return viewColumn{name: name, kind: datum.BigInt} }
func smallInt(name string) viewColumn  { return viewColumn{name: name, kind: datum.SmallInt} }
func integer(name string) viewColumn   { return viewColumn{name: name, kind: datum.Int} }
func boolean(name string) viewColumn   { return viewColumn{name: name, kind: datum.Boolean} }
func jsonText(name string) viewColumn  { return viewColumn{name: name, kind: datum.JSON} }
func timestamp(name string) viewColumn { return viewColumn{name: name, kind: datum.Timestamp} }
func float(name string) viewColumn     { return viewColumn{name: name, kind: datum.Float} }

func numbers(name string) viewColumn {
	return viewColumn{name: name, kind: datum.Array, elem: datum.SmallInt}
}

func texts(name string) viewColumn {
	return viewColumn{name: name, kind: datum.Array, elem: datum.Text}
}

func orNull(column viewColumn) viewColumn {
	column.nullable = true
	return column
}

func (d *viewDefinition) descriptor() *schema.Table {
	descriptor := &schema.Table{Namespace: d.namespace, Name: d.name, Kind: schema.KindSystem, Version: 1}
	for i, column := range d.columns {
		descriptor.Columns = append(descriptor.Columns, schema.Column{
			ID: uint32(i + 1), Name: column.name, Type: datum.Type{Kind: column.kind, Elem: column.elem}, Nullable: column.nullable,
		})
	}
	descriptor.NextColumnID = uint32(len(d.columns) + 1) //nolint:gosec // a few dozen
	return descriptor
}

// The values of view rows, from Go values.

func textValue(v string) datum.Datum { return datum.NewText(v) }

// optionalText shows the empty string as NULL.
func optionalText(v string) datum.Datum {
	if v == "" {
		return datum.Datum{}
	}
	return datum.NewText(v)
}

func textPointer(v *string) datum.Datum {
	if v == nil {
		return datum.Datum{}
	}
	return datum.NewText(*v)
}

func number[T ~int | ~int32 | ~int64 | ~uint32 | ~uint64](v T) datum.Datum {
	return datum.NewBigInt(int64(v))
}

func numberPointer[T ~int64 | ~uint64](v *T) datum.Datum {
	if v == nil {
		return datum.Datum{}
	}
	return datum.NewBigInt(int64(*v))
}

func small[T ~int | ~int32 | ~uint32](v T) datum.Datum { return datum.NewInt(datum.Int, int64(v)) }

func smaller(v uint32) datum.Datum { return datum.NewInt(datum.SmallInt, int64(min(v, math.MaxInt16))) }

// moment is an instant that is always there.
func moment(micros int64) datum.Datum { return datum.NewInt(datum.Timestamp, micros) }

// instant shows zero, which means never, as NULL.
func instant(micros int64) datum.Datum {
	if micros == 0 {
		return datum.Datum{}
	}
	return datum.NewInt(datum.Timestamp, micros)
}
