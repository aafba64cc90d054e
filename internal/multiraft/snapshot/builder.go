package snapshot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"

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
	ranges   []Range // what the receiver has of an earlier attempt and was not decided on yet
	number   uint64  // of the first of ranges
	fresh    bool    // the first of ranges begins here
	ended    bool
	failed   error  // the first error; it sticks
	waiting  []byte // encoded pairs; those before given are in a chunk already
	given    int
	raw      []byte // reused between chunks
}

// Encoders are kept for the next snapshot of who shares them. One has half a megabyte of tables, and a small group is sent in less time than
// it takes to make them. The zero value is ready.
type Encoders struct{ pool sync.Pool }

func (e *Encoders) take() (*zstd.Encoder, error) {
	if e != nil {
		if zip, ok := e.pool.Get().(*zstd.Encoder); ok {
			return zip, nil
		}
	}
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("snapshot: start compression: %w", err)
	}
	return zip, nil
}

// give takes an encoder back; nothing of a chunk stays in it.
func (e *Encoders) give(zip *zstd.Encoder) {
	if e != nil {
		e.pool.Put(zip)
	}
}

// NewBuilder starts reading lo <= key < hi from a consistent view.
func NewBuilder(view storage.Reader, lo, hi []byte, cfg Config) (*Builder, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	zip, err := cfg.Encoders.take()
	if err != nil {
		return nil, err
	}
	it, err := view.Scan(lo, hi)
	if err != nil {
		cfg.Encoders.give(zip)
		return nil, fmt.Errorf("snapshot: %w", err)
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
	if !b.started {
		b.started, b.fresh = true, true
		b.valid = b.it.First()
	}
	var pairs []byte
	for {
		var kept bool
		if kept, b.failed = b.keep(); b.failed != nil {
			return nil, b.failed
		}
		if kept {
			b.header(kindKeep)
			b.raw = binary.AppendUvarint(b.raw, b.number-1)
			return b.squeeze(), nil
		}
		if b.failed = b.read(); b.failed != nil {
			return nil, b.failed
		}
		pairs = b.waiting[b.given:min(len(b.waiting), b.given+b.cfg.ChunkBytes)]
		if len(pairs) > 0 || len(b.ranges) == 0 {
			break
		}
		b.nextRange() // all of the range was sent
	}
	if len(pairs) == 0 {
		b.ended = true
		b.header(kindTrailer)
		b.raw = trailer{pairs: b.pairs, digest: b.digest.Sum64(), lo: b.lo, hi: b.hi}.append(b.raw)
		return b.squeeze(), nil
	}
	if _, b.failed = b.digest.Write(pairs); b.failed != nil {
		return nil, b.failed
	}
	b.given += len(pairs)
	b.header(kindPairs)
	b.raw = append(b.raw, pairs...)
	return b.squeeze(), nil
}

// Pairs returns how many pairs were read so far, those included that the receiver has already.
func (b *Builder) Pairs() uint64 { return b.pairs }

// At returns the key up to which the span was read, its end when that is all of it. It is good until the next Next.
func (b *Builder) At() []byte {
	switch {
	case !b.started:
		return b.lo
	case !b.valid:
		return b.hi
	}
	return b.it.Key()
}

// squeeze compresses the chunk that was made into room of its own, which is found at once.
func (b *Builder) squeeze() []byte {
	return b.zip.EncodeAll(b.raw, make([]byte, 0, b.zip.MaxEncodedSize(len(b.raw))))
}

// header starts a chunk.
func (b *Builder) header(kind byte) {
	b.raw = binary.AppendUvarint(append(b.raw[:0], format, kind), b.sequence)
	b.sequence++
}

// read encodes pairs until there are enough for a chunk or the span ends.
func (b *Builder) read() error {
	if len(b.waiting)-b.given >= b.cfg.ChunkBytes {
		return nil // a large pair fills several chunks
	}
	b.waiting = b.waiting[:copy(b.waiting, b.waiting[b.given:])]
	b.given = 0
	for b.valid && len(b.waiting) < b.cfg.ChunkBytes && b.inRange() {
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

// Skip makes the builder name, instead of sending them, those ranges of an interrupted attempt that have the same
// pairs in this view. It must come before the first Next. Ranges that do not ascend within the span are not used.
func (b *Builder) Skip(ranges []Range) {
	b.ranges = slices.Clone(ranges)
	previous := b.lo
	for i, r := range b.ranges {
		if bytes.Compare(r.Last, previous) < 0 || i > 0 && bytes.Equal(r.Last, previous) || bytes.Compare(r.Last, b.hi) >= 0 {
			b.ranges = b.ranges[:i]
			return
		}
		previous = r.Last
	}
}

// inRange reports whether the iterator stands in the first of the ranges, or behind all.
func (b *Builder) inRange() bool {
	return len(b.ranges) == 0 || bytes.Compare(b.it.Key(), b.ranges[0].Last) <= 0
}

func (b *Builder) nextRange() {
	b.ranges = b.ranges[1:]
	b.number++
	b.fresh = true
}

// keep reads the range that begins here and reports whether the receiver has exactly its pairs. If it has
// not, the reading goes back to where the range begins.
func (b *Builder) keep() (bool, error) {
	if !b.fresh || len(b.ranges) == 0 || b.given < len(b.waiting) {
		return false, nil
	}
	b.fresh = false
	if !b.valid {
		return false, b.it.Err()
	}
	want := b.ranges[0]
	before, begin := *b.digest, bytes.Clone(b.it.Key())
	own := xxhash.New()
	pairs := uint64(0)
	for b.valid && pairs <= want.Pairs && b.inRange() {
		value, err := b.it.Value()
		if err != nil {
			return false, fmt.Errorf("snapshot: read: %w", err)
		}
		b.raw = appendBytes(appendBytes(b.raw[:0], b.it.Key()), value)
		if _, err := own.Write(b.raw); err != nil {
			return false, fmt.Errorf("snapshot: digest: %w", err)
		}
		if _, err := b.digest.Write(b.raw); err != nil {
			return false, fmt.Errorf("snapshot: digest: %w", err)
		}
		pairs++
		b.valid = b.it.Next()
	}
	if err := b.it.Err(); err != nil {
		return false, fmt.Errorf("snapshot: read: %w", err)
	}
	if pairs == want.Pairs && own.Sum64() == want.Digest {
		b.pairs += pairs
		b.nextRange()
		return true, nil
	}
	*b.digest = before
	b.valid = b.it.SeekGE(begin)
	return false, b.it.Err()
}

// Close ends the reading.
func (b *Builder) Close() error {
	if b.zip != nil {
		b.cfg.Encoders.give(b.zip)
		b.zip = nil
	}
	return b.it.Close()
}
