package cold

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go"
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// opened lists the segments whose files a store opened, and the blocks of each of which it decoded something.
func opened(s *Store) map[string][]int {
	s.helping.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	found, paths := map[string][]int{}, map[uint64]string{}
	for _, f := range s.files {
		found[f.key.path], paths[f.id] = nil, f.key.path
	}
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	for key := range s.cache.entries {
		if path := paths[key.file]; !slices.Contains(found[path], key.block) {
			found[path] = append(found[path], key.block)
		}
	}
	for _, blocks := range found {
		slices.Sort(blocks)
	}
	return found
}

// TestWhatIsRuledOutIsNotRead looks for rows in three segments of four blocks: segments that the bounds of the manifest rule out are not opened, blocks
// that the page index rules out are not decoded, nor is a block whose filter says that a key is not in it.
func TestWhatIsRuledOutIsNotRead(t *testing.T) {
	t.Parallel()
	const rows = 4 * segment.BlockRows
	table, m := numberedTable(), &commandv1.Manifest{Version: 1}
	dir := t.TempDir()
	writer := openStore(t, dir, 0)
	for n := range int64(3) {
		numbers := map[int64]numbered{}
		for id := 2 * n * rows; id < 2*(n+1)*rows; id += 2 { // keys are even
			numbers[id] = numbered{uint64(id + 1), false, id / 2}
		}
		m.Segments = append(m.Segments, writeNumbers(t, writer, table, uint64(n), numbers))
	}
	all := []int{0, 1, 2, 3}
	paths := [3]string{m.GetSegments()[0].GetPath(), m.GetSegments()[1].GetPath(), m.GetSegments()[2].GetPath()}
	for name, c := range map[string]struct {
		low, high []byte
		unwanted  *Unwanted
		key       int64 // looked up when it is not zero
		rows      int
		want      map[string][]int
	}{
		"everything":               {rows: 3 * rows, want: map[string][]int{paths[0]: all, paths[1]: all, paths[2]: all}},
		"bounds of the key":        {low: encodedKey(2*rows + 10), high: encodedKey(2*rows + 20), rows: 5, want: map[string][]int{paths[1]: {0}}},
		"bounds of a column":       {unwanted: between(rows, 2*rows-1, new(int)), rows: rows, want: map[string][]int{paths[1]: all}},
		"page index":               {unwanted: between(rows+5000, rows+5001, new(int)), rows: segment.BlockRows, want: map[string][]int{paths[1]: {1}}},
		"a key":                    {key: 2*rows + 10, rows: 1, want: map[string][]int{paths[1]: {0}}},
		"filter":                   {key: 2*rows + 11, want: map[string][]int{paths[1]: nil}},
		"a key behind all":         {key: 6*rows + 1, want: map[string][]int{}},
		"a range without segments": {low: encodedKey(6 * rows), rows: 0, want: map[string][]int{}},
	} {
		s := openStore(t, dir, 0)
		s.cfg.OpenFiles = 8
		view := &View{store: s, table: table, manifest: m}
		count := 0
		if c.key != 0 {
			found, err := view.Find(encodedKey(c.key), []int{0, 1})
			if err != nil {
				t.Fatal(err)
			}
			if found != nil {
				count = 1
				if err = found.Close(); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			cursor, columns := view.Cursor(c.low, c.high, []int{0, 1}), make([]datum.Column, 4)
			cursor.Without(c.unwanted)
			for {
				n, err := cursor.Columns(nil, columns, true)
				if err != nil {
					t.Fatal(err)
				}
				if n == 0 {
					break
				}
				count += n
			}
			if err := cursor.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if got := opened(s); count != c.rows || !maps.EqualFunc(got, c.want, slices.Equal) {
			t.Errorf("%s: %d rows out of %v, want %d out of %v", name, count, got, c.rows, c.want)
		}
	}
}

// TestDamageOfWhatRulesOut flips bits in the filter, in the indexes of pages and in the footer of a file. Every one is noticed before it can rule out a row that is
// there: the file is fetched from another member.
func TestDamageOfWhatRulesOut(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	table, rows := numberedTable(), rowsFrom(0, 3*segment.BlockRows)
	theirs := openStore(t, dirs[1], 0)
	wanted := writeNumbers(t, theirs, table, 0, rows)
	writeNumbers(t, openStore(t, dirs[0], 0), table, 0, rows)
	path := filepath.Join(dirs[0], "storage", filepath.FromSlash(wanted.GetPath()))
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parquet.OpenFile(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	key := file.Metadata().RowGroups[0].Columns[0]
	number := file.Metadata().RowGroups[0].Columns[1]
	filter := key.MetaData.BloomFilterOffset
	if filter == 0 || number.ColumnIndexOffset == 0 || number.OffsetIndexOffset == 0 {
		t.Fatal("the file lacks a filter or an index")
	}
	view := func(s *Store) *View {
		return &View{store: s, table: table, manifest: &commandv1.Manifest{Version: 1, Segments: []*commandv1.Segment{wanted}}}
	}
	for name, at := range map[string]int64{
		"head of the filter": filter + 1, "filter": filter + 2000, "column index": number.ColumnIndexOffset + int64(number.ColumnIndexLength)/2,
		"offset index": number.OffsetIndexOffset + int64(number.OffsetIndexLength)/2, "footer": int64(len(raw)) - 100,
	} {
		for _, sums := range [][]byte{wanted.GetChunkSums(), nil} { // manifests of old have none
			bad := bytes.Clone(raw)
			bad[at] ^= 0x40
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			s, fetched := openStore(t, dirs[0], 0), 0
			s.cfg.Peers = func() []Peer { fetched++; return []Peer{storePeer{theirs}} }
			v := view(s)
			v.manifest.Segments[0] = &commandv1.Segment{
				StorageId: wanted.GetStorageId(), Path: wanted.GetPath(), SizeBytes: wanted.GetSizeBytes(), Sha256: wanted.GetSha256(), Rows: wanted.GetRows(),
				MinKey: wanted.GetMinKey(), MaxKey: wanted.GetMaxKey(), MinSeq: wanted.GetMinSeq(), MaxSeq: wanted.GetMaxSeq(),
				SchemaVersion: wanted.GetSchemaVersion(), ChunkSums: sums,
			}
			for id := int64(0); id < int64(len(rows)); id += 41 {
				found, err := v.Find(encodedKey(id), []int{0, 1})
				if err != nil || found == nil {
					t.Fatalf("%s: key %d is not found: %v", name, id, err)
				}
				if err := found.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if now, err := os.ReadFile(path); err != nil || fetched == 0 || !bytes.Equal(now, raw) {
				t.Errorf("%s: fetched %d times, and the file is right again: %v, %v", name, fetched, bytes.Equal(now, raw), err)
			}
		}
	}
}

// TestFilterThatIsDamagedAfterOpening reads keys of a file, wipes its filter on the disk and reads again: the filter would rule
// all keys out. None is missed, because filters are checked whenever they are asked, and the file is fetched from another member.
func TestFilterThatIsDamagedAfterOpening(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	table, rows := numberedTable(), rowsFrom(0, 3*segment.BlockRows)
	theirs := openStore(t, dirs[1], 0)
	wanted := writeNumbers(t, theirs, table, 0, rows)
	writeNumbers(t, openStore(t, dirs[0], 0), table, 0, rows)
	path := filepath.Join(dirs[0], "storage", filepath.FromSlash(wanted.GetPath()))
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parquet.OpenFile(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	key := file.Metadata().RowGroups[0].Columns[0].MetaData
	bad := bytes.Clone(raw)
	clear(bad[key.BloomFilterOffset+64 : key.BloomFilterOffset+int64(key.BloomFilterLength)]) // behind its head
	for name, sums := range map[string][]byte{"with sums of chunks": wanted.GetChunkSums(), "without": nil} {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		s, fetched := openStore(t, dirs[0], 0), 0
		s.cfg.Peers = func() []Peer { fetched++; return []Peer{storePeer{theirs}} }
		described := proto.CloneOf(wanted)
		described.ChunkSums = sums
		view := &View{store: s, table: table, manifest: &commandv1.Manifest{Version: 1, Segments: []*commandv1.Segment{described}}}
		find := func() {
			t.Helper()
			for id := int64(1); id < int64(len(rows)); id += 97 {
				found, err := view.Find(encodedKey(id), []int{0, 1})
				if err != nil || found == nil {
					t.Fatalf("%s: key %d is not found: %v", name, id, err)
				}
				if err := found.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
		find()
		if fetched != 0 {
			t.Fatalf("%s: a file without damage was fetched", name)
		}
		if err := writeInPlace(path, bad); err != nil {
			t.Fatal(err)
		}
		find()
		if now, err := os.ReadFile(path); err != nil || fetched == 0 || !bytes.Equal(now, raw) {
			t.Errorf("%s: fetched %d times, and the file is right again: %v, %v", name, fetched, bytes.Equal(now, raw), err)
		}
	}
}
