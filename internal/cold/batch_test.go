package cold

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// numbered is a version of a row with a number.
type numbered struct {
	seq     uint64
	deleted bool
	n       int64
}

func numberedTable() *schema.Table {
	t := testTable()
	t.Columns[1] = schema.Column{ID: 2, Name: "n", Type: datum.Of(datum.BigInt), Nullable: true}
	return t
}

func writeNumbers(t *testing.T, s *Store, table *schema.Table, number uint64, rows map[int64]numbered) *commandv1.Segment {
	t.Helper()
	var out bytes.Buffer
	w, err := segment.NewWriter(&out, table)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		v := rows[id]
		if err = w.Add(encodedKey(id), v.seq, v.deleted, []datum.Datum{datum.NewBigInt(id), datum.NewBigInt(v.n)}); err != nil {
			t.Fatal(err)
		}
	}
	summary, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := s.Objects(catalog.LocalStorage)
	if err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("app/n/batch-%d.parquet", number)
	if _, err := objects.Put(t.Context(), path, &out, summary.SizeBytes, objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	return &commandv1.Segment{
		Number: number, StorageId: catalog.LocalStorage, Path: path, SizeBytes: uint64(summary.SizeBytes), Sha256: summary.SHA256[:],
		Rows: uint64(summary.Rows), Deletions: uint64(summary.Deletions), MinKey: summary.MinKey, MaxKey: summary.MaxKey,
		MinSeq: summary.MinSeq, MaxSeq: summary.MaxSeq, SchemaVersion: table.Version, ChunkSums: summary.ChunkSums,
		Columns: []*commandv1.SegmentColumn{{Id: 2, Min: datum.AppendValue(nil, summary.Columns[1].Min), Max: datum.AppendValue(nil, summary.Columns[1].Max)}},
	}
}

// TestColumnsAndWhatIsLeftOut adds up random segments by columns, with and without leaving out what the bounds of a column rule
// out, and row by row in between; older versions never come to light.
func TestColumnsAndWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	leftOut := 0
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 9))
		s := openStore(t, t.TempDir(), 1<<16)
		table, model, next := numberedTable(), map[int64]numbered{}, uint64(1)
		m := &commandv1.Manifest{Version: 1}
		for number := range uint64(1 + r.IntN(6)) {
			rows := map[int64]numbered{}
			low, span := int64(r.IntN(30_000)), 1+r.IntN(12_000)
			for range 1 + r.IntN(9000) {
				id := low + int64(r.IntN(span))
				rows[id] = numbered{next, r.IntN(9) == 0, id/3000*100 + int64(number)*7 + int64(r.IntN(20))}
				next++
			}
			maps.Copy(model, rows)
			m.Segments = append(m.Segments, writeNumbers(t, s, table, number, rows))
		}
		view := &View{store: s, table: table, manifest: m}
		for range 8 {
			low := int64(r.IntN(1200))
			high := low + int64(r.IntN(200))
			want := map[int64]int64{}
			for id, v := range model {
				if !v.deleted && low <= v.n && v.n <= high {
					want[id] = v.n
				}
			}
			for _, unwanted := range []*Unwanted{nil, between(low, high, &leftOut)} {
				cursor := view.Cursor(nil, nil, []int{0, 1})
				cursor.Without(unwanted)
				got, err := readMixed(cursor, r, low, high)
				if err != nil {
					t.Fatal(err)
				}
				if !maps.Equal(got, want) {
					t.Fatalf("seed %d: from %d to %d: %d rows, want %d; left out: %v", seed, low, high, len(got), len(want), unwanted != nil)
				}
			}
		}
	}
	if leftOut == 0 {
		t.Error("nothing was ever left out")
	}
}

func between(low, high int64, leftOut *int) *Unwanted {
	misses := func(l, h datum.Datum) bool {
		if h.Int() < low || l.Int() > high {
			*leftOut++
			return true
		}
		return false
	}
	return &Unwanted{
		Segment: func(s *commandv1.Segment) bool {
			l, _, err := datum.DecodeValue(s.GetColumns()[0].GetMin())
			h, _, err2 := datum.DecodeValue(s.GetColumns()[0].GetMax())
			return err == nil && err2 == nil && misses(l, h)
		},
		Block: func(bounds func(uint32) (datum.Datum, datum.Datum, bool)) bool {
			l, h, ok := bounds(2)
			return ok && misses(l, h)
		},
	}
}

// readMixed reads by columns, and now and then by rows, up to bounds that move.
func readMixed(cursor *Cursor, r *rand.Rand, low, high int64) (map[int64]int64, error) {
	found, columns, row := map[int64]int64{}, make([]datum.Column, 4), make([]datum.Datum, 4)
	note := func(id, n datum.Datum) error {
		if _, twice := found[id.Int()]; twice {
			return fmt.Errorf("row %s twice", strconv.FormatInt(id.Int(), 10))
		}
		if low <= n.Int() && n.Int() <= high {
			found[id.Int()] = n.Int()
		}
		return nil
	}
	for stop := int64(0); ; stop += int64(r.IntN(9000)) {
		bound := encodedKey(stop)
		if stop > 60_000 {
			bound = nil
		}
		for {
			n, err := cursor.Columns(bound, columns, true)
			for i := 0; i < n && err == nil; i++ {
				err = note(columns[0].At(i), columns[1].At(i))
			}
			if err != nil {
				return nil, err
			}
			if n == 0 {
				break
			}
			if r.IntN(3) > 0 {
				continue
			}
			ok, err := cursor.Next(bound)
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			deleted, err := cursor.Deleted()
			if err == nil && !deleted {
				if err = cursor.Fill(row); err == nil {
					err = note(row[0], row[1])
				}
			}
			if err != nil {
				return nil, err
			}
		}
		if bound == nil {
			return found, cursor.Close()
		}
	}
}
