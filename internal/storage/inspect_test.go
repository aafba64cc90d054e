package storage

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// severalTables returns the files of a closed store with several tables and a manifest of several records, none of
// which a later one repeats.
func severalTables(t *testing.T) map[string][]byte {
	t.Helper()
	fs := vfs.NewMem()
	e := open(t, fs)
	for _, pair := range []string{"a=1", "c=2", "e=3", "g=4"} {
		commit(t, e, pair)
		check(t, e.Flush())
	}
	check(t, e.Close())
	return filesOf(t, fs)
}

func filesOf(t *testing.T, fs disk.FS) map[string][]byte {
	t.Helper()
	names, err := fs.List("store")
	check(t, err)
	all := make(map[string][]byte)
	for _, name := range names {
		f, err := fs.Open("store/" + name)
		check(t, err)
		info, err := f.Stat()
		check(t, err)
		all[name] = make([]byte, info.Size())
		if len(all[name]) > 0 {
			_, err = f.ReadAt(all[name], 0)
			check(t, err)
		}
		check(t, f.Close())
	}
	return all
}

// restored writes files into a new file system; change may change one of them, or remove it by returning nil.
func restored(t *testing.T, all map[string][]byte, name string, change func([]byte) []byte) disk.FS {
	t.Helper()
	fs := vfs.NewMem()
	check(t, fs.MkdirAll("store", 0o755))
	for file, content := range all {
		if file == name {
			if content = change(slices.Clone(content)); content == nil {
				continue
			}
		}
		f, err := fs.Create("store/"+file, disk.Category)
		check(t, err)
		_, err = f.Write(slices.Clone(content))
		check(t, err)
		check(t, f.Close())
	}
	return fs
}

func named(t *testing.T, all map[string][]byte, prefix, suffix string) string {
	t.Helper()
	var found []string
	for name := range all {
		if strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		t.Fatalf("no file %s*%s among %v", prefix, suffix, slices.Collect(maps.Keys(all)))
	}
	slices.Sort(found)
	return found[0]
}

// A manifest with a wrong bit is corruption, or the bit is in the last record: then the store is refused as well, or
// it is what it was before that record, as after a crash.
func TestFlippedBitInManifest(t *testing.T) {
	t.Parallel()
	all := severalTables(t)
	name := named(t, all, "MANIFEST-", "")
	last := 0
	for at := range all[name] {
		if manifestChunk(all[name], at) != 0 {
			last = at
		}
	}
	if last == 0 {
		t.Fatal("the manifest has one record")
	}
	for at := range all[name] {
		fs := restored(t, all, name, func(b []byte) []byte { b[at] ^= 1 << (at % 8); return b })
		e, err := Open(Options{FS: fs, Dir: "store"})
		if err == nil {
			got := dump(t, e, "a", "z")
			check(t, e.Close())
			if at < last || len(got) < 3 {
				t.Fatalf("byte %d of %d, last record at %d: the store opens with %v", at, len(all[name]), last, got)
			}
		} else if !errors.Is(err, ErrCorruption) {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
}

// What was cut off the end of a manifest is what a crash leaves, not corruption.
func TestTornManifest(t *testing.T) {
	t.Parallel()
	whole := vfs.NewMem()
	written := open(t, whole)
	commit(t, written, "a=1")
	check(t, written.Flush()) // one table alone, which no compaction takes away when the manifest has said so
	check(t, written.Close())
	all := filesOf(t, whole)
	name := named(t, all, "MANIFEST-", "")
	fs := restored(t, all, name, func(b []byte) []byte { return b[:len(b)-3] })
	e, err := Open(Options{FS: fs, Dir: "store"})
	check(t, err)
	check(t, e.Close())
}

// A table that is gone is corruption, not an empty store.
func TestMissingTableIsCorruption(t *testing.T) {
	t.Parallel()
	all := severalTables(t)
	fs := restored(t, all, named(t, all, "", ".sst"), func([]byte) []byte { return nil })
	if _, err := Open(Options{FS: fs, Dir: "store"}); !errors.Is(err, ErrCorruption) {
		t.Errorf("a table is missing: %v", err)
	}
	fs = restored(t, all, named(t, all, "MANIFEST-", ""), func([]byte) []byte { return nil })
	if _, err := Open(Options{FS: fs, Dir: "store"}); !errors.Is(err, ErrCorruption) {
		t.Errorf("the manifest is missing: %v", err)
	}
}

// Inspect finds every flipped bit of a table, and changes nothing.
func TestInspectFindsFlippedBits(t *testing.T) {
	t.Parallel()
	all := severalTables(t)
	inspect := func(fs disk.FS) Inspection {
		before := filesOf(t, fs)
		e, found, err := Inspect(Options{FS: fs, Dir: "store"})
		check(t, err)
		if e != nil {
			_ = e.Close() // may repeat the corruption
		}
		after := filesOf(t, fs)
		delete(before, "LOCK")
		delete(after, "LOCK")
		if !maps.EqualFunc(before, after, slices.Equal) {
			t.Fatal("inspecting changed the store")
		}
		return found
	}
	sound := inspect(restored(t, all, "", nil))
	if len(sound.Damage) != 0 || len(sound.Notes) != 0 || sound.Tables == 0 || sound.Bytes == 0 {
		t.Fatalf("a sound store: %+v", sound)
	}
	name := named(t, all, "", ".sst")
	for at := range all[name] {
		fs := restored(t, all, name, func(b []byte) []byte { b[at] ^= 1 << (at % 8); return b })
		if found := inspect(fs); len(found.Damage) == 0 {
			t.Errorf("byte %d of %d: nothing is found", at, len(all[name]))
		}
	}
	gone := inspect(restored(t, all, name, func([]byte) []byte { return nil }))
	if len(gone.Damage) == 0 {
		t.Error("a table is missing: nothing is found")
	}
	left := maps.Clone(all)
	left["999999.sst"] = []byte("no table")
	if found := inspect(restored(t, left, "", nil)); len(found.Damage) != 0 || len(found.Notes) != 1 {
		t.Errorf("a file that the store does not know: %+v", found)
	}
}

// FuzzManifestDamage gives any bytes to the judge of manifests: it ends, and points into them.
func FuzzManifestDamage(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if offset, damaged := manifestDamage(raw); damaged && (offset < 0 || offset >= len(raw)) {
			t.Fatalf("damage at %d of %d bytes", offset, len(raw))
		}
	})
}
