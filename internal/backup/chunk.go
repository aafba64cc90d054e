package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/kalamdb/kalamdb-go/internal/storage/objstore"
)

// Sizes of the content of a chunk. Where it ends is drawn by the keys of its records, so that a row more or less moves
// the borders nearby and no others. A chunk has at least an eighth of the target, and four times as much at most.
const (
	targetChunkBytes = 2 << 20
	maxChunkBytes    = 4 * targetChunkBytes
	// maxStoredBytes bounds a chunk that is read, and what its records take when they are encoded: a full one of the smallest records, which
	// take twice as much in a table file as behind one another, with one of the largest size at the end, and what does not compress.
	maxStoredBytes = 3*maxChunkBytes + 16<<20
)

// A chunk begins with chunkMagic and the form of its content; the length of its content follows as an uvarint, then the content in zstd.
var chunkMagic = []byte("KDBCHNK")

// The forms of the content of a chunk.
const (
	runForm   = 1 // encoded records behind one another; no longer written
	tableForm = 2 // a sorted table file
)

const chunkPrefix = "chunks/"

// Chunk names a run of records in a manifest.
type Chunk struct {
	SHA256      string `json:"sha256"` // of the content
	Bytes       int64  `json:"bytes"`
	StoredBytes int64  `json:"stored_bytes"`
	Records     int64  `json:"records"`
	Range
}

// chunkKey is where a chunk lies.
func chunkKey(sum string) string { return chunkPrefix + sum[:2] + "/" + sum }

// cutter collects records into the content of chunks.
type cutter struct {
	target  int
	content []byte
	records int64
	counted func(r *Record, encoded []byte)           // is told of each record before its chunk ends; nil is not
	full    func(content []byte, records int64) error // takes over the content
}

func (c *cutter) add(r *Record) error {
	before := len(c.content)
	if c.content == nil {
		c.content = make([]byte, 0, c.target+c.target/2)
	}
	c.content = appendRecord(c.content, r)
	c.records++
	encoded := c.content[before:]
	if c.counted != nil {
		c.counted(r, encoded)
	}
	if c.ends(r, len(encoded)) {
		return c.flush()
	}
	return nil
}

// ends draws whether a chunk ends behind a record: with a probability that gives the target size, whatever the size of the records is.
func (c *cutter) ends(r *Record, size int) bool {
	if len(c.content) < c.target/8 {
		return false
	}
	draw := xxhash.Sum64(r.Key) ^ xxhash.Sum64String(string(r.User))
	return len(c.content) >= 4*c.target || draw%uint64(c.target) < uint64(size) //nolint:gosec // lengths
}

func (c *cutter) flush() error {
	if c.records == 0 {
		return nil
	}
	content, records := c.content, c.records
	c.content, c.records = nil, 0
	return c.full(content, records)
}

// encodeChunk makes the object of a chunk.
func encodeChunk(encoder *zstd.Encoder, content []byte) []byte {
	stored := append(append(make([]byte, 0, len(content)/2), chunkMagic...), tableForm)
	stored = binary.AppendUvarint(stored, uint64(len(content)))
	return encoder.EncodeAll(content, stored)
}

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// reader reads chunks and manifests of one place.
type reader struct {
	store   objstore.Store
	decoder *zstd.Decoder
	patient // asks once unless it has a clock
}

func newReader(store objstore.Store) (*reader, error) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxStoredBytes), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("read chunks: %w", err)
	}
	return &reader{store: store, decoder: decoder}, nil
}

func (r *reader) close() { r.decoder.Close() }

// chunk returns the content of a chunk and its form after checking that it is what its name says.
func (r *reader) chunk(ctx context.Context, c *Chunk) (content []byte, form byte, err error) {
	if c == nil {
		return nil, 0, fmt.Errorf("%w: a chunk without a name", errMalformed)
	}
	if len(c.SHA256) != 2*sha256.Size || c.Bytes < 0 || c.Bytes > maxStoredBytes {
		return nil, 0, fmt.Errorf("%w: chunk %q of %d bytes is named wrongly", errMalformed, c.SHA256, c.Bytes)
	}
	stored, err := r.object(ctx, chunkKey(c.SHA256), maxStoredBytes)
	if err != nil {
		return nil, 0, err
	}
	rest, ok := bytes.CutPrefix(stored, chunkMagic)
	if !ok || len(rest) == 0 || rest[0] != runForm && rest[0] != tableForm {
		return nil, 0, fmt.Errorf("%w: chunk %s begins wrongly", errMalformed, c.SHA256)
	}
	form, rest = rest[0], rest[1:]
	size, n := binary.Uvarint(rest)
	if n <= 0 || size != uint64(c.Bytes) {
		return nil, 0, fmt.Errorf("%w: chunk %s begins wrongly", errMalformed, c.SHA256)
	}
	content, err = r.decoder.DecodeAll(rest[n:], make([]byte, 0, size))
	if err != nil {
		return nil, 0, fmt.Errorf("%w: chunk %s: %w", errMalformed, c.SHA256, err)
	}
	if got := sumOf(content); got != c.SHA256 {
		return nil, 0, fmt.Errorf("%w: chunk %s holds the content of %s", errMalformed, c.SHA256, got)
	}
	return content, form, nil
}

// object reads a whole object of at most limit bytes.
func (r *reader) object(ctx context.Context, key string, limit int64) (data []byte, err error) {
	err = r.try(ctx, func(bool) error {
		data, err = r.readObject(ctx, key, limit)
		return err
	})
	return data, err
}

func (r *reader) readObject(ctx context.Context, key string, limit int64) ([]byte, error) {
	body, err := r.store.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", errMalformed, key, limit)
	}
	return data, nil
}

// records visits the records of a chunk; visit must not keep them.
func (r *reader) records(ctx context.Context, c *Chunk, visit func(record *Record, encoded []byte) error) error {
	content, form, err := r.chunk(ctx, c)
	if err != nil {
		return err
	}
	forEach := visitRun
	if form == tableForm {
		forEach = visitTable
	}
	count := int64(0)
	failed := false
	err = forEach(content, func(record *Record, encoded []byte) error {
		count++
		bad := visit(record, encoded)
		failed = bad != nil
		return bad
	})
	switch {
	case failed:
		return err
	case err != nil:
		return fmt.Errorf("chunk %s, record %d: %w", c.SHA256, count, err)
	}
	if count != c.Records {
		return fmt.Errorf("%w: chunk %s has %d records, the manifest says %d", errMalformed, c.SHA256, count, c.Records)
	}
	return nil
}
