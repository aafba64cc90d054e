package keys

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden list")

// TestGolden pins the bytes of every kind of key. A difference is a change of the disk format.
func TestGolden(t *testing.T) {
	t.Parallel()
	const group, table = shard.GroupID(107), ident.TableID(258)
	var list strings.Builder
	line := func(name string, key []byte) { fmt.Fprintf(&list, "%-24s %x\n", name, key) }
	span := func(name string, lo, hi []byte) { fmt.Fprintf(&list, "%-24s %x .. %x\n", name, lo, hi) }
	line("applied", Applied(group))
	line("dedup", Dedup(group, 70_000))
	line("purged", Purged(group, table))
	line("change", Change(group, 70_000<<16|3))
	line("changes", Changes(group))
	line("retention", Retention(group))
	line("row", Row(group, table, "alice", []byte{0x80, 0x01}))
	line("row of nul\\x00user", Row(group, table, "nul\x00user", []byte{0x80, 0x01}))
	line("row of nobody", Row(200, table, "", []byte{0x80, 0x01}))
	line("scope", Scope(group, table, "alice"))
	line("scope of nobody", Scope(200, table, ""))
	line("manifest", Manifest(group, table, "alice"))
	line("manifest of nobody", Manifest(200, table, ""))
	line("index entry", IndexEntry(group, table, 3, "alice", []byte{0x80, 0x05}, []byte{0x80, 0x01}))
	line("unique index entry", IndexEntry(200, table, 3, "", []byte{0x80, 0x05}, nil))
	line("fence", Fence(group, table))
	line("cluster", Cluster())
	line("namespace", Namespace("app"))
	line("table", Table(table))
	line("version", Version(table, 3))
	line("user", User("alice"))
	line("member", Member(3))
	line("cleanup", Cleanup(table))
	line("sequence", Sequence("replica"))
	line("job", Job(258))
	line("job done", JobDone(258))
	line("job key", JobKey("cleanup:17"))
	line("schedule", Schedule("nightly"))
	line("storage", Storage("archive"))
	line("view", View("app", "open_notes"))
	line("audit", Audit(258))
	line("backup", Backup(258))
	line("mark", Mark(group, 1_700_000_000_000_000))
	line("forgotten", Forgotten(group))
	line("restore", Restore(group))
	lo, hi := GroupSpan(group)
	span("group span", lo, hi)
	lo, hi = TableSpan(group, table)
	span("table span", lo, hi)
	lo, hi = UserTableSpan(group, table, "alice")
	span("user table span", lo, hi)
	lo, hi = ScopeSpan(group, table)
	span("scope span", lo, hi)
	lo, hi = DedupSpan(group, 1, 70_000)
	span("dedup span", lo, hi)
	lo, hi = DedupAll(group)
	span("dedup, all", lo, hi)
	lo, hi = ChangeSpan(group, 1, 70_000)
	span("change span", lo, hi)
	lo, hi = ChangesAfter(group, 70_000)
	span("changes after", lo, hi)
	lo, hi = PurgedSpan(group)
	span("purged span", lo, hi)
	lo, hi = IndexSpan(group, table, 3)
	span("index span", lo, hi)
	lo, hi = IndexesSpan(group, table)
	span("indexes span", lo, hi)
	lo, hi = UserIndexSpan(group, table, 3, "alice")
	span("user index span", lo, hi)
	lo, hi = FenceSpan(group)
	span("fence span", lo, hi)
	lo, hi = MetaSpan(KindUser)
	span("meta span of users", lo, hi)

	const path = "testdata/golden.txt"
	if *rewrite {
		if err := os.WriteFile(path, []byte(list.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), list.String()); diff != "" {
		t.Errorf("key format changed (-want +got):\n%s", diff)
	}
}

func TestParseRefusesMalformedKeys(t *testing.T) {
	t.Parallel()
	row := Row(107, 1, "alice", []byte{7})
	parseRow := func(key []byte) error { _, err := ParseRow(key); return err }
	parseScope := func(key []byte) error { _, err := ParseScope(key); return err }
	parseDedup := func(key []byte) error { _, _, err := ParseDedup(key); return err }
	parsePurged := func(key []byte) error { _, _, err := ParsePurged(key); return err }
	parseTable := func(key []byte) error { _, err := ParseNumber(key, KindTable); return err }
	parseMark := func(key []byte) error { _, _, err := ParseMark(key); return err }
	parseFence := func(key []byte) error { _, _, err := ParseFence(key); return err }
	parseEntry := func(key []byte) error { _, err := ParseIndexEntry(key); return err }
	parseName := func(key []byte) error { _, err := ParseName(key, KindUser); return err }
	for name, c := range map[string]struct {
		parse func([]byte) error
		key   []byte
	}{
		"empty":                  {parseRow, nil},
		"only the group":         {parseRow, row[:groupLen]},
		"another first byte":     {parseRow, append([]byte{'h'}, row[1:]...)},
		"another kind":           {parseRow, Scope(107, 1, "alice")},
		"no table":               {parseRow, row[:groupLen+5]},
		"user does not end":      {parseRow, row[:groupLen+12]},
		"user breaks off":        {parseRow, row[:len(row)-2]},
		"unknown escape":         {parseRow, append(append([]byte(nil), row[:len(row)-2]...), 0x02)},
		"bytes after a scope":    {parseScope, append(Scope(107, 1, "alice"), 1)},
		"scope of another kind":  {parseScope, row},
		"short dedup index":      {parseDedup, Dedup(107, 1)[:groupLen+4]},
		"dedup of another kind":  {parseDedup, row},
		"long purged table":      {parsePurged, append(Purged(107, 1), 0)},
		"purged of another kind": {parsePurged, row},
		"table of another kind":  {parseTable, row},
		"short table":            {parseTable, Table(1)[:groupLen+3]},
		"fence of another kind":  {parseFence, row},
		"mark of another kind":   {parseMark, row},
		"short mark":             {parseMark, Mark(107, 1)[:groupLen+3]},
		"mark before all time":   {parseMark, Mark(107, -1)},
		"short fence":            {parseFence, Fence(107, 1)[:groupLen+3]},
		"entry of another kind":  {parseEntry, row},
		"entry without an index": {parseEntry, IndexEntry(107, 1, 2, "alice", nil, nil)[:groupLen+10]},
		"entry without a user":   {parseEntry, IndexEntry(107, 1, 2, "alice", nil, nil)[:groupLen+15]},
		"name of another kind":   {parseName, Namespace("x")},
	} {
		if err := c.parse(c.key); err == nil {
			t.Errorf("%s: %x was accepted", name, c.key)
		}
	}
}

func TestParseInvertsBuild(t *testing.T) {
	t.Parallel()
	for _, user := range []ident.UserID{"", "alice", "a\x00b", "\x00", "\x00\xff", "\x00\x01", "\xff\xff", "é"} {
		for _, primaryKey := range [][]byte{{}, {0}, {0, 1}, {0xff, 0xff}, []byte("key")} {
			want := RowKey{Group: 107, Table: 9, User: user, PrimaryKey: primaryKey}
			got, err := ParseRow(Row(107, 9, user, primaryKey))
			if err != nil {
				t.Fatalf("user %q, key %x: %v", user, primaryKey, err)
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
		}
		named, err := ParseManifest(Manifest(107, 9, user))
		if err != nil || named.User != user || named.Table != 9 || named.Group != 107 {
			t.Errorf("manifest of %q parses as %+v, %v", user, named, err)
		}
		scope, err := ParseScope(Scope(107, 9, user))
		if err != nil || scope.User != user || scope.Table != 9 || scope.Group != 107 {
			t.Errorf("scope of %q: %+v, %v", user, scope, err)
		}
	}
	if group, index, err := ParseDedup(Dedup(107, 1<<40)); err != nil || group != 107 || index != 1<<40 {
		t.Errorf("dedup: %d, %d, %v", group, index, err)
	}
	if group, table, err := ParsePurged(Purged(107, 5)); err != nil || group != 107 || table != 5 {
		t.Errorf("purged: %d, %d, %v", group, table, err)
	}
	if id, err := ParseNumber(Member(3), KindMember); err != nil || id != 3 {
		t.Errorf("member: %d, %v", id, err)
	}
	if name, err := ParseName(Namespace("app"), KindNamespace); err != nil || name != "app" {
		t.Errorf("namespace: %q, %v", name, err)
	}
}

func TestSpansHoldTheirKeysOnly(t *testing.T) {
	t.Parallel()
	within := func(key, lo, hi []byte) bool { return bytes.Compare(lo, key) <= 0 && bytes.Compare(key, hi) < 0 }
	users := []ident.UserID{"", "a", "a\x00", "a\x00b", "a\x01", "a\xff", "aa", "b", "\x00", "\xff"}
	for _, owner := range users {
		lo, hi := UserTableSpan(107, 9, owner)
		for _, other := range users {
			for _, primaryKey := range [][]byte{nil, {0}, {0xff, 0xff, 0xff}} {
				if got := within(Row(107, 9, other, primaryKey), lo, hi); got != (other == owner) {
					t.Errorf("a row of %q in the span of %q: %v", other, owner, got)
				}
			}
		}
	}
	lo, hi := GroupSpan(107)
	for _, key := range [][]byte{Applied(107), Dedup(107, 1<<63), Row(107, 1<<63, "\xff", []byte{0xff})} {
		if !within(key, lo, hi) {
			t.Errorf("key %x outside its group", key)
		}
	}
	for _, key := range [][]byte{Applied(106), Applied(108), Row(106, 1<<63, "\xff", []byte{0xff})} {
		if within(key, lo, hi) {
			t.Errorf("key %x inside another group", key)
		}
	}
	lo, hi = TableSpan(107, 9)
	for _, key := range [][]byte{Row(107, 8, "\xff", nil), Row(107, 10, "", nil), Scope(107, 9, "a")} {
		if within(key, lo, hi) {
			t.Errorf("key %x inside the rows of another table", key)
		}
	}
}

func TestPrefixEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ prefix, want []byte }{
		{nil, nil},
		{[]byte{0xff, 0xff}, nil},
		{[]byte{1, 0xff}, []byte{2}},
		{[]byte{1, 2}, []byte{1, 3}},
	} {
		if got := PrefixEnd(c.prefix); !bytes.Equal(got, c.want) {
			t.Errorf("end of %x = %x, want %x", c.prefix, got, c.want)
		}
	}
}

// FuzzOrder checks that rows order as (table, user, primary key) and parse back.
func FuzzOrder(f *testing.F) {
	f.Add(uint64(1), "a", []byte{0}, uint64(1), "a\x00", []byte{})
	f.Add(uint64(1), "a\x00", []byte{1}, uint64(1), "a\x01", []byte{0xff})
	f.Add(uint64(1<<40), "", []byte{1}, uint64(255), "x", []byte{0})
	f.Fuzz(func(t *testing.T, table1 uint64, user1 string, key1 []byte, table2 uint64, user2 string, key2 []byte) {
		row1 := Row(107, ident.TableID(table1), ident.UserID(user1), key1)
		row2 := Row(107, ident.TableID(table2), ident.UserID(user2), key2)
		want := cmp.Or(cmp.Compare(table1, table2), strings.Compare(user1, user2), bytes.Compare(key1, key2))
		if got := bytes.Compare(row1, row2); got != want {
			t.Errorf("(%d %q %x) against (%d %q %x) = %d, want %d", table1, user1, key1, table2, user2, key2, got, want)
		}
		parsed, err := ParseRow(row1)
		if err != nil || parsed.User != ident.UserID(user1) || !bytes.Equal(parsed.PrimaryKey, key1) {
			t.Errorf("parsed %+v, %v", parsed, err)
		}
	})
}

// FuzzParse checks that any bytes give an error or a key that builds to the same bytes.
func FuzzParse(f *testing.F) {
	f.Add(Row(107, 9, "a\x00b", []byte{1}))
	f.Add(Scope(200, 9, ""))
	f.Fuzz(func(t *testing.T, key []byte) {
		if row, err := ParseRow(key); err == nil {
			if again := Row(row.Group, row.Table, row.User, row.PrimaryKey); !bytes.Equal(again, key) {
				t.Errorf("%x parses to %+v, which is %x", key, row, again)
			}
		}
		if scope, err := ParseScope(key); err == nil {
			if again := Scope(scope.Group, scope.Table, scope.User); !bytes.Equal(again, key) {
				t.Errorf("%x parses to %+v, which is %x", key, scope, again)
			}
		}
	})
}

// FuzzParseOthers is FuzzParse for the keys that are not of rows and scopes.
func FuzzParseOthers(f *testing.F) {
	f.Add(Manifest(107, 9, "a\x00b"))
	f.Add(Dedup(107, 77))
	f.Add(Change(107, 77))
	f.Add(Purged(200, 9))
	f.Add(Fence(200, 9))
	f.Add(Mark(107, 77))
	f.Add(IndexEntry(107, 9, 2, "u", []byte{5}, []byte{1}))
	f.Add(Table(9))
	f.Add(Namespace("n"))
	f.Fuzz(func(t *testing.T, key []byte) {
		same := func(what string, err error, build func() []byte) {
			if err != nil {
				return
			}
			if again := build(); !bytes.Equal(again, key) {
				t.Errorf("%x parses as %s, which is %x", key, what, again)
			}
		}
		m, err := ParseManifest(key)
		same("manifest", err, func() []byte { return Manifest(m.Group, m.Table, m.User) })
		group, index, err := ParseDedup(key)
		same("duplicate", err, func() []byte { return Dedup(group, index) })
		group, micros, err := ParseMark(key)
		same("mark", err, func() []byte { return Mark(group, micros) })
		group, seq, err := ParseChange(key)
		same("change", err, func() []byte { return Change(group, seq) })
		group, table, err := ParsePurged(key)
		same("purged", err, func() []byte { return Purged(group, table) })
		group, table, err = ParseFence(key)
		same("fence", err, func() []byte { return Fence(group, table) })
		x, err := ParseIndexEntry(key)
		same("index entry", err, func() []byte { return IndexEntry(x.Group, x.Table, x.Index, x.User, x.Values, nil) })
		number, err := ParseNumber(key, KindJob)
		same("job", err, func() []byte { return Job(number) })
		name, err := ParseName(key, KindNamespace)
		same("namespace", err, func() []byte { return Namespace(name) })
	})
}
