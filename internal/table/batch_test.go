package table_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

// batches reads a scope many rows at a time, as long as they come so, and then by single rows.
func batches(reader storage.Reader, scope table.Scope, options table.ScanOptions) (batched, single []string, err error) {
	cursor, err := table.Open(reader, scope, table.Bounds{}, options)
	if err != nil {
		return nil, nil, err
	}
	rows := make([][]datum.Datum, 4)
	for i := range rows {
		rows[i] = make([]datum.Datum, len(scope.Table.Columns)+2)
	}
	for {
		n, err := cursor.Batch(rows)
		for _, row := range rows[:n] {
			batched = append(batched, fmt.Sprintf("%s=%s", row[0], row[1]))
		}
		if err != nil {
			_ = cursor.Close()
			return batched, nil, err
		}
		if n == 0 {
			break
		}
	}
	for {
		ok, err := cursor.Next(rows[0])
		if err != nil || !ok {
			_ = cursor.Close()
			return batched, single, err
		}
		single = append(single, fmt.Sprintf("%s=%s", rows[0][0], rows[0][1]))
	}
}

// TestBatchesGiveWhatNextGives: without deletions, as many as there are, and what is before a row that cannot be read.
func TestBatchesGiveWhatNextGives(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	scope := table.SharedScope(letters(schema.KindShared))
	var want []string
	for i := range 18 {
		key := fmt.Sprintf("k%02d", i)
		put(t, store, scope, key, int64(i), uint64(i+1), i%5 == 0)
		if i%5 != 0 {
			want = append(want, fmt.Sprintf("%s=%d", key, i))
		}
	}
	batched, single, err := batches(store, scope, table.ScanOptions{OmitSystem: true})
	if err != nil || len(single) > 0 || !slices.Equal(batched, want) {
		t.Errorf("by batches %v, then %v, %v; want %v", batched, single, err, want)
	}
	for name, options := range map[string]table.ScanOptions{
		"system columns": {}, "deletions": {OmitSystem: true, IncludeDeleted: true},
	} {
		batched, single, err = batches(store, scope, options)
		if err != nil || len(batched) > 0 || len(single) < len(want) {
			t.Errorf("with %s: by batches %v, then %v, %v", name, batched, single, err)
		}
	}
	set(t, store, keys.Row(scope.Group, scope.Table.ID, "", datum.AppendKey(nil, datum.NewText("k06"))), rowvalue.Append(nil, 99, false, nil))
	batched, _, err = batches(store, scope, table.ScanOptions{OmitSystem: true})
	if err == nil || !slices.Equal(batched, want[:4]) {
		t.Errorf("before a row that cannot be read: %v, %v; want %v and an error", batched, err, want[:4])
	}
}
