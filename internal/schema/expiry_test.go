package schema

import (
	"encoding/hex"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// TestExpiringRow: the time comes first, readers that know nothing of it skip it, and its bytes keep their form.
func TestExpiringRow(t *testing.T) {
	table := &Table{Version: 3, Columns: []Column{{ID: 7, Name: "a", Type: datum.Of(datum.BigInt)}, {ID: 9, Name: "b", Type: datum.Of(datum.Text)}}}
	values := []datum.Datum{datum.NewBigInt(5), datum.NewText("x")}
	row := AppendExpiringRow(nil, table, values, 1_700_000_000_000_000)
	if got, want := hex.EncodeToString(row), "0103ffffffff0f048080f2818389850607040a09080178"; got != want {
		t.Errorf("bytes %s, want %s", got, want)
	}
	if until, ok := RowExpiry(row); !ok || until != 1_700_000_000_000_000 {
		t.Errorf("expiry %d, %v", until, ok)
	}
	decoded := make([]datum.Datum, 2)
	if err := DecodeRow(table, row, decoded); err != nil || !datum.Equal(decoded[0], values[0]) || !datum.Equal(decoded[1], values[1]) {
		t.Errorf("decoded %v, %v", decoded, err)
	}
	for _, other := range [][]byte{EncodeRow(table, values), row[:3], nil} {
		if until, ok := RowExpiry(other); ok {
			t.Errorf("%x expires at %d", other, until)
		}
	}
}
