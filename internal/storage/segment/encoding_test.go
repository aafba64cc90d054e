package segment

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go"
	parquetformat "github.com/parquet-go/parquet-go/format"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// TestWholeNumbersArePacked writes columns of whole numbers of several shapes: those with small differences are packed, the others are
// not, and all come back, also numbers at the ends of their ranges that come after the choice was made.
func TestWholeNumbersArePacked(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(6, 7))
	far := []int64{-1 << 61, 3, 1 << 62, 77777777777777}
	late := func(i int, early, ends int64) int64 { // beyond the rows that are looked at
		if i >= 2*sampleRows && i%3 == 0 {
			return ends
		}
		return early
	}
	columns := []struct {
		name   string
		kind   datum.Kind
		value  func(i int) int64
		packed bool
	}{
		{"id", datum.BigInt, func(i int) int64 { return int64(i) }, true},
		{"small_numbers", datum.BigInt, func(int) int64 { return r.Int64N(1000) }, true},
		{"small_and_low", datum.BigInt, func(i int) int64 { return late(i, r.Int64N(9), math.MinInt64) }, true},
		{"small_and_high", datum.BigInt, func(i int) int64 { return late(i, -r.Int64N(9), math.MaxInt64) }, true},
		{"times", datum.DateTime, func(i int) int64 { return 1_700_000_000_000_000 + int64(i)*977_777 + r.Int64N(1000) }, true},
		{"any", datum.BigInt, func(int) int64 { return int64(r.Uint64()) }, false},
		{"few_but_far", datum.BigInt, func(int) int64 { return far[r.IntN(len(far))] }, false},
		{"ints", datum.Int, func(i int) int64 { return late(i, r.Int64N(50), math.MinInt32) }, true},
		{"any_ints", datum.Int, func(int) int64 { return int64(int32(r.Uint32())) }, false},
		{"short", datum.SmallInt, func(i int) int64 { return late(i, int64(i%7), math.MinInt16) }, true},
		{"dates", datum.Date, func(i int) int64 { return late(i, int64(i/10), math.MaxInt32) }, true},
		{"never", datum.BigInt, nil, false},
	}
	table := &schema.Table{ID: 9, Namespace: "app", Name: "numbers", Kind: schema.KindShared, Version: 1}
	for i, c := range columns {
		table.Columns = append(table.Columns, schema.Column{ID: uint32(i + 1), Name: c.name, Type: datum.Of(c.kind), PrimaryKey: i == 0, Nullable: i > 0})
	}
	var rows []written
	for i := range 2*BlockRows + 100 {
		row := written{seq: uint64(i + 1)}
		for place, c := range columns {
			value := datum.Datum{}
			if c.value != nil && (place == 0 || r.IntN(11) > 0) {
				value = datum.NewInt(c.kind, c.value(i))
			}
			row.row = append(row.row, value)
		}
		row.key = datum.AppendKey(nil, row.row[0])
		rows = append(rows, row)
	}
	raw, _ := write(t, table, rows)
	check(t, table, raw, rows)
	file, err := parquet.OpenFile(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range columns {
		if got := slices.Contains(file.Metadata().RowGroups[0].Columns[i].MetaData.Encoding, parquetformat.DeltaBinaryPacked); got != c.packed {
			t.Errorf("%s is packed: %v, want %v", c.name, got, c.packed)
		}
	}
}
