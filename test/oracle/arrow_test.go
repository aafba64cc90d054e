package oracle

import (
	"bytes"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
)

// arrowColumn is a column of one of our types, and what Arrow makes of it.
type arrowColumn struct {
	kind  datum.Type
	arrow string                                              // as Arrow prints the type
	draw  func(r *rand.Rand) datum.Datum                      // a value
	same  func(a arrow.Array, row int, want datum.Datum) bool // whether Arrow has that
}

func arrowColumns() map[string]arrowColumn {
	whole := func(kind datum.Kind, bits uint) func(*rand.Rand) datum.Datum {
		return func(r *rand.Rand) datum.Datum { return datum.NewInt(kind, r.Int64()<<1>>(64-bits)) }
	}
	text := func(kind datum.Kind, draw func(r *rand.Rand) string) func(*rand.Rand) datum.Datum {
		return func(r *rand.Rand) datum.Datum { return datum.NewString(kind, draw(r)) }
	}
	letters := func(r *rand.Rand) string { return strings.Repeat(string(rune('a'+r.IntN(0x2000))), r.IntN(700)) }
	raw := func(r *rand.Rand) string {
		b := make([]byte, 16)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	}
	str := func(a arrow.Array, row int, want datum.Datum) bool {
		return storageOf(a).(*array.String).Value(row) == want.Str()
	}
	raws := func(a arrow.Array, row int, want datum.Datum) bool {
		return string(a.(*array.Binary).Value(row)) == want.Str()
	}
	return map[string]arrowColumn{
		"boolean": {
			datum.Of(datum.Boolean), "bool", func(r *rand.Rand) datum.Datum { return datum.NewBool(r.IntN(2) == 0) },
			func(a arrow.Array, row int, want datum.Datum) bool {
				return a.(*array.Boolean).Value(row) == want.Bool()
			},
		},
		"small": {
			datum.Of(datum.SmallInt), "int16", whole(datum.SmallInt, 16),
			func(a arrow.Array, row int, want datum.Datum) bool {
				return int64(a.(*array.Int16).Value(row)) == want.Int()
			},
		},
		"whole": {
			datum.Of(datum.Int), "int32", whole(datum.Int, 32),
			func(a arrow.Array, row int, want datum.Datum) bool {
				return int64(a.(*array.Int32).Value(row)) == want.Int()
			},
		},
		"big": {
			datum.Of(datum.BigInt), "int64", whole(datum.BigInt, 64),
			func(a arrow.Array, row int, want datum.Datum) bool { return a.(*array.Int64).Value(row) == want.Int() },
		},
		"float": {
			datum.Of(datum.Float), "float32", func(r *rand.Rand) datum.Datum { return datum.NewFloat(float64(float32(r.NormFloat64()))) },
			func(a arrow.Array, row int, want datum.Datum) bool {
				return float64(a.(*array.Float32).Value(row)) == want.Float()
			},
		},
		"double": {
			datum.Of(datum.Double), "float64", func(r *rand.Rand) datum.Datum { return datum.NewDouble(r.NormFloat64()) },
			func(a arrow.Array, row int, want datum.Datum) bool {
				return a.(*array.Float64).Value(row) == want.Float()
			},
		},
		"decimal": {
			datum.Type{Kind: datum.Decimal, Precision: 38, Scale: 4},
			"decimal(38, 4)",
			func(r *rand.Rand) datum.Datum { return datum.NewDecimal(apd.New(r.Int64()-1<<62, -4)) },
			func(a arrow.Array, row int, want datum.Datum) bool {
				got, d := a.(*array.Decimal128).Value(row).BigInt(), want.Decimal()
				return new(big.Int).Abs(got).Cmp(d.Coeff.MathBigInt()) == 0 && (got.Sign() < 0) == d.Negative && d.Exponent == -4
			},
		},
		"text": {datum.Of(datum.Text), "utf8", text(datum.Text, letters), str},
		"json": {
			datum.Of(datum.JSON), "binary",
			text(datum.JSON, func(r *rand.Rand) string { return fmt.Sprintf(`{"a": [%d, "ž"]}`, r.IntN(1000)) }), raws,
		},
		"file":  {datum.Of(datum.File), "utf8", text(datum.File, func(r *rand.Rand) string { return fmt.Sprintf(`{"id":"%d"}`, r.IntN(1000)) }), str},
		"bytes": {datum.Of(datum.Bytes), "binary", text(datum.Bytes, raw), raws},
		"uuid": {
			datum.Of(datum.UUID), "extension<arrow.uuid>", text(datum.UUID, raw),
			func(a arrow.Array, row int, want datum.Datum) bool {
				return string(storageOf(a).(*array.FixedSizeBinary).Value(row)) == want.Str()
			},
		},
		"timestamp": {
			datum.Of(datum.Timestamp), "timestamp[us]", whole(datum.Timestamp, 55),
			func(a arrow.Array, row int, want datum.Datum) bool {
				return int64(a.(*array.Timestamp).Value(row)) == want.Int()
			},
		},
		"datetime": {
			datum.Of(datum.DateTime), "timestamp[us, tz=UTC]", whole(datum.DateTime, 55),
			func(a arrow.Array, row int, want datum.Datum) bool {
				return int64(a.(*array.Timestamp).Value(row)) == want.Int()
			},
		},
		"date": {
			datum.Of(datum.Date), "date32", whole(datum.Date, 20),
			func(a arrow.Array, row int, want datum.Datum) bool {
				return int64(a.(*array.Date32).Value(row)) == want.Int()
			},
		},
		"time": {
			datum.Of(datum.Time), "time64[us]", func(r *rand.Rand) datum.Datum { return datum.NewInt(datum.Time, r.Int64N(86_400_000_000)) },
			func(a arrow.Array, row int, want datum.Datum) bool {
				return int64(a.(*array.Time64).Value(row)) == want.Int()
			},
		},
		"embedding": {
			datum.Type{Kind: datum.Embedding, Dims: 3},
			"list<element: float32>",
			func(r *rand.Rand) datum.Datum { return datum.NewEmbedding([]float32{r.Float32(), -r.Float32(), 0}) },
			func(a arrow.Array, row int, want datum.Datum) bool {
				list := a.(*array.List)
				from, to := list.ValueOffsets(row)
				elements, vector := list.ListValues().(*array.Float32), want.Embedding()
				for i := from; i < to && int(to-from) == len(vector); i++ {
					if elements.Value(int(i)) != vector[i-from] {
						return false
					}
				}
				return int(to-from) == len(vector)
			},
		},
	}
}

// storageOf is what an extension type of Arrow is made of.
func storageOf(a arrow.Array) arrow.Array {
	if extended, ok := a.(array.ExtensionArray); ok {
		return extended.Storage()
	}
	return a
}

// typedRows is how many rows typedSegment writes: several row groups of them.
const typedRows = 20_000

// typedSegment writes a file of several row groups with a column of every type, random values and NULLs. Its rows have _seq from 100 on, and each tenth
// is a deletion.
func typedSegment(t *testing.T) (table *schema.Table, written [][]datum.Datum, content []byte) {
	t.Helper()
	r, columns := rand.New(rand.NewPCG(1, 2)), arrowColumns()
	table = &schema.Table{ID: 1, Namespace: "app", Name: "cold", Kind: schema.KindShared, Version: 1}
	table.Columns = append(table.Columns, schema.Column{ID: 1, Name: "id", Type: datum.Of(datum.BigInt), PrimaryKey: true})
	for name, column := range columns {
		table.Columns = append(table.Columns, schema.Column{ID: uint32(len(table.Columns) + 1), Name: name, Type: column.kind, Nullable: true})
	}
	var out bytes.Buffer
	w, err := segment.NewWriter(&out, table)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(typedRows) {
		row := []datum.Datum{datum.NewBigInt(i - typedRows/2)}
		for _, column := range table.Columns[1:] {
			value := datum.Datum{}
			if r.IntN(4) > 0 {
				value = columns[column.Name].draw(r)
			}
			row = append(row, value)
		}
		written = append(written, row)
		if err := w.Add(datum.AppendKey(nil, row[0]), uint64(i+100), i%10 == 0, row); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return table, written, out.Bytes()
}

// TestArrowOpensSegments lets the reader of Apache Arrow say what is in a file with a column of every type: types, row groups, and every value.
func TestArrowOpensSegments(t *testing.T) {
	columns := arrowColumns()
	table, written, content := typedSegment(t)
	opened, err := file.NewParquetReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	if opened.NumRows() != typedRows || opened.NumRowGroups() < 3 {
		t.Errorf("%d rows in %d groups", opened.NumRows(), opened.NumRowGroups())
	}
	reader, err := pqarrow.NewFileReader(opened, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	read, err := reader.ReadTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer read.Release()
	for place, field := range read.Schema().Fields() {
		var column arrowColumn
		switch {
		case place == 0:
			column = columns["big"]
		case place < len(table.Columns):
			column = columns[table.Columns[place].Name]
		default:
			continue // _seq and _deleted
		}
		if field.Name != table.Columns[place].Name || field.Type.String() != column.arrow {
			t.Errorf("column %d is %s of type %s for Arrow, want %s of %s", place, field.Name, field.Type, table.Columns[place].Name, column.arrow)
			continue
		}
		row := 0
		for _, chunk := range read.Column(place).Data().Chunks() {
			for i := range chunk.Len() {
				want := written[row][place]
				if chunk.IsNull(i) != want.IsNull() || !want.IsNull() && !column.same(chunk, i, want) {
					t.Fatalf("row %d, column %s is %s for Arrow, want %s", row, field.Name, chunk.ValueStr(i), want)
				}
				row++
			}
		}
		if row != typedRows {
			t.Errorf("column %s has %d rows", field.Name, row)
		}
	}
	last := read.Column(len(table.Columns) + 1).Data()
	seqs := read.Column(len(table.Columns)).Data()
	row := int64(0)
	for n, chunk := range seqs.Chunks() {
		for i := range chunk.Len() {
			if got := chunk.(*array.Int64).Value(i); got != row+100 || last.Chunk(n).(*array.Boolean).Value(i) != (row%10 == 0) {
				t.Fatalf("row %d has _seq %d", row, got)
			}
			row++
		}
	}
}
