package cold

import (
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/segment"
	"github.com/kalamdb/kalamdb-go/internal/storages"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// gateFS holds reads of segments up while a gate is closed.
type gateFS struct {
	disk.FS

	gate  atomic.Pointer[chan struct{}] // nil while it is open
	stuck chan struct{}                 // one for each read that began to wait
}

type gatedFile struct {
	disk.File

	fs *gateFS
}

func (g *gateFS) Open(name string, options ...disk.OpenOption) (disk.File, error) {
	f, err := g.FS.Open(name, options...)
	if err != nil || !strings.HasSuffix(name, ".parquet") {
		return f, err
	}
	return gatedFile{f, g}, nil
}

func (f gatedFile) ReadAt(p []byte, offset int64) (int, error) {
	if gate := f.fs.gate.Load(); gate != nil {
		f.fs.stuck <- struct{}{}
		<-*gate
	}
	return f.File.ReadAt(p, offset)
}

func openGated(t *testing.T, g *gateFS) *Store {
	t.Helper()
	set := storages.NewSet(storages.Config{DataPath: t.TempDir(), FS: disk.Local()})
	t.Cleanup(set.Close)
	s := New(Config{Catalog: catalog.NewStore(), Storages: set, FS: g, ReadAhead: 1})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func rowsFrom(first, count int64) map[int64]numbered {
	rows := map[int64]numbered{}
	for id := first; id < first+count; id++ {
		rows[id] = numbered{uint64(id + 1), false, id}
	}
	return rows
}

// TestScanReadsAhead takes one block of a scan by columns, and finds that those behind it, in the next file too, were decoded meanwhile,
// as many as one may plan.
func TestScanReadsAhead(t *testing.T) {
	t.Parallel()
	s := openStore(t, t.TempDir(), 0)
	table := numberedTable()
	m := &commandv1.Manifest{Version: 1}
	for n := range int64(3) {
		m.Segments = append(m.Segments, writeNumbers(t, s, table, uint64(n), rowsFrom(n*20_000, 2*segment.BlockRows)))
	}
	cursor := (&View{store: s, table: table, manifest: m}).Cursor(nil, nil, []int{0, 1})
	columns := make([]datum.Column, 2)
	for taken, want := range []struct {
		blocks int  // decoded when so many were taken
		open   bool // the second file
	}{{2, true}, {4, true}} {
		if n, err := cursor.Columns(nil, columns, true); err != nil || n != segment.BlockRows {
			t.Fatal(n, err)
		}
		s.helping.Wait()
		s.mu.Lock()
		_, open := s.files[keyOf(m.GetSegments()[1])]
		s.mu.Unlock()
		s.cache.mu.Lock()
		blocks := map[columnKey]bool{}
		for key := range s.cache.entries {
			blocks[columnKey{key.file, key.block, 0}] = true
		}
		s.cache.mu.Unlock()
		if len(blocks) != want.blocks || open != want.open {
			t.Errorf("after %d blocks %d are decoded, want %d; the second file is open: %v", taken+1, len(blocks), want.blocks, open)
		}
	}
	if err := cursor.Close(); err != nil {
		t.Fatal(err)
	}
	nobodyReads(t, s)
}

func nobodyReads(t *testing.T, s *Store) {
	t.Helper()
	s.helping.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		if f.readers != 0 {
			t.Errorf("%s has %d readers left", f.key.path, f.readers)
		}
	}
}

// TestScanThatEndsWaitsForNothing closes a cursor while a block is being read ahead and the disk hangs. The goroutine that reads gives the file
// back when the disk goes on.
func TestScanThatEndsWaitsForNothing(t *testing.T) {
	t.Parallel()
	g := &gateFS{FS: disk.Local(), stuck: make(chan struct{}, 64)}
	s, table := openGated(t, g), numberedTable()
	m := &commandv1.Manifest{Version: 1, Segments: []*commandv1.Segment{writeNumbers(t, s, table, 0, rowsFrom(0, 5*segment.BlockRows))}}
	cursor := (&View{store: s, table: table, manifest: m}).Cursor(nil, nil, []int{0, 1})
	row := make([]datum.Datum, 4)
	for range 2 * segment.BlockRows { // no scan counts as long by then
		if ok, err := cursor.Next(nil); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if err := cursor.Fill(row); err != nil {
			t.Fatal(err)
		}
	}
	gate := make(chan struct{})
	g.gate.Store(&gate)
	if ok, err := cursor.Next(nil); !ok || err != nil { // the third block, of which nothing was read yet
		t.Fatal(ok, err)
	}
	<-g.stuck // the helper at the fourth
	if err := cursor.Close(); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	readers := s.files[keyOf(m.GetSegments()[0])].readers
	s.mu.Unlock()
	if readers != 1 {
		t.Errorf("the file has %d readers, want the helper alone", readers)
	}
	g.gate.Store(nil)
	close(gate)
	nobodyReads(t, s)
}

// TestDamageAhead finds a damaged page in a block that is read ahead. The file is fetched from another member, and the scan gives every row.
func TestDamageAhead(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	mine, theirs := openStore(t, dirs[0], 0), openStore(t, dirs[1], 0)
	table, r := testTable(), rand.New(rand.NewPCG(8, 9))
	rows := map[int64]version{}
	for id := range int64(6000) {
		text := make([]byte, 400)
		for i := range text {
			text[i] = byte(32 + r.IntN(90))
		}
		rows[id] = version{uint64(id + 1), false, string(text)}
	}
	wanted := writeSegment(t, mine, table, 0, rows)
	if other := writeSegment(t, theirs, table, 0, rows); string(other.GetSha256()) != string(wanted.GetSha256()) || wanted.GetSizeBytes() < 3*segment.ChunkBytes/2 {
		t.Fatalf("two files of the same rows are not alike, or too small: %d bytes", wanted.GetSizeBytes())
	}
	path := filepath.Join(dirs[0], "storage", filepath.FromSlash(wanted.GetPath()))
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for from := 0; from < len(raw); from += segment.ChunkBytes {
		sum := sha256.Sum256(raw[from:min(from+segment.ChunkBytes, len(raw))])
		wanted.ChunkSums = append(wanted.ChunkSums, sum[:]...)
	}
	raw[segment.ChunkBytes*4/5] ^= 4 // in a page, not in what opening reads
	if err = os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	fetched := 0
	mine.cfg.Peers = func() []Peer { fetched++; return []Peer{storePeer{theirs}} }
	cursor := (&View{store: mine, table: table, manifest: &commandv1.Manifest{Version: 1, Segments: []*commandv1.Segment{wanted}}}).Cursor(nil, nil, []int{0, 1})
	columns, found := make([]datum.Column, 2), 0
	for {
		n, err := cursor.Columns(nil, columns, true)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		for i := range n {
			if columns[1].At(i).Str() != rows[int64(found)].name {
				t.Fatalf("row %d is wrong", found)
			}
			found++
		}
	}
	if err := cursor.Close(); err != nil || found != len(rows) || fetched == 0 {
		t.Errorf("%d rows, %d fetches, %v", found, fetched, err)
	}
	nobodyReads(t, mine)
}

// TestCursorsCountWhatTheyHold has readers say how much they hold of random overlapping segments: never less than nothing, nothing at the end, more
// than one block of the segments that lie over each other; and a bound ends the reading.
func TestCursorsCountWhatTheyHold(t *testing.T) {
	t.Parallel()
	s := openStore(t, t.TempDir(), 1<<12)
	table := numberedTable()
	m := &commandv1.Manifest{Version: 1}
	for n := range int64(4) {
		rows := map[int64]numbered{}
		for i := range int64(segment.BlockRows) {
			rows[4*i+n] = numbered{uint64(4*i + n + 1), false, i}
		}
		m.Segments = append(m.Segments, writeNumbers(t, s, table, uint64(n), rows))
	}
	var now, most, limit int64 = 0, 0, 1 << 40
	full := errors.New("too much")
	view := (&View{store: s, table: table, manifest: m}).Counting(func(bytes int64) error {
		if now += bytes; now < 0 {
			t.Errorf("%d bytes are held", now)
		}
		if most = max(most, now); now > limit {
			return full
		}
		return nil
	})
	read := func() (rows int, err error) {
		cursor, row := view.Cursor(nil, nil, []int{0, 1}), make([]datum.Datum, 4)
		defer func() { err = errors.Join(err, cursor.Close()) }()
		for {
			ok, err := cursor.Next(nil)
			if !ok || err != nil {
				return rows, err
			}
			if err := cursor.Fill(row); err != nil {
				return rows, err
			}
			rows++
		}
	}
	const block = segment.BlockRows * 8 // of whole numbers
	if rows, err := read(); err != nil || rows != 4*segment.BlockRows || now != 0 || most < 8*block {
		t.Errorf("%d rows, %v; %d bytes are held at the end, %d were at most", rows, err, now, most)
	}
	limit = 3 * block
	if _, err := read(); !errors.Is(err, full) || now != 0 {
		t.Errorf("beyond the limit: %v; %d bytes are held", err, now)
	}
	limit = 1 << 40
	found, err := view.Find(encodedKey(9), []int{0, 1})
	if err != nil || now < block {
		t.Fatalf("a look-up holds %d bytes: %v", now, err)
	}
	if err := found.Close(); err != nil || now != 0 {
		t.Errorf("after a look-up %d bytes are held: %v", now, err)
	}
}
