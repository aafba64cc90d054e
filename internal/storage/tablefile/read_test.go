package tablefile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/storage/tablefile"
)

// sealed gives the first block of a file, of a length, the checksum of what it holds: as somebody does who makes files that are to be believed.
func sealed(file []byte, length int) []byte {
	sum := crc32.Checksum(file[:length+1], crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(file[length+1:], (sum>>15|sum<<17)+0xa282ead8)
	return file
}

// firstBlock is the length of the only data block of a small file: its index begins behind it.
func firstBlock(t *testing.T, file []byte) int {
	t.Helper()
	for length := range len(file) - 5 {
		if bytes.Equal(sealed(slices.Clone(file), length), file) {
			return length
		}
	}
	t.Fatal("there is no block with a checksum")
	return 0
}

// TestTableFilesOfLongKeys: the index of a file with long keys has two levels.
func TestTableFilesOfLongKeys(t *testing.T) {
	t.Parallel()
	b := tablefile.NewBuilder()
	key := func(i int) []byte { return fmt.Appendf(bytes.Repeat([]byte("k"), 8<<10), "%06d", i) }
	value := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 50<<10) }
	const count = 60
	for i := range count {
		if err := b.Add(key(i), value(i)); err != nil {
			t.Fatal(err)
		}
	}
	file, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(file, []byte("rocksdb.block.based.table.index.type"))
	if at < 0 || file[at+len("rocksdb.block.based.table.index.type")] != 2 {
		t.Fatal("the index has one level")
	}
	n := 0
	err = tablefile.Read(file, func(k, v []byte) error {
		if !bytes.Equal(k, key(n)) || !bytes.Equal(v, value(n)) {
			t.Fatalf("entry %d is another one", n)
		}
		n++
		return nil
	})
	if err != nil || n != count {
		t.Errorf("%d entries, %v", n, err)
	}
}

// TestHostileTableFiles: files whose checksums are right and whose lengths lie are refused. The library's own reader ends the process over some of
// them, takes any amount of memory over others, and gives out what lies behind the block over the rest.
func TestHostileTableFiles(t *testing.T) {
	t.Parallel()
	whole := build(t, 200)
	length := firstBlock(t, whole)
	for name, damage := range map[string]func(file []byte){
		"an entry longer than the block":         func(file []byte) { copy(file, []byte{0, 0xff, 0x7f}) },
		"an entry that reaches out of memory":    func(file []byte) { copy(file, []byte{0, 0xff, 0xff, 0xff, 0xff, 0x07}) },
		"a value that wraps around":              func(file []byte) { copy(file, append([]byte{0, 10}, binary.AppendUvarint(nil, 1<<64-1)...)) },
		"a key that shares more than there is":   func(file []byte) { file[0] = 9 },
		"a length without an end":                func(file []byte) { copy(file, bytes.Repeat([]byte{0xff}, 20)) },
		"more restart points than the block has": func(file []byte) { copy(file[length-4:], []byte{0xff, 0xff, 0xff, 0x7f}) },
		"fewer restart points than there are":    func(file []byte) { copy(file[length-4:], []byte{0, 0, 0, 0}) },
		"zstd of 64 TiB": func(file []byte) {
			file[length] = 7
			copy(file, binary.AppendUvarint(nil, 1<<46))
		},
		"a deletion": func(file []byte) { file[3+len("key 000000")] = 0 },
	} {
		file := slices.Clone(whole)
		damage(file)
		if err := tablefile.Read(sealed(file, length), func(_, _ []byte) error { return nil }); !errors.Is(err, tablefile.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for at := range 40 { // the handles of the footer
		for _, value := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			file := slices.Clone(whole)
			from := len(file) - 52 + at
			if file[from] == value {
				continue
			}
			file[from] = value
			if err := tablefile.Read(file, func(_, _ []byte) error { return nil }); !errors.Is(err, tablefile.ErrMalformed) {
				t.Errorf("byte %d of the handles is %d: %v", at, value, err)
			}
		}
	}
}

// TestKeysOfASmallFile: entries of a few bytes may share a long key with the one before, so that keys of gigabytes come out of a file of megabytes. As many do
// as the writer writes, and no more.
func TestKeysOfASmallFile(t *testing.T) {
	t.Parallel()
	const prefix, blockEntries = 100, 60
	entry := func(shared, n, value int) []byte {
		key := fmt.Appendf(nil, "%0*d", prefix+4, n)[shared:]
		made := append([]byte{byte(shared), byte(len(key) + 8), byte(value + 1)}, key...) // with the trailer of a key, and the sign of a value in place
		made = append(made, 1, 0, 0, 0, 0, 0, 0, 0, 0)
		return append(made, make([]byte, value)...)
	}
	for sharing, wanted := range map[int]error{15: nil, 16: tablefile.ErrMalformed} {
		var block []byte
		for n := range blockEntries {
			shared := prefix
			if n%(sharing+1) == 0 {
				shared = 0
			}
			block = append(block, entry(shared, n, 0)...)
		}
		b := tablefile.NewBuilder()
		first := fmt.Appendf(nil, "%0*d", prefix+4, 0)
		if err := b.Add(first, make([]byte, len(block)-len(first)-3-8-1-1)); err != nil { // its length takes two bytes
			t.Fatal(err)
		}
		file, err := b.Finish()
		if err != nil {
			t.Fatal(err)
		}
		length := firstBlock(t, file)
		if length != len(block)+8 { // one restart point, and their number
			t.Fatalf("a block of %d bytes, want %d", length, len(block)+8)
		}
		copy(file, block)
		n := 0
		err = tablefile.Read(sealed(file, length), func(_, _ []byte) error { n++; return nil })
		if !errors.Is(err, wanted) || wanted == nil && n != blockEntries {
			t.Errorf("%d entries in a row share: %d of %d are read, %v", sharing, n, blockEntries, err)
		}
	}
}

// FuzzRead: any bytes are entries in their order or an error, also when their first block has the checksum that it should have.
func FuzzRead(f *testing.F) {
	b := tablefile.NewBuilder()
	for i := range 20 {
		if err := b.Add([]byte{byte(i), 'k'}, []byte("value")); err != nil {
			f.Fatal(err)
		}
	}
	file, err := b.Finish()
	if err != nil {
		f.Fatal(err)
	}
	for _, length := range []int{len(file), 300, 200, 50} {
		f.Add(file, length)
	}
	f.Fuzz(func(t *testing.T, file []byte, length int) {
		if length >= 0 && length < len(file)-5 {
			file = sealed(slices.Clone(file), length)
		}
		var last []byte
		n, total, keys := 0, 0, 0
		err := tablefile.Read(file, func(key, value []byte) error {
			if n++; n > 1 && bytes.Compare(key, last) <= 0 {
				t.Fatalf("%x does not follow %x", key, last)
			}
			last = append(last[:0], key...)
			total += len(value)
			keys += len(key)
			return nil
		})
		if err != nil && !errors.Is(err, tablefile.ErrMalformed) {
			t.Errorf("%v is no error of a malformed file", err)
		}
		if total > len(file) {
			t.Errorf("%d bytes of values came out of %d", total, len(file))
		}
		if keys > 16*len(file) {
			t.Errorf("%d bytes of keys came out of %d", keys, len(file))
		}
	})
}
