package server

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
)

// stoppedNode is the directory of a node that was stopped, with rows of several kinds.
func stoppedNode(t *testing.T) string {
	t.Helper()
	cfg := testConfig(t.TempDir())
	n := openNode(t, cfg, Options{})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	for _, text := range []string{
		"CREATE NAMESPACE shop",
		"CREATE TABLE shop.t (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE='SHARED')",
		"CREATE TABLE shop.mine (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE='USER')",
		"CREATE INDEX by_name ON shop.t (name)",
	} {
		c.sql(text)
	}
	for i := range 20 {
		c.sql(fmt.Sprintf("INSERT INTO shop.t (id, name) VALUES (%d, 'row')", i))
		c.sql(fmt.Sprintf("INSERT INTO shop.mine (id, name) VALUES (%d, 'row')", i))
	}
	c.sql("DELETE FROM shop.t WHERE id = 3")
	c.sql("ALTER TABLE shop.t ADD COLUMN price DECIMAL(10,2)")
	c.sql("CREATE TABLE shop.old (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE='SHARED')")
	c.sql("INSERT INTO shop.old (id, name) VALUES (1, 'cold')")
	flushTable(t, c, n, "shop.old")
	closeNode(t, n)
	return cfg.Storage.DataPath
}

// copyOf copies a directory, so that one can be damaged in many ways.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "data"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(to, "data")
}

// contents reads every file below a directory, locks apart.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == "LOCK" {
			return err
		}
		raw, err := os.ReadFile(path)
		all[path] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func check(t *testing.T, dir string) *CheckReport {
	t.Helper()
	report, err := Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// TestCheckOfASoundDirectory finds nothing, counts what is there, changes no byte, and the node starts afterwards.
func TestCheckOfASoundDirectory(t *testing.T) {
	t.Parallel()
	dir := stoppedNode(t)
	before := contents(t, dir)
	report := check(t, dir)
	if report.Damage != 0 || len(report.Findings) != 0 {
		t.Errorf("findings: %+v", report.Findings)
	}
	if !maps.Equal(before, contents(t, dir)) {
		t.Error("checking changed the directory")
	}
	if c := report.Cold; c.Manifests != 1 || c.Files != 1 || c.Bytes == 0 {
		t.Errorf("cold rows: %+v", c)
	}
	rows := uint64(0)
	for _, g := range report.Groups {
		rows += g.Rows
		if g.Digest == "" || g.Applied == 0 || g.Last < g.Applied {
			t.Errorf("group %+v", g)
		}
	}
	if want := len(shard.Default().Groups()) + 1; len(report.Groups) != want || rows != 40 || report.Log.Records == 0 || report.Tables.Files == 0 {
		t.Errorf("%d groups, want %d; %d rows, want 40; log %+v, store %+v", len(report.Groups), want, rows, report.Log, report.Tables)
	}
	n := openNode(t, testConfig(dir), Options{})
	waitReady(t, n)
	if _, err := Check(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("the directory of a running node: %v", err)
	}
}

// TestCheckFindsDamage damages a copy of the same directory in one place after the other.
func TestCheckFindsDamage(t *testing.T) {
	t.Parallel()
	dir := stoppedNode(t)
	remove := func(pattern string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			paths, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil || len(paths) == 0 {
				t.Fatalf("%s: %v %v", pattern, paths, err)
			}
			if err := os.RemoveAll(paths[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(part, pattern string, offset int64) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			damageFiles(t, filepath.Join(dir, part), pattern, offset)
		}
	}
	for name, c := range map[string]struct {
		damage func(*testing.T, string)
		part   string
		says   string
	}{
		"a bit of the identity":          {flip("", identityFile, 20), "node.id", "checksum"},
		"no identity":                    {remove(identityFile), "node.id", "no such file"},
		"orders":                         {writeFile("orders", "00000000 {}\n"), "orders", "checksum"},
		"a record of the log":            {flip("log", "raft-*.log", 4096+100), "log", "does not verify"},
		"the header of a segment":        {flip("log", "raft-*.log", 20), "log", "checksum of the segment header"},
		"no segment":                     {remove("log/raft-*.log"), "log", "no segments"},
		"no log":                         {remove("log"), "log", "cannot be read"},
		"a block of a table":             {flip("store", "*.sst", 3), "store", "orrupt"},
		"no table":                       {remove("store/*.sst"), "store", "orrupt"},
		"the list of tables":             {flip("store", "MANIFEST-*", 12), "store", "orrupt"},
		"no store":                       {remove("store"), "store", "cannot be read"},
		"a key of an unknown kind":       {plant(keyOfKind(0xee), []byte("x")), "state", "not known"},
		"a key of no group":              {plant(keys.Scope(shard.UserShard(900), 1, "a"), make([]byte, 8)), "state", "no group of this cluster"},
		"a row in a wrong place":         {plant(strayRow(), rowvalue.Append(nil, 1, false, nil)), "state", "the row belongs to"},
		"a row of the future":            {plant(homeRow(), rowvalue.Append(nil, 1<<40, false, nil)), "state", "is applied"},
		"a row of no format":             {plant(homeRow(), []byte{9}), "state", "malformed row value"},
		"a row that does not decode":     {plantInTable, "state", "key"},
		"a scope of no length":           {plant(keys.Scope(shard.UserShard(0), 1, "a"), []byte{1}), "state", "malformed value of a scope: it has 1 bytes"},
		"a table without a descriptor":   {plant(keys.Table(77), []byte{0xff}), "state", "tables"},
		"a request without a form":       {plant(keys.Dedup(shard.Meta, 3), []byte{0xff}), "state", "restore"},
		"a change without a form":        {plant(keys.Change(shard.UserShard(0), 1<<16), []byte{0xff}), "state", "malformed change"},
		"a state in front of the log":    {plant(keys.Applied(shard.UserShard(1)), []byte{0xff}), "state", "unknown format"},
		"a file of cold rows":            {flip("storage/shop/old", "*.parquet", 40), "cold", "not those of the manifest"},
		"no file of cold rows":           {remove("storage/shop/old/*.parquet"), "cold", "no such file"},
		"a manifest without a form":      {plant(keys.Manifest(shard.SharedShard(0), 1, ""), []byte{9}), "state", "malformed manifest"},
		"a log of another store":         {otherStore, "log", "another store"},
		"a state that was marked as bad": {markDamaged, "node.id", "has recorded damage"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			damaged := copyOf(t, dir)
			c.damage(t, damaged)
			before := contents(t, damaged)
			report := check(t, damaged)
			if !slices.ContainsFunc(report.Findings, func(f CheckFinding) bool {
				return f.Damage && f.Part == c.part && strings.Contains(f.Text, c.says)
			}) || report.Damage == 0 {
				t.Errorf("want damage of %s that says %q, got %+v", c.part, c.says, report.Findings)
			}
			if !maps.Equal(before, contents(t, damaged)) {
				t.Error("checking changed the directory")
			}
		})
	}
}

// TestCheckRefusesOtherDirectories tells a mistake from damage.
func TestCheckRefusesOtherDirectories(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "absent")} {
		if _, err := Check(dir); !errors.Is(err, ErrNoDirectory) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func writeFile(name, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// plant writes a key into the store behind everybody's back.
func plant(key, value []byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		engine, err := storage.Open(storage.Options{FS: disk.Local(), Dir: filepath.Join(dir, "store")})
		if err != nil {
			t.Fatal(err)
		}
		batch := engine.NewBatch()
		err = errors.Join(batch.Set(key, value), engine.Commit(batch), batch.Close(), engine.Flush(), engine.Close())
		if err != nil {
			t.Fatal(err)
		}
	}
}

func keyOfKind(kind byte) []byte {
	key := keys.Applied(shard.UserShard(0))
	key[len(key)-1] = kind
	return key
}

// homeRow and strayRow are keys of a user's row where it belongs, and where it does not.
func homeRow() []byte { return keys.Row(shard.Default().RouteUser("ann"), 1, "ann", []byte{1}) }

func strayRow() []byte {
	for _, group := range shard.Default().Groups()[1:] {
		if group != shard.Default().RouteUser("ann") {
			return keys.Row(group, 1, "ann", []byte{1})
		}
	}
	return nil
}

// plantInTable cuts the bytes of a row of a table that exists.
func plantInTable(t *testing.T, dir string) {
	t.Helper()
	group := shard.SharedShard(0)
	engine, err := storage.Open(storage.Options{FS: disk.Local(), Dir: filepath.Join(dir, "store")})
	if err != nil {
		t.Fatal(err)
	}
	lo, hi := keys.GroupSpan(group)
	it, err := engine.Scan(lo, hi)
	if err != nil {
		t.Fatal(err)
	}
	var key, value []byte
	for ok := it.First(); ok && key == nil; ok = it.Next() {
		if _, err := keys.ParseRow(it.Key()); err == nil {
			stored, err := it.Value()
			if err != nil {
				t.Fatal(err)
			}
			key, value = slices.Clone(it.Key()), slices.Clone(stored)
		}
	}
	if err := errors.Join(it.Close(), engine.Close()); err != nil || key == nil {
		t.Fatalf("no row: %v", err)
	}
	plant(key, value[:len(value)-3])(t, dir)
}

// otherStore gives the directory a valid identity that its log does not have.
func otherStore(t *testing.T, dir string) {
	t.Helper()
	changeIdentity(t, dir, func(id *identity) { id.Store = ident.StoreID{1, 2, 3} })
}

func markDamaged(t *testing.T, dir string) {
	t.Helper()
	changeIdentity(t, dir, func(id *identity) { id.State, id.Damage = stateDamaged, &damage{Reason: "a test"} })
}

func changeIdentity(t *testing.T, dir string, change func(*identity)) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, identityFile))
	if err != nil {
		t.Fatal(err)
	}
	id, err := parseIdentity(raw)
	if err != nil {
		t.Fatal(err)
	}
	change(&id)
	if err := id.save(disk.Local(), dir); err != nil {
		t.Fatal(err)
	}
}
