package oracle

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
)

// TestDuckDBOpensSegments writes a file of cold rows with a column of every type and lets DuckDB read it.
func TestDuckDBOpensSegments(t *testing.T) {
	table := &schema.Table{ID: 1, Namespace: "app", Name: "cold", Kind: schema.KindShared, Version: 1}
	values := map[string]struct {
		kind  datum.Type
		value datum.Datum
		text  string // as DuckDB prints it
		typed string // the type DuckDB sees
	}{
		"boolean":   {datum.Of(datum.Boolean), datum.NewBool(true), "true", "BOOLEAN"},
		"small":     {datum.Of(datum.SmallInt), datum.NewInt(datum.SmallInt, -7), "-7", "SMALLINT"},
		"whole":     {datum.Of(datum.Int), datum.NewInt(datum.Int, 70000), "70000", "INTEGER"},
		"float":     {datum.Of(datum.Float), datum.NewFloat(1.5), "1.5", "FLOAT"},
		"double":    {datum.Of(datum.Double), datum.NewDouble(-2.25), "-2.25", "DOUBLE"},
		"decimal":   {datum.Type{Kind: datum.Decimal, Precision: 10, Scale: 2}, datum.NewDecimal(apd.New(-12345, -2)), "-123.45", "DECIMAL(10,2)"},
		"text":      {datum.Of(datum.Text), datum.NewText("žluťoučký"), "žluťoučký", "VARCHAR"},
		"json":      {datum.Of(datum.JSON), datum.NewString(datum.JSON, `{"a": 1}`), `{"a": 1}`, "JSON"},
		"bytes":     {datum.Of(datum.Bytes), datum.NewString(datum.Bytes, "\x01\xff"), `\x01\xFF`, "BLOB"},
		"uuid":      {datum.Of(datum.UUID), datum.NewString(datum.UUID, "0123456789abcdef"), "30313233-3435-3637-3839-616263646566", "UUID"},
		"timestamp": {datum.Of(datum.Timestamp), datum.NewInt(datum.Timestamp, 1_000_001), "1970-01-01 00:00:01.000001", "TIMESTAMP"},
		"datetime":  {datum.Of(datum.DateTime), datum.NewInt(datum.DateTime, 1_000_001), "1970-01-01 00:00:01.000001+00", "TIMESTAMP WITH TIME ZONE"},
		"date":      {datum.Of(datum.Date), datum.NewInt(datum.Date, 366), "1971-01-02", "DATE"},
		"time":      {datum.Of(datum.Time), datum.NewInt(datum.Time, 3_600_000_000), "01:00:00", "TIME"},
		"embedding": {datum.Type{Kind: datum.Embedding, Dims: 2}, datum.NewEmbedding([]float32{1, 2.5}), "[1.0, 2.5]", "FLOAT[]"},
	}
	table.Columns = append(table.Columns, schema.Column{ID: 1, Name: "id", Type: datum.Of(datum.BigInt), PrimaryKey: true})
	for name, v := range values {
		table.Columns = append(table.Columns, schema.Column{ID: uint32(len(table.Columns) + 1), Name: name, Type: v.kind, Nullable: true})
	}
	path := filepath.Join(t.TempDir(), "batch-0.parquet")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := segment.NewWriter(f, table)
	if err != nil {
		t.Fatal(err)
	}
	const rows = 70_000 // of two row groups
	for i := range int64(rows) {
		row := []datum.Datum{datum.NewBigInt(i)}
		for _, column := range table.Columns[1:] {
			value := values[column.Name].value
			if i%2 == 1 {
				value = datum.Datum{}
			}
			row = append(row, value)
		}
		if err := w.Add(datum.AppendKey(nil, row[0]), uint64(i+100), i%10 == 0, row); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	db := openDuckDB(t)
	if _, err := db.ExecContext(t.Context(), "SET TimeZone = 'UTC'"); err != nil {
		t.Fatal(err)
	}
	one := func(query string) string {
		t.Helper()
		var text string
		if err := db.QueryRowContext(t.Context(), fmt.Sprintf(query, path)).Scan(&text); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		return text
	}
	if got := one(`SELECT concat_ws(' ', count(*), sum(id), min(_seq), max(_seq), count(*) FILTER (_deleted), count("text")) FROM '%s'`); got != "70000 2449965000 100 70099 7000 35000" {
		t.Errorf("DuckDB counts %s", got)
	}
	for name, v := range values {
		if got := one(`SELECT typeof("` + name + `") FROM '%s' WHERE id = 6`); got != v.typed {
			t.Errorf("column %s is a %s for DuckDB, want %s", name, got, v.typed)
		}
		if got := one(`SELECT "` + name + `"::VARCHAR FROM '%s' WHERE id = 6`); got != v.text {
			t.Errorf("column %s is %s for DuckDB, want %s", name, got, v.text)
		}
	}
	if got := one(`SELECT string_agg(name, ' ') FROM (SELECT name FROM parquet_schema('%s') OFFSET 1 LIMIT 2)`); got != "id "+table.Columns[1].Name {
		t.Errorf("the first columns are %s", got)
	}
	if got := one(`SELECT count(DISTINCT row_group_id)::VARCHAR FROM parquet_metadata('%s')`); got != "2" {
		t.Errorf("%s row groups", got)
	}
	if got := one(`SELECT string_agg(DISTINCT compression, ' ') FROM parquet_metadata('%s')`); got != "ZSTD" {
		t.Errorf("pages are compressed with %s", got)
	}
}
