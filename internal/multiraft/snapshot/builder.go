package snapshot

import (
	"bytes"
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
	cfg      Config
	it       *storage.Iterator
	zip      *zstd.Encoder
	lo, hi   []byte
	digest   *xxhash.Digest
	pairs    uint64
	sequence uint64
	started  bool
	valid    bool
	ended    bool
	failed   error  // the first error; it sticks
	waiting  []byte // encoded pairs; those before given are in a chunk already
	given    int
	raw      []byte // reused between chunks
}

// NewBuilder starts reading lo <= key < hi from a consistent view.
func NewBuilder(view storage.Reader, lo, hi []byte, cfg Config) (*Builder, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("snapshot: start compression: %w", err)
	}
	it, err := view.Scan(lo, hi)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("snapshot: %w", err), zip.Close())
	}
	return &Builder{cfg: cfg, it: it, zip: zip, lo: bytes.Clone(lo), hi: bytes.Clone(hi), digest: xxhash.New()}, nil
}

// Next returns the next chunk, owned by the caller, and io.EOF after the trailer. After an error it returns
// that error again: a snapshot never goes on behind a hole.
func (b *Builder) Next() ([]byte, error) {
	if b.failed != nil {
		return nil, b.failed
	}
	if b.ended {
		return nil, io.EOF
	}
	if b.failed = b.read(); b.failed != nil {
		return nil, b.failed
	}
	pairs := b.waiting[b.given:min(len(b.waiting), b.given+b.cfg.ChunkBytes)]
	if len(pairs) == 0 {
		b.ended = true
		b.header(kindTrailer)
		b.raw = trailer{pairs: b.pairs, digest: b.digest.Sum64(), lo: b.lo, hi: b.hi}.append(b.raw)
		return b.zip.EncodeAll(b.raw, nil), nil
	}
	if _, b.failed = b.digest.Write(pairs); b.failed != nil {
		return nil, b.failed
	}
	b.given += len(pairs)
	b.header(kindPairs)
	b.raw = append(b.raw, pairs...)
	return b.zip.EncodeAll(b.raw, nil), nil
}

// header starts a chunk.
func (b *Builder) header(kind byte) {
	b.raw = binary.AppendUvarint(append(b.raw[:0], format, kind), b.sequence)
	b.sequence++
}

// read encodes pairs until there are enough for a chunk or the span ends.
func (b *Builder) read() error {
	if !b.started {
		b.started = true
		b.valid = b.it.First()
	}
	if len(b.waiting)-b.given >= b.cfg.ChunkBytes {
		return nil // a large pair fills several chunks
	}
	b.waiting = b.waiting[:copy(b.waiting, b.waiting[b.given:])]
	b.given = 0
	for b.valid && len(b.waiting) < b.cfg.ChunkBytes {
		key := b.it.Key()
		value, err := b.it.Value()
		if err != nil {
			return fmt.Errorf("snapshot: read: %w", err)
		}
		if len(key) > maxPairBytes || len(value) > maxPairBytes {
			return fmt.Errorf("snapshot: pair with a key of %d and a value of %d bytes, limit %d", len(key), len(value), maxPairBytes)
		}
		b.waiting = appendBytes(appendBytes(b.waiting, key), value)
		b.pairs++
		b.valid = b.it.Next()
	}
	if err := b.it.Err(); err != nil {
		return fmt.Errorf("snapshot: read: %w", err)
	}
	return nil
}

// Close ends the reading.
func (b *Builder) Close() error { return errors.Join(b.it.Close(), b.zip.Close()) }
