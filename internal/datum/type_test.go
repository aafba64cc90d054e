package datum

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

func TestParseTypeNameRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		args []int
	}{
		{"tinyint", nil},
		{"", nil},
		{"unsigned", nil},
		{"decimal", []int{0}},
		{"decimal", []int{39}},
		{"decimal", []int{10, 11}},
		{"decimal", []int{10, -1}},
		{"decimal", []int{1, 2, 3}},
		{"embedding", nil},
		{"embedding", []int{0}},
		{"embedding", []int{8193}},
		{"float", []int{54}},
		{"float", []int{0}},
		{"boolean", []int{1}},
		{"uuid", []int{16}},
		{"varchar", []int{-1}},
		{"varchar", []int{1, 2}},
	} {
		got, err := ParseTypeName(c.name, c.args)
		if fault.KindOf(err) != fault.InvalidStatement || err == nil {
			t.Errorf("ParseTypeName(%q, %v) = %v, %v; want an invalid statement", c.name, c.args, got, err)
		}
	}
}

func TestParseTypeName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		names []string
		args  []int
		wire  string
		sql   string
	}{
		{[]string{"BOOLEAN", "bool"}, nil, `"Boolean"`, "BOOLEAN"},
		{[]string{"SMALLINT", "INT2", "SMALLSERIAL"}, nil, `"SmallInt"`, "SMALLINT"},
		{[]string{"INT", "INTEGER", "INT4", "MEDIUMINT", "SERIAL", "SIGNED"}, nil, `"Int"`, "INT"},
		{[]string{"BIGINT", "INT8", "BIGSERIAL"}, nil, `"BigInt"`, "BIGINT"},
		{[]string{"FLOAT", "REAL", "FLOAT4"}, nil, `"Float"`, "FLOAT"},
		{[]string{"DOUBLE", "DOUBLE PRECISION", "double   precision", "FLOAT8", "FLOAT64"}, nil, `"Double"`, "DOUBLE"},
		{[]string{"DECIMAL", "numeric"}, nil, `{"Decimal":{"precision":38,"scale":10}}`, "DECIMAL(38,10)"},
		{[]string{"DECIMAL"}, []int{10, 2}, `{"Decimal":{"precision":10,"scale":2}}`, "DECIMAL(10,2)"},
		{[]string{"DECIMAL"}, []int{5}, `{"Decimal":{"precision":5,"scale":0}}`, "DECIMAL(5,0)"},
		{[]string{"TEXT", "STRING", "CLOB", "VARCHAR", "text[]", "int[]"}, nil, `"Text"`, "TEXT"},
		{[]string{"VARCHAR", "CHAR", "character varying"}, []int{20}, `"Text"`, "TEXT"},
		{[]string{"JSON", "JSONB"}, nil, `"Json"`, "JSON"},
		{[]string{"FILE"}, nil, `"File"`, "FILE"},
		{[]string{"BYTES", "BYTEA", "BLOB", "BINARY"}, nil, `"Bytes"`, "BYTES"},
		{[]string{"UUID"}, nil, `"Uuid"`, "UUID"},
		{[]string{"TIMESTAMP", "timestamp without time zone"}, nil, `"Timestamp"`, "TIMESTAMP"},
		{[]string{"TIMESTAMP"}, []int{6}, `"Timestamp"`, "TIMESTAMP"},
		{[]string{"DATETIME", "timestamptz"}, nil, `"DateTime"`, "DATETIME"},
		{[]string{"DATE"}, nil, `"Date"`, "DATE"},
		{[]string{"TIME"}, nil, `"Time"`, "TIME"},
		{[]string{"EMBEDDING"}, []int{384}, `{"Embedding":384}`, "EMBEDDING(384)"},
		{[]string{"FLOAT"}, []int{53}, `"Double"`, "DOUBLE"},
		{[]string{"FLOAT"}, []int{24}, `"Float"`, "FLOAT"},
	} {
		for _, name := range c.names {
			got, err := ParseTypeName(name, c.args)
			if err != nil {
				t.Errorf("ParseTypeName(%q, %v): %v", name, c.args, err)
				continue
			}
			if got.WireName() != c.wire || got.String() != c.sql {
				t.Errorf("ParseTypeName(%q, %v): wire %s, SQL %s; want %s, %s", name, c.args, got.WireName(), got, c.wire, c.sql)
			}
		}
	}
}
