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
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
	"github.com/kalamdb/kalamdb-go/internal/storages"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// version is one cold version of a key.
type version struct {
	seq     uint64
	deleted bool
	name    string
}

func testTable() *schema.Table {
	return &schema.Table{ID: 5, Namespace: "app", Name: "t", Kind: schema.KindShared, Version: 1, Columns: []schema.Column{
		{ID: 1, Name: "id", Type: datum.Of(datum.BigInt), PrimaryKey: true},
		{ID: 2, Name: "name", Type: datum.Of(datum.Text), Nullable: true},
	}}
}

func encodedKey(id int64) []byte { return datum.AppendKey(nil, datum.NewBigInt(id)) }

// writeSegment writes versions by key into a file of the local storage.
func writeSegment(t *testing.T, s *Store, table *schema.Table, number uint64, rows map[int64]version) *commandv1.Segment {
	t.Helper()
	var out bytes.Buffer
	w, err := segment.NewWriter(&out, table)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]int64, 0, len(rows))
	for id := range rows {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		v := rows[id]
		if err = w.Add(encodedKey(id), v.seq, v.deleted, []datum.Datum{datum.NewBigInt(id), datum.NewText(v.name)}); err != nil {
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
	path := fmt.Sprintf("app/t/batch-%d.parquet", number)
	if _, err := objects.Put(t.Context(), path, &out, summary.SizeBytes, objstore.PutOptions{IfNotExists: true}); err != nil {
		t.Fatal(err)
	}
	return &commandv1.Segment{
		Number: number, StorageId: catalog.LocalStorage, Path: path, SizeBytes: uint64(summary.SizeBytes), Sha256: summary.SHA256[:],
		Rows: uint64(summary.Rows), Deletions: uint64(summary.Deletions), MinKey: summary.MinKey, MaxKey: summary.MaxKey,
		MinSeq: summary.MinSeq, MaxSeq: summary.MaxSeq, SchemaVersion: table.Version,
	}
}

// testHelpers is how many goroutines read ahead in tests.
const testHelpers = 1

func openStore(tb testing.TB, dir string, cacheBytes int64) *Store {
	tb.Helper()
	set := storages.NewSet(storages.Config{DataPath: dir, FS: disk.Local()})
	tb.Cleanup(set.Close)
	s := New(Config{Catalog: catalog.NewStore(), Storages: set, FS: disk.Local(), CacheBytes: cacheBytes, OpenFiles: 2, ReadAhead: testHelpers})
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// TestCursorGivesTheNewestVersions compares scans and look-ups over random segments with a map.
func TestCursorGivesTheNewestVersions(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			s := openStore(t, t.TempDir(), 1<<14) // most blocks do not stay
			table := testTable()
			model, next := map[int64]version{}, uint64(1)
			m := &commandv1.Manifest{Version: 1}
			for number := range uint64(1 + r.IntN(6)) {
				rows := map[int64]version{}
				low, span, count := int64(r.IntN(3000)), 1+r.IntN(9000), 1+r.IntN(5000)
				for range count {
					id := low + int64(r.IntN(span))
					rows[id] = version{next, r.IntN(6) == 0, fmt.Sprintf("%d of %d", id, number)}
					next++
				}
				maps.Copy(model, rows)
				m.Segments = append(m.Segments, writeSegment(t, s, table, number, rows))
			}
			view := &View{store: s, table: table, manifest: m}
			for range 6 {
				low, high := int64(r.IntN(12000)), int64(r.IntN(13000))
				scanAgainst(t, r, view, model, low, high)
			}
			for range 300 {
				findAgainst(t, view, model, int64(r.IntN(12500)))
			}
			if used := s.cache.usedBytes(); used > 1<<14 {
				t.Errorf("the cache holds %d bytes", used)
			}
		})
	}
}

// scanAgainst walks a range with bounds that stop now and then, as hot rows in between do.
func scanAgainst(t *testing.T, r *rand.Rand, view *View, model map[int64]version, low, high int64) {
	t.Helper()
	var want []int64
	for id := range model {
		if id >= low && id < high {
			want = append(want, id)
		}
	}
	slices.Sort(want)
	cursor := view.Cursor(encodedKey(low), encodedKey(high), []int{0, 1})
	row := make([]datum.Datum, 4)
	stop := low
	for done := false; !done; {
		stop += int64(r.IntN(3000))
		bound := encodedKey(stop)
		if done = stop > high; done {
			bound = nil
		}
		for {
			ok, err := cursor.Next(bound)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if len(want) == 0 {
				t.Fatal("more rows than there are")
			}
			compare(t, cursor, row, want[0], model[want[0]])
			if !done && want[0] >= stop {
				t.Fatalf("row %d is behind the bound %d", want[0], stop)
			}
			want = want[1:]
		}
		if done {
			break
		}
		// A hot version of the key at the bound hides the cold one.
		if err := cursor.Skip(bound); err != nil {
			t.Fatal(err)
		}
		if len(want) > 0 && want[0] == stop {
			want = want[1:]
		}
	}
	if len(want) > 0 {
		t.Fatalf("%d rows are missing, the first %d", len(want), want[0])
	}
	if err := cursor.Close(); err != nil {
		t.Fatal(err)
	}
}

func compare(t *testing.T, cursor *Cursor, row []datum.Datum, id int64, want version) {
	t.Helper()
	if err := cursor.Fill(row); err != nil {
		t.Fatal(err)
	}
	seq, err := cursor.Seq()
	if err != nil {
		t.Fatal(err)
	}
	deleted, err := cursor.Deleted()
	if err != nil {
		t.Fatal(err)
	}
	key, err := cursor.Key()
	if err != nil {
		t.Fatal(err)
	}
	if row[0].Int() != id || row[1].Str() != want.name || seq != want.seq || deleted != want.deleted || !bytes.Equal(key, encodedKey(id)) {
		t.Fatalf("row %d, %s, %d, %v; want %d, %+v", row[0].Int(), row[1].Str(), seq, deleted, id, want)
	}
}

func findAgainst(t *testing.T, view *View, model map[int64]version, id int64) {
	t.Helper()
	want, there := model[id]
	found, err := view.Find(encodedKey(id), []int{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	if there != (found != nil) {
		t.Fatalf("key %d is found: %v, want %v", id, found != nil, there)
	}
	if found == nil {
		return
	}
	compare(t, found, make([]datum.Datum, 4), id, want)
	if err := found.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSchemaOfLaterTimes(t *testing.T) {
	t.Parallel()
	s := openStore(t, t.TempDir(), 0)
	table := testTable()
	m := &commandv1.Manifest{Version: 1, Segments: []*commandv1.Segment{writeSegment(t, s, table, 0, map[int64]version{7: {1, false, "seven"}})}}
	later := testTable()
	later.Version = 2
	later.Columns = append(later.Columns, schema.Column{ID: 3, Name: "extra", Type: datum.Of(datum.Int), AddedIn: 2, Initial: datum.NewInt(datum.Int, 5)})
	found, err := (&View{store: s, table: later, manifest: m}).Find(encodedKey(7), []int{0, 1, 2})
	if err != nil {
		t.Fatal(err)
	}
	row := make([]datum.Datum, 5)
	if err := found.Fill(row); err != nil || row[1].Str() != "seven" || row[2].Int() != 5 {
		t.Errorf("the row reads %v, %v", row, err)
	}
	if err := found.Close(); err != nil {
		t.Fatal(err)
	}
	table.Version = 0
	if _, err := (&View{store: s, table: table, manifest: m}).Find(encodedKey(7), nil); err == nil {
		t.Error("rows of a later schema were read")
	}
}
