package cold

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// BenchmarkFirstScan reads two of eight columns of a million rows with nothing in the cache.
func BenchmarkFirstScan(b *testing.B) {
	s := openStore(b, b.TempDir(), 0)
	s.cfg.OpenFiles = 256
	table := testTable()
	table.Columns = []schema.Column{
		{ID: 1, Name: "id", Type: datum.Of(datum.BigInt), PrimaryKey: true},
		{ID: 2, Name: "kind", Type: datum.Of(datum.Text)},
		{ID: 3, Name: "amount", Type: datum.Of(datum.BigInt), Nullable: true},
		{ID: 4, Name: "score", Type: datum.Of(datum.Double), Nullable: true},
		{ID: 5, Name: "note", Type: datum.Of(datum.Text), Nullable: true},
	}
	m := &commandv1.Manifest{Version: 1}
	for number := range 16 {
		var out bytes.Buffer
		w, err := segment.NewWriter(&out, table)
		if err != nil {
			b.Fatal(err)
		}
		for i := range 62500 {
			id := int64(number*62500 + i)
			row := []datum.Datum{
				datum.NewBigInt(id), datum.NewText(fmt.Sprintf("kind %d", id%10)), datum.NewBigInt(id * 7919 % 1000),
				datum.NewDouble(float64(id%100) + 0.5), datum.NewText(fmt.Sprintf("a note of some length for row %d", id)),
			}
			if err = w.Add(encodedKey(id), uint64(id+1), false, row); err != nil {
				b.Fatal(err)
			}
		}
		summary, err := w.Close()
		if err != nil {
			b.Fatal(err)
		}
		objects, err := s.Objects(catalog.LocalStorage)
		if err != nil {
			b.Fatal(err)
		}
		path := fmt.Sprintf("app/t/batch-%d.parquet", number)
		if _, err := objects.Put(b.Context(), path, &out, summary.SizeBytes, objstore.PutOptions{IfNotExists: true}); err != nil {
			b.Fatal(err)
		}
		m.Segments = append(m.Segments, &commandv1.Segment{
			Number: uint64(number), StorageId: catalog.LocalStorage, Path: path, SizeBytes: uint64(summary.SizeBytes), Sha256: summary.SHA256[:],
			Rows: uint64(summary.Rows), MinKey: summary.MinKey, MaxKey: summary.MaxKey, MinSeq: summary.MinSeq, MaxSeq: summary.MaxSeq,
			SchemaVersion: table.Version, ChunkSums: summary.ChunkSums,
		})
	}
	view := &View{store: s, table: table, manifest: m}
	columns := make([]datum.Column, len(table.Columns))
	for _, one := range []struct {
		name   string
		before func() error
	}{{"first", s.Forget}, {"cached", func() error { return nil }}} {
		b.Run(one.name, func(b *testing.B) {
			for b.Loop() {
				if err := one.before(); err != nil {
					b.Fatal(err)
				}
				cursor, rows := view.Cursor(nil, nil, []int{2, 3}), 0
				for {
					n, err := cursor.Columns(nil, columns, true)
					if err != nil {
						b.Fatal(err)
					}
					if n == 0 {
						break
					}
					rows += n
				}
				if err := cursor.Close(); err != nil || rows != 1_000_000 {
					b.Fatal(rows, err)
				}
			}
		})
	}
}
