package table_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	"github.com/kalamdb/kalamdb-go/internal/table"
)

func openStore(t *testing.T) *storage.Engine {
	t.Helper()
	store, err := storage.Open(storage.Options{FS: disk.Local(), Dir: t.TempDir()})
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	t.Cleanup(func() {
		if failed := store.Close(); failed != nil {
			t.Errorf("close store: %v", failed)
		}
	})
	return store
}

func letters(kind schema.TableKind) *schema.Table {
	return &schema.Table{
		ID: 7, Namespace: "app", Name: "letters", Kind: kind, Version: 1, Group: shard.SharedShard(0),
		Columns: []schema.Column{
			{ID: 1, Name: "k", Type: datum.Of(datum.Text), PrimaryKey: true},
			{ID: 2, Name: "v", Type: datum.Of(datum.BigInt), Nullable: true},
		},
	}
}

// put writes a row as the applier does.
func put(t *testing.T, store *storage.Engine, scope table.Scope, key string, value int64, seq uint64, deleted bool) {
	t.Helper()
	row := schema.EncodeRow(scope.Table, []datum.Datum{datum.NewText(key), datum.NewBigInt(value)})
	set(t, store, keys.Row(scope.Group, scope.Table.ID, scope.User, datum.AppendKey(nil, datum.NewText(key))),
		rowvalue.Append(nil, seq, deleted, row))
}

func set(t *testing.T, store *storage.Engine, key, value []byte) {
	t.Helper()
	batch := store.NewBatch()
	if err := batch.Set(key, value); err != nil {
		t.Fatalf("set: %v", err)
	}
	if err := store.Commit(batch); err != nil {
		t.Fatalf("commit: %v", err)
	}
	if err := batch.Close(); err != nil {
		t.Fatalf("close batch: %v", err)
	}
}

// read scans and prints each row as key=value#seq, with an exclamation mark after a tombstone.
func read(reader storage.Reader, scope table.Scope, bounds table.Bounds, options table.ScanOptions) (rows []string, err error) {
	cursor, err := table.Open(reader, scope, bounds, options)
	if err != nil {
		return nil, err
	}
	row := make([]datum.Datum, len(scope.Table.Columns)+2)
	for {
		ok, err := cursor.Next(row)
		if err != nil {
			_ = cursor.Close()
			return rows, err
		}
		if !ok {
			return rows, cursor.Close()
		}
		text := fmt.Sprintf("%s=%s#%d", row[0], row[1], row[2].Int())
		if row[3].Bool() {
			text += "!"
		}
		rows = append(rows, text)
	}
}

func TestMalformedRowsAreErrors(t *testing.T) {
	t.Parallel()
	good := schema.EncodeRow(letters(schema.KindShared), []datum.Datum{datum.NewText("a"), datum.NewBigInt(1)})
	cases := []struct {
		name  string
		value []byte
	}{
		{"empty value", nil},
		{"unknown value format", append([]byte{9, 0, 0, 0, 0, 0, 0, 0, 0, 1}, good...)},
		{"no row", rowvalue.Append(nil, 1, false, nil)},
		{"cut row", rowvalue.Append(nil, 1, false, good[:len(good)-1])},
		{"unknown row format", rowvalue.Append(nil, 1, false, append([]byte{99}, good[1:]...))},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			store := openStore(t)
			scope := table.SharedScope(letters(schema.KindShared))
			point := datum.AppendKey(nil, datum.NewText("a"))
			set(t, store, keys.Row(scope.Group, scope.Table.ID, "", point), c.value)
			for _, bounds := range []table.Bounds{{}, {Points: [][]byte{point}}} {
				rows, err := read(store, scope, bounds, table.ScanOptions{})
				if err == nil || !strings.Contains(err.Error(), "app.letters") {
					t.Errorf("bounds %v: got rows %v and error %v, want an error that names the table", bounds, rows, err)
				}
			}
		})
	}
}

func TestScanOfClosedStoreFails(t *testing.T) {
	t.Parallel()
	snapshot := openStore(t).NewSnapshot()
	if err := snapshot.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if _, err := table.Open(snapshot, table.SharedScope(letters(schema.KindShared)), table.Bounds{}, table.ScanOptions{}); err == nil {
		t.Error("a scan of a closed snapshot succeeded")
	}
}

func TestBoundsAndTombstones(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	scope := table.SharedScope(letters(schema.KindShared))
	for i, key := range []string{"b", "a", "c", "", "ab", "d"} {
		put(t, store, scope, key, int64(i), uint64(i+1), key == "c")
	}
	key := func(text string) []byte { return datum.AppendKey(nil, datum.NewText(text)) }
	textRange := func(low, high string, lowInclusive, highInclusive bool) table.Bounds {
		return table.BoundsOf(expr.KeyRange{
			Low: datum.NewText(low), High: datum.NewText(high), LowInclusive: lowInclusive, HighInclusive: highInclusive,
		})
	}
	cases := []struct {
		name    string
		bounds  table.Bounds
		options table.ScanOptions
		want    []string
	}{
		{"all, in key order", table.Bounds{}, table.ScanOptions{}, []string{"=3#4", "a=1#2", "ab=4#5", "b=0#1", "d=5#6"}},
		{"with tombstones", table.Bounds{Low: key("b")}, table.ScanOptions{IncludeDeleted: true}, []string{"b=0#1", "c=2#3!", "d=5#6"}},
		{"closed range", textRange("a", "b", true, true), table.ScanOptions{}, []string{"a=1#2", "ab=4#5", "b=0#1"}},
		{"open range", textRange("a", "b", false, false), table.ScanOptions{}, []string{"ab=4#5"}},
		{"points", table.Bounds{Points: [][]byte{key("a"), key("c"), key("d"), key("z")}}, table.ScanOptions{}, []string{"a=1#2", "d=5#6"}},
		{"no points", table.Bounds{Points: [][]byte{}}, table.ScanOptions{}, nil},
		{"crossed range", table.Bounds{Low: key("d"), High: key("a")}, table.ScanOptions{}, nil},
	}
	for _, c := range cases {
		got, err := read(store, scope, c.bounds, c.options)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v and error %v, want %v", c.name, got, err, c.want)
		}
	}
}

// TestScopesAreApart writes the same keys for users whose ids are prefixes of each other or hold the bytes
// that end an id, and reads each scope whole.
func TestScopesAreApart(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	users := []ident.UserID{"a", "ab", "a\x00", "a\x00\x01", "a\x00\xff", "b", "\xff", "a'; --"}
	scopes := make([]table.Scope, len(users))
	for i, user := range users {
		scopes[i] = table.UserScope(letters(schema.KindUser), shard.Map{UserShards: 1, SharedShards: 1}, user)
		put(t, store, scopes[i], "k", int64(i), 1, false)
		put(t, store, scopes[i], "\xff\xff", int64(i), 2, false)
	}
	for i, scope := range scopes {
		want := []string{fmt.Sprintf("k=%d#1", i), fmt.Sprintf("\xff\xff=%d#2", i)}
		for _, bounds := range []table.Bounds{{}, {Low: []byte{}}, {Low: []byte{0}, High: []byte{0xff, 0xff}}} {
			got, err := read(store, scope, bounds, table.ScanOptions{})
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("user %q, bounds %v: got %q and error %v, want %q", users[i], bounds, got, err, want)
			}
		}
	}
}

func TestOnlyNeededValuesAreDecoded(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	scope := table.SharedScope(letters(schema.KindShared))
	put(t, store, scope, "a", 1, 9, false)
	cursor, err := table.Open(store, scope, table.Bounds{}, table.ScanOptions{Needed: []bool{false, true, false, false}})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	row := make([]datum.Datum, 4)
	if ok, err := cursor.Next(row); !ok || err != nil {
		t.Fatalf("next: %v, %v", ok, err)
	}
	if !row[0].IsNull() || row[1].Int() != 1 || cursor.Seq() != 9 {
		t.Errorf("got %v with _seq %d, want only the second value and 9", row, cursor.Seq())
	}
	if err := cursor.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}
