package rowvalue

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

func TestDecodeRefusesMalformedValues(t *testing.T) {
	t.Parallel()
	good := Append(nil, 1<<16, true, []byte("row"))
	for name, value := range map[string][]byte{
		"empty":          nil,
		"short":          good[:headerLen-1],
		"another format": append([]byte{2}, good[1:]...),
		"unknown flag":   append([]byte{format, 2}, good[2:]...),
	} {
		if _, _, _, err := Decode(value); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestDecodeInvertsAppend(t *testing.T) {
	t.Parallel()
	for _, deleted := range []bool{false, true} {
		for _, row := range [][]byte{nil, []byte("row")} {
			value := Append([]byte("x"), 1<<63+5, deleted, row)[1:]
			seq, gotDeleted, gotRow, err := Decode(value)
			if err != nil || seq != 1<<63+5 || gotDeleted != deleted || !bytes.Equal(gotRow, row) {
				t.Errorf("%x decodes to %d, %v, %x, %v", value, seq, gotDeleted, gotRow, err)
			}
		}
	}
	want := []byte{1, 1, 0, 0, 0, 0, 0, 1, 0, 2, 'r'}
	if got := Append(nil, 1<<16|2, true, []byte("r")); !bytes.Equal(got, want) {
		t.Errorf("format changed: %x, want %x", got, want)
	}
}

func TestTableDigestSeesEveryDifference(t *testing.T) {
	t.Parallel()
	e, err := storage.Open(storage.Options{FS: vfs.NewMem(), Dir: "store"})
	check(t, err)
	b := e.NewBatch()
	defer func() {
		check(t, b.Close())
		check(t, e.Close())
	}()
	set := func(key, value string) {
		t.Helper()
		check(t, b.Set(keys.Row(107, 9, "u", []byte(key)), Append(nil, 1, false, []byte(value))))
	}
	digests := map[uint64]string{}
	see := func(name string, wantRows uint64) {
		t.Helper()
		rows, digest, digestErr := TableDigest(b, 107, 9)
		check(t, digestErr)
		if rows != wantRows {
			t.Errorf("%s: %d rows; want %d", name, rows, wantRows)
		}
		if other, again := digests[digest]; again {
			t.Errorf("%s has the digest of %s", name, other)
		}
		digests[digest] = name
	}
	see("empty", 0)
	set("a", "bc")
	see("one row", 1)
	set("a", "bd")
	see("another value", 1)
	set("b", "")
	see("two rows", 2)
	check(t, b.Delete(keys.Row(107, 9, "u", []byte("a"))))
	set("b", "a")
	see("another row", 1)
	_, before, err := TableDigest(b, 107, 9)
	check(t, err)
	check(t, b.Set(keys.Row(107, 10, "u", nil), nil))
	_, after, err := TableDigest(b, 107, 9)
	check(t, err)
	if after != before {
		t.Error("a row of another table changed the digest")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Append(nil, 7, true, []byte("row")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, value []byte) {
		seq, deleted, row, err := Decode(value)
		if err == nil && !bytes.Equal(Append(nil, seq, deleted, row), value) {
			t.Errorf("%x does not come back", value)
		}
	})
}
