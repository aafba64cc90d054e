package segment

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/cockroachdb/apd/v3"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// everything is a table with a column of every type that rows hold.
func everything(key datum.Type) *schema.Table {
	t := &schema.Table{ID: 7, Namespace: "app", Name: "everything", Kind: schema.KindShared, Version: 3}
	for i, kind := range []datum.Type{
		key, datum.Of(datum.Boolean), datum.Of(datum.SmallInt), datum.Of(datum.Int), datum.Of(datum.BigInt), datum.Of(datum.Float),
		datum.Of(datum.Double),
		{Kind: datum.Decimal, Precision: 38, Scale: 10},
		{Kind: datum.Decimal, Precision: 5, Scale: 0},
		datum.Of(datum.Text), datum.Of(datum.JSON), datum.Of(datum.File), datum.Of(datum.Bytes), datum.Of(datum.UUID),
		datum.Of(datum.Timestamp), datum.Of(datum.DateTime), datum.Of(datum.Date), datum.Of(datum.Time),
		{Kind: datum.Embedding, Dims: 3},
	} {
		t.Columns = append(t.Columns, schema.Column{
			ID: uint32(2*i + 1), Name: fmt.Sprintf("c%02d", 90-i), Type: kind, Nullable: i > 0, PrimaryKey: i == 0,
		})
	}
	return t
}

// some draws a value of a type; one in eight is at an edge.
func some(r *rand.Rand, t datum.Type) datum.Datum {
	edge := r.IntN(8) == 0
	switch t.Kind { //nolint:exhaustive // the others are texts
	case datum.Boolean:
		return datum.NewBool(r.IntN(2) == 0)
	case datum.SmallInt:
		return datum.NewInt(t.Kind, int64(int16(r.Uint64())))
	case datum.Int, datum.Date:
		return datum.NewInt(t.Kind, int64(int32(r.Uint64())))
	case datum.BigInt, datum.Timestamp, datum.DateTime, datum.Time:
		if edge {
			return datum.NewInt(t.Kind, []int64{math.MinInt64, -1, 0, math.MaxInt64}[r.IntN(4)])
		}
		return datum.NewInt(t.Kind, int64(r.Uint64()))
	case datum.Float:
		if edge {
			return datum.NewFloat([]float64{math.NaN(), math.Inf(-1), math.Copysign(0, -1), math.MaxFloat32}[r.IntN(4)])
		}
		return datum.NewFloat(r.NormFloat64())
	case datum.Double:
		if edge {
			return datum.NewDouble([]float64{math.NaN(), math.Inf(1), math.Copysign(0, -1), math.SmallestNonzeroFloat64}[r.IntN(4)])
		}
		return datum.NewDouble(r.NormFloat64())
	case datum.Decimal:
		digits := make([]byte, 1+r.IntN(int(t.Precision)))
		for i := range digits {
			digits[i] = byte('0' + r.IntN(10))
		}
		if edge {
			digits = bytes.Repeat([]byte("9"), int(t.Precision))
		}
		coefficient, _ := new(apd.BigInt).SetString(string(digits), 10)
		d := apd.NewWithBigInt(coefficient, -int32(t.Scale))
		d.Negative = coefficient.Sign() != 0 && r.IntN(2) == 0
		return datum.NewDecimal(d)
	case datum.JSON:
		return datum.NewString(t.Kind, fmt.Sprintf(`{"n": %d}`, r.Uint32()))
	case datum.UUID:
		raw := make([]byte, 16)
		for i := range raw {
			raw[i] = byte(r.Uint32())
		}
		return datum.NewString(t.Kind, string(raw))
	case datum.Embedding:
		return datum.NewEmbedding([]float32{r.Float32(), float32(math.Inf(1)), -r.Float32()})
	case datum.Bytes:
		return datum.NewString(t.Kind, []string{"", "\x00", "\xff\x00\x01", "abc"}[r.IntN(4)])
	}
	return datum.NewString(t.Kind, []string{"", "a", "\x00", "žluťoučký", strconv.FormatUint(r.Uint64(), 10)}[r.IntN(5)])
}

type written struct {
	key     []byte
	seq     uint64
	deleted bool
	row     []datum.Datum
}

// draw makes rows with distinct ascending keys.
func draw(r *rand.Rand, t *schema.Table, n int) []written {
	byKey := map[string]written{}
	for range n {
		row := make([]datum.Datum, len(t.Columns))
		for i := range row {
			if i == 0 || r.IntN(4) > 0 {
				row[i] = some(r, t.Columns[i].Type)
			}
		}
		key := datum.AppendKey(nil, row[0])
		byKey[string(key)] = written{key, r.Uint64() >> 1, r.IntN(5) == 0, row}
	}
	rows := make([]written, 0, len(byKey))
	for _, w := range byKey {
		rows = append(rows, w)
	}
	sortRows(rows)
	return rows
}

func sortRows(rows []written) {
	for i := range rows {
		for j := i; j > 0 && bytes.Compare(rows[j].key, rows[j-1].key) < 0; j-- {
			rows[j], rows[j-1] = rows[j-1], rows[j]
		}
	}
}

func write(tb testing.TB, table *schema.Table, rows []written) ([]byte, *Summary) {
	tb.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, table)
	if err != nil {
		tb.Fatal(err)
	}
	for _, row := range rows {
		if err = w.Add(row.key, row.seq, row.deleted, row.row); err != nil {
			tb.Fatal(err)
		}
	}
	summary, err := w.Close()
	if err != nil {
		tb.Fatal(err)
	}
	return out.Bytes(), summary
}

// exact is the stored form of a value.
func exact(d datum.Datum) string { return string(datum.AppendValue(nil, d)) }

// check reads a whole file and compares it with what was written.
func check(t *testing.T, table *schema.Table, raw []byte, rows []written) {
	t.Helper()
	r, err := Open(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if r.Rows() != int64(len(rows)) || r.Version() != table.Version || r.Table() != uint64(table.ID) {
		t.Fatalf("the file has %d rows of version %d of table %d", r.Rows(), r.Version(), r.Table())
	}
	next := 0
	for n := range r.Blocks() {
		seqs, err := r.ReadColumn(n, SeqColumn)
		if err != nil {
			t.Fatal(err)
		}
		deleted, err := r.ReadColumn(n, DeletedColumn)
		if err != nil {
			t.Fatal(err)
		}
		if seqs.Len() != r.BlockRows(n) || deleted.Len() != seqs.Len() {
			t.Fatalf("block %d has %d rows, %d _seq and %d _deleted", n, r.BlockRows(n), seqs.Len(), deleted.Len())
		}
		if !bytes.Equal(r.FirstKey(n), rows[next].key) {
			t.Fatalf("block %d begins at %x, want %x", n, r.FirstKey(n), rows[next].key)
		}
		for i := range table.Columns {
			place, kind, ok := r.Column(table.Columns[i].ID)
			if !ok || kind != table.Columns[i].Type {
				t.Fatalf("column %d is %v, %v", i, kind, ok)
			}
			values, err := r.ReadColumn(n, place)
			if err != nil {
				t.Fatal(err)
			}
			for j := range values.Len() {
				value := values.At(j)
				if want := rows[next+j].row[i]; exact(value) != exact(want) {
					t.Fatalf("row %d, column %s is %s, want %s", next+j, table.Columns[i].Type, value, want)
				}
			}
		}
		for j := range seqs.Len() {
			want := rows[next+j]
			if uint64(seqs.At(j).Int()) != want.seq || deleted.At(j).Bool() != want.deleted {
				t.Fatalf("row %d is %d, %v, want %d, %v", next+j, seqs.At(j).Int(), deleted.At(j).Bool(), want.seq, want.deleted)
			}
			if at := r.BlockOf(want.key); at != n {
				t.Fatalf("key %x is looked for in block %d, want %d", want.key, at, n)
			}
			if may, err := r.MayHold(n, want.row[0]); err != nil || !may {
				t.Fatalf("key %x is ruled out: %v", want.key, err)
			}
		}
		next += seqs.Len()
	}
	if next != len(rows) {
		t.Fatalf("read %d rows, want %d", next, len(rows))
	}
}

func TestRowsComeBackBitForBit(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, key := range []datum.Type{
		datum.Of(datum.BigInt), datum.Of(datum.Text), datum.Of(datum.UUID),
		{Kind: datum.Decimal, Precision: 12, Scale: 3},
		datum.Of(datum.Double), datum.Of(datum.Boolean), datum.Of(datum.Date), datum.Of(datum.Bytes),
	} {
		table := everything(key)
		for _, n := range []int{1, 2, 700} {
			rows := draw(r, table, n)
			raw, summary := write(t, table, rows)
			check(t, table, raw, rows)
			if summary.SizeBytes != int64(len(raw)) || summary.SHA256 != sha256.Sum256(raw) || summary.Rows != int64(len(rows)) {
				t.Fatalf("summary says %d bytes, %d rows", summary.SizeBytes, summary.Rows)
			}
			if !bytes.Equal(summary.MinKey, rows[0].key) || !bytes.Equal(summary.MaxKey, rows[len(rows)-1].key) {
				t.Fatalf("summary says keys %x to %x", summary.MinKey, summary.MaxKey)
			}
		}
	}
}

// narrow is a table of two columns, for files with many blocks.
func narrow() *schema.Table {
	return &schema.Table{ID: 9, Namespace: "app", Name: "narrow", Kind: schema.KindShared, Version: 1, Columns: []schema.Column{
		{ID: 1, Name: "id", Type: datum.Of(datum.BigInt), PrimaryKey: true},
		{ID: 2, Name: "text", Type: datum.Of(datum.Text), Nullable: true},
	}}
}

func counted(n int, text func(i int) string) []written {
	rows := make([]written, n)
	for i := range rows {
		key := datum.NewBigInt(int64(2 * i))
		rows[i] = written{datum.AppendKey(nil, key), uint64(n - i), false, []datum.Datum{key, datum.NewText(text(i))}}
	}
	return rows
}

func TestManyBlocksAndGroups(t *testing.T) {
	t.Parallel()
	table := narrow()
	rows := counted(BlockRows*groupBlocks+BlockRows+5, func(i int) string { return strconv.Itoa(i) })
	raw, _ := write(t, table, rows)
	check(t, table, raw, rows)
	r, err := Open(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.groups) != 2 || r.Blocks() != groupBlocks+2 {
		t.Fatalf("%d blocks in %d groups", r.Blocks(), len(r.groups))
	}
	ruledOut := 0
	for i := range 1000 {
		absent := datum.NewBigInt(int64(2*i + 1))
		n := r.BlockOf(datum.AppendKey(nil, absent))
		if may, err := r.MayHold(n, absent); err != nil {
			t.Fatal(err)
		} else if !may {
			ruledOut++
		}
	}
	if ruledOut < 900 {
		t.Errorf("the filter rules out %d of 1000 absent keys", ruledOut)
	}
	if n := r.BlockOf(datum.AppendKey(nil, datum.NewBigInt(-1))); n != -1 {
		t.Errorf("a key before all rows is looked for in block %d", n)
	}
}

func TestWideRowsEndBlocksEarly(t *testing.T) {
	t.Parallel()
	table := narrow()
	rows := counted(40, func(i int) string { return string(bytes.Repeat([]byte{byte('a' + i%26)}, 100_000)) })
	raw, _ := write(t, table, rows)
	check(t, table, raw, rows)
	r, err := Open(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if r.Blocks() < 6 {
		t.Errorf("4 MB are in %d blocks", r.Blocks())
	}
}

func TestWriterRefusesWhatCannotBeRight(t *testing.T) {
	t.Parallel()
	table := narrow()
	w, err := NewWriter(&bytes.Buffer{}, table)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err == nil {
		t.Error("an empty file was finished")
	}
	rows := counted(2, func(int) string { return "" })
	if err := w.Add(rows[1].key, 1, false, rows[1].row); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{1, 0} {
		if err := w.Add(rows[i].key, 1, false, rows[i].row); err == nil {
			t.Error("a key that does not ascend was taken")
		}
	}
	table.Columns[0].PrimaryKey = false
	if _, err := NewWriter(&bytes.Buffer{}, table); err == nil {
		t.Error("a table without a primary key was taken")
	}
}
