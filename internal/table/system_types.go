package table

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// typeViews declares the views of types and of the columns of all tables.
func typeViews() []viewDefinition {
	return []viewDefinition{
		{SystemNamespace, "datatypes", (*System).datatypesRows, []viewColumn{
			text("arrow_type"), text("kalam_type"), text("sql_name"), text("description"),
		}},
		{SystemNamespace, "describe", (*System).describeRows, []viewColumn{
			text("column_name"), integer("ordinal_position"), bigInt("column_id"), text("data_type"), boolean("is_nullable"),
			boolean("is_primary_key"), orNull(text("column_default")), orNull(text("column_comment")), integer("schema_version"),
		}},
	}
}

func (*System) datatypesRows(context.Context, *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, d := range [][4]string{
		{"Boolean", "Boolean", "BOOLEAN", "true or false"},
		{"Int16", "SmallInt", "SMALLINT", "whole number of 16 bits"},
		{"Int32", "Int", "INT", "whole number of 32 bits"},
		{"Int64", "BigInt", "BIGINT", "whole number of 64 bits; text in JSON"},
		{"Float32", "Float", "FLOAT", "binary floating point of 32 bits"},
		{"Float64", "Double", "DOUBLE", "binary floating point of 64 bits"},
		{"Decimal128", "Decimal", "DECIMAL(p,s)", "exact decimal of up to 38 digits; text in JSON"},
		{"Utf8", "Text", "TEXT", "UTF-8 text"},
		{"Utf8", "Json", "JSON", "JSON, kept as text"},
		{"Utf8", "File", "FILE", "reference to a stored file, JSON text"},
		{"Binary", "Bytes", "BYTES", "bytes; an array of numbers in JSON"},
		{"FixedSizeBinary(16)", "Uuid", "UUID", "128 bit identifier"},
		{"Timestamp(Microsecond, None)", "Timestamp", "TIMESTAMP", "date and time in microseconds, without zone"},
		{"Timestamp(Microsecond, Some(UTC))", "DateTime", "DATETIME", "date and time in microseconds, UTC"},
		{"Date32", "Date", "DATE", "days since 1970-01-01"},
		{"Time64(Microsecond)", "Time", "TIME", "microseconds since midnight"},
		{"FixedSizeList(Float32)", "Embedding", "EMBEDDING(n)", "vector of 1 to 8192 numbers of 32 bits"},
	} {
		rows = append(rows, []datum.Datum{textValue(d[0]), textValue(d[1]), textValue(d[2]), textValue(d[3])})
	}
	return rows, nil
}

// DescribeRows describes the columns of a table, the system columns last.
func DescribeRows(t *schema.Table) [][]datum.Datum {
	columns := schema.WithSystemColumns(t)
	rows := make([][]datum.Datum, 0, len(columns))
	for i := range columns {
		column := &columns[i]
		rows = append(rows, []datum.Datum{
			textValue(column.Name), small(i + 1), number(column.ID), textValue(column.Type.String()), datum.NewBool(column.Nullable),
			datum.NewBool(column.PrimaryKey), defaultValue(column.Default),
			{},
			small(t.Version),
		})
	}
	return rows
}

// DescribeColumns are the columns of DescribeRows.
func (s *System) DescribeColumns() []schema.Column {
	return s.View(SystemNamespace, "describe").Columns
}

func (*System) describeRows(_ context.Context, request *ViewRequest) ([][]datum.Datum, error) {
	var rows [][]datum.Datum
	for _, t := range request.visibleTables() {
		rows = append(rows, DescribeRows(t)...)
	}
	return rows, nil
}
