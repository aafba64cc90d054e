package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// Builder reads one key span and hands it out in chunks. It belongs to one goroutine and must be closed
// before the view it reads.
type Builder struct {
	cfg     Config
	it      *storage.Iterator
	zip     *zstd.Encoder
	digest  *xxhash.Digest
	pairs   uint64
	started bool
	valid   bool
	ended   bool
	raw     []byte // reused between chunks
}

// NewBuilder starts reading lo <= key < hi from a consistent view.
func NewBuilder(view storage.Reader, lo, hi []byte, cfg Config) (*Builder, error) {
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("snapshot: start compression: %w", err)
	}
	it, err := view.Scan(lo, hi)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return &Builder{cfg: cfg.withDefaults(), it: it, zip: zip, digest: xxhash.New()}, nil
}

// Next returns the next chunk, owned by the caller, and io.EOF after the trailer.
func (b *Builder) Next() ([]byte, error) {
	if b.ended {
		return nil, io.EOF
	}
	if !b.started {
		b.started = true
		b.valid = b.it.First()
	}
	b.raw = append(b.raw[:0], format, kindPairs)
	for b.valid && len(b.raw) < b.cfg.ChunkBytes {
		if err := b.addPair(); err != nil {
			return nil, err
		}
		b.valid = b.it.Next()
	}
	if err := b.it.Err(); err != nil {
		return nil, fmt.Errorf("snapshot: read: %w", err)
	}
	if len(b.raw) == 2 {
		b.ended = true
		b.raw = append(b.raw[:0], format, kindTrailer)
		b.raw = binary.AppendUvarint(b.raw, b.pairs)
		b.raw = binary.BigEndian.AppendUint64(b.raw, b.digest.Sum64())
	}
	return b.zip.EncodeAll(b.raw, nil), nil
}

func (b *Builder) addPair() error {
	value, err := b.it.Value()
	if err != nil {
		return fmt.Errorf("snapshot: read: %w", err)
	}
	start := len(b.raw)
	key := b.it.Key()
	b.raw = binary.AppendUvarint(b.raw, uint64(len(key)))
	b.raw = append(b.raw, key...)
	b.raw = binary.AppendUvarint(b.raw, uint64(len(value)))
	b.raw = append(b.raw, value...)
	b.pairs++
	if _, err := b.digest.Write(b.raw[start:]); err != nil {
		return fmt.Errorf("snapshot: digest: %w", err)
	}
	return nil
}

// Close ends the reading.
func (b *Builder) Close() error { return errors.Join(b.it.Close(), b.zip.Close()) }
