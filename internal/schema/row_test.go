package schema

import (
	"encoding/hex"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

var rewrite = flag.Bool("rewrite", false, "write golden files anew")

func testTable() *Table {
	return &Table{
		ID: 9, Namespace: "app", Name: "notes", Kind: KindUser, Version: 3, NextColumnID: 400,
		Columns: []Column{
			{ID: 1, Name: "id", Type: datum.Of(datum.BigInt), PrimaryKey: true},
			{ID: 2, Name: "title", Type: datum.Of(datum.Text), Nullable: true},
			{ID: 5, Name: "price", Type: datum.Type{Kind: datum.Decimal, Precision: 10, Scale: 2}, Nullable: true},
			{ID: 300, Name: "done", Type: datum.Of(datum.Boolean)},
		},
	}
}

func testRow(tb testing.TB) []datum.Datum {
	tb.Helper()
	price, err := datum.ParseText("12.30", datum.Type{Kind: datum.Decimal, Precision: 10, Scale: 2})
	if err != nil {
		tb.Fatal(err)
	}
	return []datum.Datum{datum.NewBigInt(-5), datum.NewText("hello"), price, datum.NewBool(true)}
}

func texts(row []datum.Datum) []string {
	out := make([]string, len(row))
	for i, d := range row {
		out[i] = d.Kind().String() + " " + d.String()
	}
	return out
}

func TestDecodeRowRefuses(t *testing.T) {
	t.Parallel()
	table := testTable()
	row := EncodeRow(table, testRow(t))
	for name, c := range map[string]struct {
		row  []byte
		want string
	}{
		"empty":           {nil, "malformed bytes"},
		"unknown format":  {[]byte{2, 1}, "unknown row format 2"},
		"no version":      {[]byte{1}, "malformed bytes"},
		"cut in a value":  {row[:len(row)-1], "malformed bytes"},
		"cut in an id":    {[]byte{1, 3, 0x80}, "malformed bytes"},
		"id beyond range": {[]byte{1, 3, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01}, "malformed bytes"},
		"wrong type":      {append([]byte{1, 3, 1}, datum.AppendValue(nil, datum.NewText("x"))...), `column "id": "x" is not a valid BIGINT`},
	} {
		err := DecodeRow(table, c.row, make([]datum.Datum, 4))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "app.notes") {
			t.Errorf("%s: %v, want %q of app.notes", name, err, c.want)
		}
	}
	if err := DecodeRow(table, row, make([]datum.Datum, 3)); err == nil {
		t.Error("a row is decoded into too few columns")
	}
}

func TestRowGolden(t *testing.T) {
	t.Parallel()
	row := testRow(t)
	var got strings.Builder
	got.WriteString("all " + hex.EncodeToString(EncodeRow(testTable(), row)) + "\n")
	got.WriteString("nulls " + hex.EncodeToString(EncodeRow(testTable(), []datum.Datum{row[0], {}, {}, row[3]})) + "\n")
	const path = "testdata/row.golden"
	if *rewrite {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("stored rows changed (-want +got):\n%s", diff)
	}
	dst := make([]datum.Datum, 4)
	for line := range strings.Lines(string(want)) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		raw, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := DecodeRow(testTable(), raw, dst); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if dst[0].Int() != -5 || !dst[3].Bool() || (name == "nulls") != dst[1].IsNull() {
			t.Errorf("%s reads as %v", name, texts(dst))
		}
	}
}

func TestDecodeRowAfterAlter(t *testing.T) {
	t.Parallel()
	old := testTable()
	full := EncodeRow(old, testRow(t))
	nulls := EncodeRow(old, []datum.Datum{datum.NewBigInt(1), {}, {}, datum.NewBool(false)})

	altered := testTable()
	altered.Version = 5
	altered.Columns = []Column{
		altered.Columns[3],
		altered.Columns[0],
		{ID: 5, Name: "cost", Type: datum.Of(datum.Text), Nullable: true}, // renamed, and another type
		{ID: 301, Name: "plain", Type: datum.Of(datum.Int), Nullable: true, AddedIn: 4},
		{ID: 302, Name: "level", Type: datum.Of(datum.Int), AddedIn: 5, Initial: datum.NewInt(datum.Int, 7)},
		{ID: 2, Name: "title", Type: datum.Of(datum.Text), Default: Default{Kind: DefaultLiteral, Literal: datum.NewText("new")}},
	}
	current := EncodeRow(altered, []datum.Datum{datum.NewBool(true), datum.NewBigInt(2), {}, {}, {}, {}})
	for name, c := range map[string]struct {
		row  []byte
		want []string
	}{
		"written before, full":  {full, []string{"BOOLEAN t", "BIGINT -5", "TEXT 12.30", "NULL NULL", "INT 7", "TEXT hello"}},
		"written before, nulls": {nulls, []string{"BOOLEAN f", "BIGINT 1", "NULL NULL", "NULL NULL", "INT 7", "NULL NULL"}},
		"written after":         {current, []string{"BOOLEAN t", "BIGINT 2", "NULL NULL", "NULL NULL", "NULL NULL", "NULL NULL"}},
	} {
		dst := make([]datum.Datum, len(altered.Columns))
		for i := range dst {
			dst[i] = datum.NewText("stale")
		}
		if err := DecodeRow(altered, c.row, dst); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, texts(dst)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	dropped := testTable()
	dropped.Columns = dropped.Columns[:1]
	dst := make([]datum.Datum, 1)
	if err := DecodeRow(dropped, full, dst); err != nil || dst[0].Int() != -5 {
		t.Errorf("with columns dropped: %v, %v", texts(dst), err)
	}
	if version, err := RowVersion(full); version != 3 || err != nil {
		t.Errorf("row version %d, %v; want 3", version, err)
	}
}

func TestRowDecoderFillsOnlyWhatIsWanted(t *testing.T) {
	t.Parallel()
	for _, shift := range []uint32{0, maxDirectID} { // ids found by table, and by search
		table := testTable()
		for i := range table.Columns {
			table.Columns[i].ID += shift
		}
		row := EncodeRow(table, testRow(t))
		decoder := NewRowDecoder(table, []int{3, 1, 1, 4, -1})
		if diff := cmp.Diff([]int{1, 3}, decoder.Positions()); diff != "" {
			t.Errorf("positions (-want +got):\n%s", diff)
		}
		dst := slices.Repeat([]datum.Datum{datum.NewText("untouched")}, 4)
		if err := decoder.Decode(row, dst); err != nil {
			t.Fatal(err)
		}
		want := []string{"TEXT untouched", "TEXT hello", "TEXT untouched", "BOOLEAN t"}
		if diff := cmp.Diff(want, texts(dst)); diff != "" {
			t.Errorf("decoded (-want +got):\n%s", diff)
		}
		if err := NewRowDecoder(table, []int{}).Decode(row, dst); err != nil {
			t.Errorf("decoding no column: %v", err)
		}
	}
}

// TestDecodedRowsOwnTheirMemory: the storage engine reuses its buffers.
func TestDecodedRowsOwnTheirMemory(t *testing.T) {
	t.Parallel()
	table := testTable()
	row := EncodeRow(table, testRow(t))
	dst := make([]datum.Datum, 4)
	if err := DecodeRow(table, row, dst); err != nil {
		t.Fatal(err)
	}
	for i := range row {
		row[i] = 0xEE
	}
	if diff := cmp.Diff(texts(testRow(t)), texts(dst)); diff != "" {
		t.Errorf("after the bytes changed (-want +got):\n%s", diff)
	}
}

func FuzzDecodeRow(f *testing.F) {
	f.Add(EncodeRow(testTable(), testRow(f)))
	f.Add([]byte{1, 3})
	f.Add([]byte{1, 1, 1, 4, 0, 1, 4, 0})
	f.Fuzz(func(t *testing.T, row []byte) {
		table := testTable()
		dst := make([]datum.Datum, 4)
		if DecodeRow(table, row, dst) != nil {
			return
		}
		again := make([]datum.Datum, 4)
		if err := DecodeRow(table, EncodeRow(table, dst), again); err != nil {
			t.Fatalf("%v does not read back: %v", texts(dst), err)
		}
		if diff := cmp.Diff(texts(dst), texts(again)); diff != "" {
			t.Fatalf("round trip (-want +got):\n%s", diff)
		}
		canonical := EncodeRow(table, dst)
		if err := NewRowDecoder(table, []int{2}).Decode(canonical, again); err != nil || again[2].String() != dst[2].String() {
			t.Fatalf("column 2 alone reads as %s, with the others as %s: %v", again[2], dst[2], err)
		}
	})
}

// BenchmarkRowDecoder decodes rows as a scan does, with texts that come again.
func BenchmarkRowDecoder(b *testing.B) {
	table := testTable()
	row := EncodeRow(table, testRow(b))
	dst := make([]datum.Datum, 4)
	for name, positions := range map[string][]int{"all": nil, "first": {0}, "text": {1}, "last": {3}} {
		b.Run(name, func(b *testing.B) {
			decoder, texts := NewRowDecoder(table, positions), new(datum.Texts)
			b.ReportAllocs()
			for b.Loop() {
				if err := decoder.DecodeSharing(row, dst, texts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
