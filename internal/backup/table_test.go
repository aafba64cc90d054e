package backup

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/storage/tablefile"
)

// samples are records in their order: users that are prefixes of each other, bytes that keys escape, a deleted row.
func samples() []Record {
	var all []Record
	for _, table := range []ident.TableID{0, 1, 255, 256, 1 << 40} {
		for _, user := range []string{"", "\x00", "\x00\x00", "\x00\x01", "\x00\xff", "\x01", "a", "a\x00", "a\x00b", "ab", "\xff"} {
			for _, key := range []string{"", "\x00", "\x00\xff", "k", "k\x00\x00", "\xff"} {
				all = append(all, Record{Table: table, User: ident.UserID(user), Key: []byte(key), Value: []byte("v" + user + key), Deleted: key == "k"})
			}
		}
	}
	return all
}

func runOf(records []Record) []byte {
	var run []byte
	for i := range records {
		run = appendRecord(run, &records[i])
	}
	return run
}

// TestTablesHoldRecords: a table file gives the records back as they were encoded, in the order of table, user and key, and is the same
// file each time; a record that is out of order is no table file.
func TestTablesHoldRecords(t *testing.T) {
	t.Parallel()
	records := samples()
	if !slices.IsSortedFunc(records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.User, b.User), bytes.Compare(a.Key, b.Key))
	}) {
		t.Fatal("the samples are not in order")
	}
	run := runOf(records)
	file, err := tableOf(run)
	if err != nil {
		t.Fatal(err)
	}
	var back []byte
	if err = visitTable(file, func(r *Record, encoded []byte) error {
		if again := appendRecord(nil, r); !bytes.Equal(again, encoded) {
			t.Errorf("%+v is not what is encoded", r)
		}
		back = append(back, encoded...)
		return nil
	}); err != nil || !bytes.Equal(back, run) {
		t.Errorf("%d bytes became %d, %v", len(run), len(back), err)
	}
	again, err := tableOf(run)
	if err != nil || !bytes.Equal(again, file) {
		t.Errorf("the same records became another file, %v", err)
	}
	for _, at := range []int{0, len(records) / 2, len(records) - 2} {
		wrong := slices.Clone(records)
		wrong[at], wrong[at+1] = wrong[at+1], wrong[at]
		if _, err := tableOf(runOf(wrong)); err == nil {
			t.Errorf("records %d and %d are accepted the wrong way round", at, at+1)
		}
	}
	if _, err := tableOf(append(run, runOf(records[len(records)-1:])...)); err == nil {
		t.Error("a record is accepted twice")
	}
}

// TestGoldenTable: the bytes of a chunk's content are a contract: another file under the same records would make every chunk of the next
// backup new.
func TestGoldenTable(t *testing.T) {
	t.Parallel()
	file, err := tableOf(runOf(samples()[:12]))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "table.hex")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.Dump(file); got != string(want) {
		t.Errorf("the table file is not that of %s:\n%s", path, got)
	}
}

// TestFlippedBitsOfTables: a table file of which any bit has flipped is refused, or gives the records that it had.
func TestFlippedBitsOfTables(t *testing.T) {
	t.Parallel()
	run := runOf(samples()[:40])
	file, err := tableOf(run)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for bit := range 8 * len(file) {
		damaged := slices.Clone(file)
		damaged[bit/8] ^= 1 << (bit % 8)
		var back []byte
		err := visitTable(damaged, func(_ *Record, encoded []byte) error {
			back = append(back, encoded...)
			return nil
		})
		switch {
		case err != nil:
			refused++
		case !bytes.Equal(back, run):
			t.Errorf("with bit %d other records come back, without an error", bit)
		}
	}
	if refused < 7*len(file) {
		t.Errorf("%d of %d flipped bits were seen", refused, 8*len(file))
	}
}

func FuzzTable(f *testing.F) {
	for _, n := range []int{0, 1, 40} {
		file, err := tableOf(runOf(samples()[:n]))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		var run []byte
		err := visitTable(file, func(_ *Record, encoded []byte) error {
			run = append(run, encoded...)
			return nil
		})
		if err != nil {
			if !errors.Is(err, errMalformed) && !errors.Is(err, tablefile.ErrMalformed) {
				t.Errorf("%v is no error of a malformed chunk", err)
			}
			return
		}
		// What was read is a chunk's worth of records: it makes a table file of its own.
		if again, err := tableOf(run); err != nil || len(again) == 0 {
			t.Errorf("what was read is no run of records: %v", err)
		}
	})
}

func FuzzPlace(f *testing.F) {
	for _, r := range samples()[:20] {
		f.Add(appendPlace(nil, &r))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Record
		if err := readPlace(data, &r); err != nil {
			if !strings.HasPrefix(err.Error(), errMalformed.Error()) {
				t.Errorf("%v", err)
			}
			return
		}
		if again := appendPlace(nil, &r); !bytes.Equal(again, data) {
			t.Errorf("%x was read as %+v, which is %x", data, r, again)
		}
	})
}

// TestLargestChunkIsRead: a chunk that is full of the smallest records and ends with one of the largest size is within the bound of what is read.
func TestLargestChunkIsRead(t *testing.T) {
	t.Parallel()
	var run []byte
	r := Record{Table: 1, Key: make([]byte, 4)}
	for i := uint32(0); len(run) < maxChunkBytes; i++ {
		binary.BigEndian.PutUint32(r.Key, i)
		run = appendRecord(run, &r)
	}
	run = appendRecord(run, &Record{Table: 2, Key: []byte("k"), Value: make([]byte, 16<<20)})
	file, err := tableOf(run)
	if err != nil || len(file) > maxStoredBytes {
		t.Fatalf("%d bytes of records are a table file of %d, %v", len(run), len(file), err)
	}
	t.Logf("%d bytes of records are a table file of %d", len(run), len(file))
	if err := visitTable(file, func(_ *Record, _ []byte) error { return nil }); err != nil {
		t.Error(err)
	}
}

// TestRecordsOfATableAreBounded: a file of keys that share almost everything gives no more records than a chunk can have.
func TestRecordsOfATableAreBounded(t *testing.T) {
	t.Parallel()
	b := tablefile.NewBuilder()
	key := appendPlace(nil, &Record{Table: 1, Key: make([]byte, 1<<20)})
	for i := range maxStoredBytes>>20 + 1 {
		key[len(key)-1] = byte(i)
		if err := b.Add(key, []byte{0}); err != nil {
			t.Fatal(err)
		}
	}
	file, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if err = visitTable(file, func(_ *Record, _ []byte) error { return nil }); !errors.Is(err, errMalformed) {
		t.Errorf("%v", err)
	}
}

// BenchmarkVisitTable reads a chunk of rows of a hundred bytes.
func BenchmarkVisitTable(b *testing.B) {
	var run []byte
	r := Record{Table: 1, Key: make([]byte, 9), Value: make([]byte, 90)}
	for i := uint64(0); len(run) < targetChunkBytes; i++ {
		binary.BigEndian.PutUint64(r.Key, i)
		run = appendRecord(run, &r)
	}
	file, err := tableOf(run)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(run)))
	for b.Loop() {
		if err := visitTable(file, func(_ *Record, _ []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
