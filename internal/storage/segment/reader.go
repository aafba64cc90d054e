package segment

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync/atomic"

	"github.com/parquet-go/parquet-go"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// Reader is an open file. Its methods may be called from any goroutine; it needs no closing, the bytes belong to whoever
// opened it.
type Reader struct {
	file   *parquet.File
	from   *noting
	owner  string
	about  description
	types  []datum.Type
	blocks []block
	groups []group
	rows   int64
}

// group is one row group.
type group struct {
	chunks     []parquet.ColumnChunk
	firstBlock int
	firstRow   int64
	filter     parquet.BloomFilter // of the primary key; nil when there is none
}

// The places of the system columns, for ReadColumn.
const (
	SeqColumn     = -1
	DeletedColumn = -2
)

// Open reads what a file says about itself. Wrong bytes are ErrDamaged.
func Open(from io.ReaderAt, size int64) (r *Reader, err error) {
	defer catch(&err)
	noted := &noting{from: from}
	file, err := parquet.OpenFile(noted, size, parquet.ReadBufferSize(64<<10))
	r = &Reader{file: file, from: noted}
	if err != nil {
		return nil, r.failed(fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	r.rows = file.NumRows()
	r.owner, _ = file.Lookup(ownerKey)
	for key, to := range map[string]any{descriptionKey: &r.about, blocksKey: &r.blocks} {
		text, ok := file.Lookup(key)
		if !ok {
			return nil, fmt.Errorf("%w: no %s", ErrDamaged, key)
		}
		if err := json.Unmarshal([]byte(text), to); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, key, err)
		}
	}
	if r.about.Format != format {
		return nil, fmt.Errorf("segment of format %d, which this version does not know", r.about.Format)
	}
	if r.about.key() < 0 {
		return nil, fmt.Errorf("%w: no primary key", ErrDamaged)
	}
	for i := range r.about.Columns {
		r.types = append(r.types, r.about.Columns[i].datumType())
	}
	return r, r.findGroups()
}

// findGroups matches blocks with the pages of each row group.
func (r *Reader) findGroups() error {
	next, row := 0, int64(0)
	for _, found := range r.file.RowGroups() {
		g := group{chunks: found.ColumnChunks(), firstBlock: next, firstRow: row}
		if len(g.chunks) != len(r.types)+2 {
			return fmt.Errorf("%w: %d columns, want %d", ErrDamaged, len(g.chunks), len(r.types)+2)
		}
		g.filter = g.chunks[r.about.key()].BloomFilter()
		end := row + found.NumRows()
		for next < len(r.blocks) && r.blocks[next].Row >= row && r.blocks[next].Row < end {
			next++
		}
		if found.NumRows() <= 0 || next == g.firstBlock || r.blocks[g.firstBlock].Row != row {
			return fmt.Errorf("%w: a row group begins within a block", ErrDamaged)
		}
		row = end
		r.groups = append(r.groups, g)
	}
	if row != r.rows || next != len(r.blocks) || next == 0 {
		return fmt.Errorf("%w: %d rows in %d blocks", ErrDamaged, row, next)
	}
	for i := 1; i < len(r.blocks); i++ {
		if r.blocks[i].Row <= r.blocks[i-1].Row || bytes.Compare(r.blocks[i].Key, r.blocks[i-1].Key) <= 0 {
			return fmt.Errorf("%w: blocks do not ascend", ErrDamaged)
		}
	}
	return nil
}

// Owner is the cluster that wrote the file; empty when that is not known.
func (r *Reader) Owner() string { return r.owner }

// Rows is the number of rows.
func (r *Reader) Rows() int64 { return r.rows }

// Version is the version of the schema that the rows are of.
func (r *Reader) Version() uint32 { return r.about.Version }

// Table is the id of the table that the rows are of.
func (r *Reader) Table() uint64 { return r.about.Table }

// Column finds the place of a column by its id; ok is false when the table was without it.
func (r *Reader) Column(id uint32) (place int, t datum.Type, ok bool) {
	place = r.about.position(id)
	if place < 0 {
		return 0, datum.Type{}, false
	}
	return place, r.types[place], true
}

// KeyColumn is the place of the primary key.
func (r *Reader) KeyColumn() int { return r.about.key() }

// Blocks is the number of blocks.
func (r *Reader) Blocks() int { return len(r.blocks) }

// BlockRows is the number of rows in a block.
func (r *Reader) BlockRows(n int) int {
	end := r.rows
	if n+1 < len(r.blocks) {
		end = r.blocks[n+1].Row
	}
	return int(end - r.blocks[n].Row)
}

// FirstKey is the encoded primary key of the first row in a block. It must not be changed.
func (r *Reader) FirstKey(n int) []byte { return r.blocks[n].Key }

// BlockOf finds the only block that can hold an encoded key; -1 when the key comes before all rows.
func (r *Reader) BlockOf(key []byte) int {
	return sort.Search(len(r.blocks), func(i int) bool { return bytes.Compare(r.blocks[i].Key, key) > 0 }) - 1
}

// MayHold reports whether a primary key can be in a block: false is certain, true a guess.
func (r *Reader) MayHold(n int, key datum.Datum) (may bool, err error) {
	defer catch(&err)
	place := r.about.key()
	filter := r.group(n).filter
	if filter == nil || key.Kind() != r.types[place].Kind {
		return true, nil
	}
	values, err := appendValue(nil, key, r.types[place], place, 0)
	if err != nil {
		return true, nil // a key that has no form in the file is not ruled out here
	}
	may, err = filter.Check(values[0])
	if err != nil {
		return false, r.failed(fmt.Errorf("%w: filter: %w", ErrDamaged, err))
	}
	return may, nil
}

// Bounds gives the lowest and the highest value of a column in a block, from the file's page index; ok is false when they are
// not known. Only numbers without a fraction, dates and times have bounds there that are exact.
func (r *Reader) Bounds(n int, id uint32) (low, high datum.Datum, ok bool) {
	place, t, found := r.Column(id)
	if !found {
		return low, high, false
	}
	var of func(parquet.Value) datum.Datum
	switch t.Kind { //nolint:exhaustive // the others have no exact bounds
	case datum.SmallInt, datum.Int, datum.Date:
		of = func(v parquet.Value) datum.Datum { return datum.NewInt(t.Kind, int64(v.Int32())) }
	case datum.BigInt, datum.Timestamp, datum.DateTime, datum.Time:
		of = func(v parquet.Value) datum.Datum { return datum.NewInt(t.Kind, v.Int64()) }
	default:
		return low, high, false
	}
	g := r.group(n)
	index, err := g.chunks[place].ColumnIndex()
	page := n - g.firstBlock
	if err != nil || index == nil || page >= index.NumPages() || index.NullPage(page) {
		return low, high, false
	}
	return of(index.MinValue(page)), of(index.MaxValue(page)), true
}

// group finds the row group of a block.
func (r *Reader) group(n int) *group {
	i := sort.Search(len(r.groups), func(i int) bool { return r.groups[i].firstBlock > n })
	return &r.groups[i-1]
}

// ReadColumn decodes the values of a column in a block. Place is one that Column gives, SeqColumn (BigInt) or DeletedColumn
// (Boolean).
func (r *Reader) ReadColumn(n, place int) (values datum.Column, err error) {
	defer catch(&err)
	t := datum.Of(datum.BigInt)
	switch place {
	case SeqColumn:
		place = len(r.types)
	case DeletedColumn:
		place, t = len(r.types)+1, datum.Of(datum.Boolean)
	default:
		t = r.types[place]
	}
	g := r.group(n)
	pages := g.chunks[place].Pages()
	defer func() {
		if failure := pages.Close(); err == nil && failure != nil {
			err = failure
		}
	}()
	if err = pages.SeekToRow(r.blocks[n].Row - g.firstRow); err != nil {
		return datum.Column{}, r.failed(fmt.Errorf("%w: block %d: %w", ErrDamaged, n, err))
	}
	page, err := pages.ReadPage()
	if err != nil {
		return datum.Column{}, r.readFailure(n, place, err)
	}
	defer parquet.Release(page)
	if page.NumRows() != int64(r.BlockRows(n)) {
		return datum.Column{}, fmt.Errorf("%w: block %d has %d rows in column %d, want %d", ErrDamaged, n, page.NumRows(), place, r.BlockRows(n))
	}
	if values, err = decodePage(page, t); err != nil {
		return datum.Column{}, r.readFailure(n, place, err)
	}
	return values, nil
}

// noting passes reads on and notes why one failed: the library may lose that on the way.
type noting struct {
	from    io.ReaderAt
	failure atomic.Pointer[error]
}

// ReadAt implements io.ReaderAt.
func (n *noting) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, fmt.Errorf("%w: a read at %d", ErrDamaged, offset) // a length in it is wrong
	}
	read, err := n.from.ReadAt(p, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		n.failure.Store(&err)
	}
	return read, err
}

// failed prefers the reason why bytes did not come to what the library made of it.
func (r *Reader) failed(err error) error {
	if failure := r.from.failure.Swap(nil); failure != nil {
		return *failure
	}
	return err
}

// readFailure tells wrong bytes from a file that could not be read. Whatever else the library and its decompressors say is about
// the bytes, in words of many kinds.
func (r *Reader) readFailure(block, place int, err error) error {
	if failure := r.from.failure.Swap(nil); failure != nil && !errors.Is(*failure, ErrDamaged) {
		return fmt.Errorf("read block %d, column %d: %w", block, place, *failure)
	}
	return fmt.Errorf("%w: block %d, column %d: %w", ErrDamaged, block, place, err)
}

// catch turns a panic of the library, which wrong bytes can cause, into an error.
func catch(err *error) {
	if cause := recover(); cause != nil {
		*err = fmt.Errorf("%w: %v", ErrDamaged, cause)
	}
}
