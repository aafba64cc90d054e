package snapshot

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// Receiver takes the chunks of one snapshot and writes table files. It belongs to one goroutine; it ends
// with Finish or Discard.
type Receiver struct {
	cfg      Config
	engine   *storage.Engine
	dir      string
	lo, hi   []byte
	unzip    *zstd.Decoder
	digest   *xxhash.Digest
	pairs    uint64
	sequence uint64
	last     []byte
	partial  []byte  // the beginning of a pair that goes on in the next chunk
	pieces   []piece // complete files, in the order of their keys
	previous []piece // files of an earlier attempt; those before judged are kept or outdated
	judged   int
	names    int // files named so far
	staging  *Staging
	file     *storage.TableWriter
	own      *xxhash.Digest // of the pairs in file
	begun    uint64         // pairs before file
	path     string         // of file
	filed    uint64         // bytes of pieces
	encoded  []byte         // reused between pairs
	failed   error          // the first error of Add; it sticks
	sent     trailer
	closed   bool // the trailer has arrived and agreed
	raw      []byte
}

// NewReceiver prepares a directory of its own under dir, on the engine's file system, for a snapshot of
// lo <= key < hi.
func NewReceiver(engine *storage.Engine, dir string, lo, hi []byte, cfg Config) (*Receiver, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	own, err := ownDirectory(engine.FS(), dir, lo)
	if err != nil {
		return nil, err
	}
	return openReceiver(engine, own, lo, hi, cfg)
}

func openReceiver(engine *storage.Engine, dir string, lo, hi []byte, cfg Config) (*Receiver, error) {
	unzip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxChunkBytes+maxHeaderBytes))
	if err != nil {
		return nil, fmt.Errorf("snapshot: start decompression: %w", err)
	}
	return &Receiver{
		cfg: cfg, engine: engine, dir: dir, lo: bytes.Clone(lo), hi: bytes.Clone(hi), unzip: unzip, digest: xxhash.New(),
	}, nil
}

// maxSiblings bounds the snapshots of one span that are staged at the same time.
const maxSiblings = 64

func ownDirectory(fsys disk.FS, dir string, lo []byte) (string, error) {
	if err := fsys.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("snapshot: create %s: %w", dir, err)
	}
	for n := range maxSiblings {
		own := fsys.PathJoin(dir, fmt.Sprintf("%s-%d", hex.EncodeToString(lo), n))
		_, err := fsys.Stat(own)
		if err == nil {
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("snapshot: look for %s: %w", own, err)
		}
		if err := fsys.MkdirAll(own, 0o750); err != nil {
			return "", fmt.Errorf("snapshot: create %s: %w", own, err)
		}
		return own, nil
	}
	return "", fmt.Errorf("snapshot: %d snapshots of one group are already being received", maxSiblings)
}

// Add checks one chunk and writes its pairs; it does not keep the chunk. After an error the receiver returns that
// error again and can only be discarded.
func (r *Receiver) Add(chunk []byte) error {
	if r.failed == nil {
		r.failed = r.add(chunk)
	}
	return r.failed
}

func (r *Receiver) add(chunk []byte) error {
	if r.closed {
		return malformed("a chunk follows the trailer")
	}
	raw, err := r.unzip.DecodeAll(chunk, r.raw[:0])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	r.raw = raw
	if len(raw) < 2 || raw[0] != format {
		return malformed("%d bytes of an unknown format", len(raw))
	}
	sequence, n := binary.Uvarint(raw[2:])
	if n <= 0 || sequence != r.sequence {
		return malformed("chunk %d where %d was due", sequence, r.sequence)
	}
	r.sequence++
	payload := raw[2+n:]
	switch raw[1] {
	case kindPairs:
		return r.addPairs(payload)
	case kindKeep:
		return r.keep(payload)
	case kindTrailer:
		return r.checkTrailer(payload)
	}
	return malformed("kind %d", raw[1])
}

// Pairs returns how many pairs are there so far, kept ones included.
func (r *Receiver) Pairs() uint64 { return r.pairs }

// Written returns about how many bytes are in table files so far, kept ones included.
func (r *Receiver) Written() uint64 {
	if r.file == nil {
		return r.filed
	}
	return r.filed + r.file.Size()
}

// addPairs writes the pairs that are complete with this chunk and keeps the beginning of the next.
func (r *Receiver) addPairs(raw []byte) error {
	if _, err := r.digest.Write(raw); err != nil {
		return fmt.Errorf("snapshot: digest: %w", err)
	}
	if len(r.partial) > 0 {
		r.partial = append(r.partial, raw...)
		raw = r.partial
	}
	for len(raw) > 0 {
		key, rest, ok, err := takeBytes(raw)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		value, rest, ok, err := takeBytes(rest)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := r.addPair(key, value); err != nil {
			return err
		}
		raw = rest
	}
	if cap(r.partial) > largestSpare && len(raw) < largestSpare {
		r.partial = nil // the room of a large pair is not kept
	}
	r.partial = append(r.partial[:0], raw...)
	return nil
}

// largestSpare is how much room for incomplete pairs is kept between chunks, in bytes.
const largestSpare = 4 << 20

func (r *Receiver) addPair(key, value []byte) error {
	if bytes.Compare(key, r.lo) < 0 || bytes.Compare(key, r.hi) >= 0 {
		return malformed("key %x is outside the group", key)
	}
	if r.pairs > 0 && bytes.Compare(key, r.last) <= 0 {
		return malformed("key %x does not follow %x", key, r.last)
	}
	if r.file != nil && r.file.Size() >= r.cfg.FileBytes {
		if err := r.endFile(); err != nil {
			return err
		}
	}
	if r.file == nil {
		path := r.engine.FS().PathJoin(r.dir, fmt.Sprintf("%06d.sst", r.names))
		file, err := r.engine.NewTableWriter(path)
		if err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		r.file, r.path, r.own, r.begun = file, path, xxhash.New(), r.pairs
		r.names++
	}
	r.encoded = appendBytes(appendBytes(r.encoded[:0], key), value)
	if _, err := r.own.Write(r.encoded); err != nil {
		return fmt.Errorf("snapshot: digest: %w", err)
	}
	r.last = append(r.last[:0], key...)
	r.pairs++
	return r.file.Set(key, value)
}

func (r *Receiver) endFile() error {
	file := r.file
	r.file = nil
	r.filed += file.Size()
	if err := file.Close(); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	r.pieces = append(r.pieces, piece{
		path: r.path, Range: Range{Last: bytes.Clone(r.last), Pairs: r.pairs - r.begun, Digest: r.own.Sum64()},
	})
	return r.record()
}

func (r *Receiver) checkTrailer(raw []byte) error {
	sent, err := parseTrailer(raw)
	if err != nil {
		return err
	}
	if len(r.partial) > 0 {
		return malformed("the last pair is cut off")
	}
	if sent.pairs != r.pairs || sent.digest != r.digest.Sum64() {
		return malformed("%d pairs with digest %016x arrived, %d with %016x were sent", r.pairs, r.digest.Sum64(), sent.pairs, sent.digest)
	}
	if !bytes.Equal(sent.lo, r.lo) || !bytes.Equal(sent.hi, r.hi) {
		return malformed("span %x to %x was sent, want %x to %x", sent.lo, sent.hi, r.lo, r.hi)
	}
	r.closed, r.sent = true, sent
	return nil
}

// Finish hands out the complete snapshot. Without a trailer it is not complete, and everything is removed.
func (r *Receiver) Finish() (*Staged, error) {
	if r.failed == nil && !r.closed {
		r.failed = malformed("the snapshot ends without a trailer")
	}
	if r.failed != nil {
		return nil, errors.Join(r.failed, r.Discard())
	}
	r.unzip.Close()
	if r.file != nil {
		if err := r.endFile(); err != nil {
			return nil, errors.Join(err, r.removeFiles())
		}
	}
	if err := disk.SyncDir(r.engine.FS(), r.dir); err != nil {
		return nil, errors.Join(err, r.removeFiles())
	}
	staged := &Staged{engine: r.engine, dir: r.dir, lo: r.lo, hi: r.hi, sent: r.sent, verify: r.cfg.VerifyInstalled, staging: r.staging}
	for _, p := range r.pieces {
		staged.paths = append(staged.paths, p.path)
	}
	if err := staged.checkFiles(); err != nil {
		return nil, errors.Join(err, r.removeFiles())
	}
	return staged, nil
}

// Discard removes what was written.
func (r *Receiver) Discard() error {
	r.unzip.Close()
	var err error
	if r.file != nil {
		err = r.file.Close()
		r.file = nil
	}
	return errors.Join(err, r.removeFiles())
}

func (r *Receiver) removeFiles() error { return removeDirectory(r.engine.FS(), r.dir, r.lo, r.staging) }

func removeDirectory(fsys disk.FS, dir string, lo []byte, staging *Staging) error {
	err := removeAll(fsys, dir)
	if staging != nil {
		staging.release(lo, false)
	}
	return err
}

func removeAll(fsys disk.FS, dir string) error {
	if err := fsys.RemoveAll(dir); err != nil {
		return fmt.Errorf("snapshot: remove %s: %w", dir, err)
	}
	return nil
}
