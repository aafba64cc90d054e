package segment

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
)

// Summary is what there is to know about a finished file.
type Summary struct {
	SizeBytes      int64
	SHA256         [sha256.Size]byte
	Rows           int64 // deletions included
	Deletions      int64
	MinKey, MaxKey []byte // encoded primary keys of the first and the last row
	MinSeq, MaxSeq uint64
	FirstDeletion  uint64        // lowest _seq of a deletion; zero without one
	Columns        []ColumnStats // of the declared columns, in their order
	ChunkSums      []byte        // SHA-256 of each ChunkBytes of the file in turn
}

// ColumnStats says which values a column holds. Min and Max are NULL when all values are.
type ColumnStats struct {
	ID       uint32
	Min, Max datum.Datum
	Nulls    int64
}

// Writer makes one file. It belongs to one goroutine; a failed one is thrown away, and so is what it wrote.
type Writer struct {
	about   *description
	table   *schema.Table
	leaves  []parquet.Node // of all columns
	types   []datum.Type
	writer  *parquet.GenericWriter[any] // nil before the first block ends
	columns []*parquet.ColumnWriter
	out     *hashing
	pending [][]parquet.Value // of the block at hand, one list for each column
	rows    int               // of the block at hand
	bytes   int               // of the block at hand
	blocks  []block
	summary Summary
	lastKey []byte
	owner   string
	pause   func() error
}

// hashing passes on what is written, and counts and hashes it as a whole and by chunks.
type hashing struct {
	to     io.Writer
	size   int64
	sum    hash.Hash
	chunk  hash.Hash
	chunks []byte // sums of the chunks that are full
}

func (h *hashing) Write(p []byte) (int, error) {
	n, err := h.to.Write(p)
	_, _ = h.sum.Write(p[:n]) // a hash cannot fail
	for rest := p[:n]; len(rest) > 0; {
		part := rest[:min(int64(len(rest)), ChunkBytes-h.size%ChunkBytes)]
		_, _ = h.chunk.Write(part) // a hash cannot fail
		if h.size += int64(len(part)); h.size%ChunkBytes == 0 {
			h.endChunk()
		}
		rest = rest[len(part):]
	}
	return n, err
}

func (h *hashing) endChunk() {
	h.chunks = h.chunk.Sum(h.chunks)
	h.chunk.Reset()
}

// NewWriter begins a file for rows of a table. A table with a column that has no form in Parquet is an error.
func NewWriter(to io.Writer, t *schema.Table) (*Writer, error) {
	about, err := describe(t)
	if err != nil {
		return nil, err
	}
	leaves, err := about.leaves(t)
	if err != nil {
		return nil, err
	}
	if t.Columns[about.key()].Type.Kind == datum.Embedding {
		return nil, fmt.Errorf("segment of %s: an embedding cannot be the primary key of cold rows", t.FullName())
	}
	w := &Writer{
		about: about, table: t, leaves: leaves, out: &hashing{to: to, sum: sha256.New(), chunk: sha256.New()}, pending: make([][]parquet.Value, len(t.Columns)+2),
	}
	for i := range about.Columns {
		w.types = append(w.types, about.Columns[i].datumType())
		w.summary.Columns = append(w.summary.Columns, ColumnStats{ID: about.Columns[i].ID})
	}
	return w, nil
}

// begin makes the file's schema, by the rows of its first block.
func (w *Writer) begin() error {
	layout, err := w.about.parquetSchema(w.table, w.leaves, w.pending)
	if err != nil {
		return err
	}
	options := []parquet.WriterOption{layout, parquet.CreatedBy("kalamdb", "1", "go"), parquet.DataPageStatistics(false)}
	if key := &w.table.Columns[w.about.key()]; key.Type.Kind != datum.Boolean {
		options = append(options, parquet.BloomFilters(parquet.SplitBlockFilter(bloomBits, key.Name)))
	}
	w.writer = parquet.NewGenericWriter[any](w.out, options...)
	w.columns = w.writer.ColumnWriters()
	return nil
}

// Add appends a row: its encoded primary key, its _seq, whether it is a deletion, and the declared columns. Keys ascend.
// What is given is not kept.
func (w *Writer) Add(key []byte, seq uint64, deleted bool, row []datum.Datum) error {
	if w.summary.Rows > 0 && bytes.Compare(key, w.lastKey) <= 0 {
		return fmt.Errorf("segment: key %x follows %x", key, w.lastKey)
	}
	if w.rows == 0 {
		w.blocks = append(w.blocks, block{Key: bytes.Clone(key), Row: w.summary.Rows})
	}
	for i := range w.types {
		depth := 1
		if w.about.Columns[i].Key {
			depth = 0
		}
		before := len(w.pending[i])
		values, err := appendValue(w.pending[i], row[i], w.types[i], i, depth)
		if err != nil {
			return fmt.Errorf("segment: column %d: %w", w.about.Columns[i].ID, err)
		}
		w.pending[i] = values
		w.bytes += 8 * (len(values) - before)
		if row[i].Kind().IsString() || row[i].Kind() == datum.Bytes {
			w.bytes += len(row[i].Str())
		}
		w.summary.Columns[i].note(row[i])
	}
	n := len(w.types)
	w.pending[n] = append(w.pending[n], parquet.Int64Value(int64(seq)).Level(0, 0, n)) //nolint:gosec // a log index takes 47 bits for ages to come
	w.pending[n+1] = append(w.pending[n+1], parquet.BooleanValue(deleted).Level(0, 0, n+1))
	w.note(key, seq, deleted)
	if w.rows++; w.rows == BlockRows || w.bytes >= blockBytes {
		return w.endBlock()
	}
	return nil
}

func (w *Writer) note(key []byte, seq uint64, deleted bool) {
	s := &w.summary
	if s.Rows == 0 {
		s.MinKey, s.MinSeq = bytes.Clone(key), seq
	}
	s.MinSeq, s.MaxSeq = min(s.MinSeq, seq), max(s.MaxSeq, seq)
	s.Rows++
	if deleted {
		if s.Deletions++; s.Deletions == 1 || seq < s.FirstDeletion {
			s.FirstDeletion = seq
		}
	}
	w.lastKey = append(w.lastKey[:0], key...)
}

func (s *ColumnStats) note(d datum.Datum) {
	if d.IsNull() {
		s.Nulls++
		return
	}
	if s.Min.IsNull() || datum.Compare(d, s.Min) < 0 {
		s.Min = d
	}
	if s.Max.IsNull() || datum.Compare(d, s.Max) > 0 {
		s.Max = d
	}
}

// endBlock makes one page of every column. The last block of a group ends it.
func (w *Writer) endBlock() error {
	if w.rows == 0 {
		return nil
	}
	if w.writer == nil {
		if err := w.begin(); err != nil {
			return err
		}
	}
	for i, column := range w.columns {
		if _, err := column.WriteRowValues(w.pending[i]); err != nil {
			return fmt.Errorf("segment: write column %d: %w", i, err)
		}
		clear(w.pending[i])
		w.pending[i] = w.pending[i][:0]
		if err := w.giveWay(); err != nil {
			return err
		}
		if err := column.Flush(); err != nil {
			return fmt.Errorf("segment: write column %d: %w", i, err)
		}
		if err := w.giveWay(); err != nil {
			return err
		}
	}
	w.rows, w.bytes = 0, 0
	if len(w.blocks)%groupBlocks != 0 {
		return nil
	}
	if err := w.writer.Flush(); err != nil {
		return fmt.Errorf("segment: write row group: %w", err)
	}
	return nil
}

func (w *Writer) giveWay() error {
	if w.pause == nil {
		return nil
	}
	return w.pause()
}

// SetOwner says whose file it is: a bucket may have files of many clusters.
func (w *Writer) SetOwner(cluster string) { w.owner = cluster }

// SetPause has a function called after each page that was filled, and after each that was compressed, so that the caller can give way to others. Its error ends the file.
func (w *Writer) SetPause(pause func() error) { w.pause = pause }

// Size is about how many bytes were written so far.
func (w *Writer) Size() int64 { return w.out.size }

// Rows is how many rows were added.
func (w *Writer) Rows() int64 { return w.summary.Rows }

// Close finishes the file. A file without rows is an error.
func (w *Writer) Close() (*Summary, error) {
	if w.summary.Rows == 0 {
		return nil, errors.New("segment: no rows")
	}
	if err := w.endBlock(); err != nil {
		return nil, err
	}
	about, starts, err := encodeMetadata(w.about, w.blocks)
	if err != nil {
		return nil, err
	}
	w.writer.SetKeyValueMetadata(descriptionKey, about)
	w.writer.SetKeyValueMetadata(blocksKey, starts)
	if w.owner != "" {
		w.writer.SetKeyValueMetadata(ownerKey, w.owner)
	}
	if err := w.writer.Close(); err != nil {
		return nil, fmt.Errorf("segment: finish: %w", err)
	}
	w.summary.MaxKey = bytes.Clone(w.lastKey)
	w.summary.SizeBytes = w.out.size
	w.out.sum.Sum(w.summary.SHA256[:0])
	if w.out.size%ChunkBytes > 0 {
		w.out.endChunk()
	}
	w.summary.ChunkSums = w.out.chunks
	return &w.summary, nil
}
