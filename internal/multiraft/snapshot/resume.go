package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// Range is a part of a group's keys: from behind the range before it, or the span's first key, up to Last.
type Range struct {
	Last   []byte
	Pairs  uint64
	Digest uint64 // XXH64 of the pairs in the encoding of the stream
}

// piece is a complete table file that holds a range.
type piece struct {
	Range
	path string
}

// recordName is the file that lists the complete files of an interrupted snapshot; maxRecordBytes bounds it.
const (
	recordName     = "progress"
	recordFormat   = 1
	maxRecordBytes = 8 << 20
)

// keep takes over a file of an earlier attempt. Its pairs go into the digest from the disk, so the trailer
// vouches for them too.
func (r *Receiver) keep(raw []byte) error {
	number, n := binary.Uvarint(raw)
	if n <= 0 || n != len(raw) || number < uint64(r.judged) || number >= uint64(len(r.previous)) { //nolint:gosec // bounded where it enters
		return malformed("range %d is not one of the %d offered, or out of order", number, len(r.previous))
	}
	if len(r.partial) > 0 {
		return malformed("a range follows half a pair")
	}
	if r.file != nil {
		if err := r.endFile(); err != nil {
			return err
		}
	}
	old := r.previous[number]
	info, err := r.engine.FS().Stat(old.path)
	if err != nil {
		return fmt.Errorf("snapshot: kept file: %w", err)
	}
	r.filed += uint64(max(info.Size(), 0))
	own := newSum()
	err = r.engine.ReadTable(old.path, func(key, value []byte) error {
		if bytes.Compare(key, r.lo) < 0 || bytes.Compare(key, r.hi) >= 0 || r.pairs > 0 && bytes.Compare(key, r.last) <= 0 {
			return malformed("kept key %x does not follow %x", key, r.last)
		}
		r.last = append(r.last[:0], key...)
		r.pairs++
		if failure := own.add(key, value); failure != nil {
			return failure
		}
		_, failure := r.digest.Write(own.encoded)
		return failure
	})
	if err != nil {
		return fmt.Errorf("snapshot: kept file: %w", err)
	}
	if own.pairs != old.Pairs || own.digest.Sum64() != old.Digest || !bytes.Equal(r.last, old.Last) {
		return fmt.Errorf("%w: kept file %s", ErrDiffers, old.path)
	}
	r.judged = int(number) + 1 //nolint:gosec // below len(r.previous)
	r.pieces = append(r.pieces, old)
	return r.record()
}

// Suspend keeps what has arrived whole for a later attempt, if the snapshot came through a Staging and nothing
// was wrong with it so far; otherwise it is Discard.
func (r *Receiver) Suspend() error {
	if r.staging == nil || r.failed != nil || r.closed {
		return r.Discard()
	}
	if r.file != nil {
		if err := r.endFile(); err != nil {
			return errors.Join(err, r.Discard())
		}
	}
	if len(r.known()) == 0 {
		return r.Discard()
	}
	r.unzip.Close()
	r.staging.release(r.lo, true)
	return nil
}

// known lists the files that a later attempt may use: those of this one, and those of the one before that lie
// wholly behind them.
func (r *Receiver) known() []piece {
	known := slices.Clip(r.pieces)
	for i := r.judged; i < len(r.previous); i++ {
		if r.pairs == 0 || i > 0 && bytes.Compare(r.previous[i-1].Last, r.last) >= 0 {
			known = append(known, r.previous[i])
		}
	}
	return known
}

// record makes the complete files known to a later attempt, even after a crash.
func (r *Receiver) record() error {
	if r.staging == nil {
		return nil
	}
	fsys := r.engine.FS()
	if err := disk.SyncDir(fsys, r.dir); err != nil { // the files first
		return err
	}
	known := r.known()
	raw := binary.AppendUvarint([]byte{recordFormat}, uint64(len(known)))
	for _, p := range known {
		raw = appendBytes(appendBytes(raw, []byte(fsys.PathBase(p.path))), p.Last)
		raw = binary.BigEndian.AppendUint64(binary.AppendUvarint(raw, p.Pairs), p.Digest)
	}
	raw = binary.BigEndian.AppendUint64(raw, xxhash.Sum64(raw))
	if len(raw) > maxRecordBytes {
		return nil // the last record that fitted stays; the files behind it are sent again
	}
	return disk.WriteFileAtomic(fsys, fsys.PathJoin(r.dir, recordName), raw)
}

// readRecord reads what record wrote; a record that is missing or damaged, or names files that are not there, lists
// nothing.
func readRecord(fsys disk.FS, dir string) []piece {
	f, err := fsys.Open(fsys.PathJoin(dir, recordName))
	if err != nil {
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxRecordBytes+1))
	if err = errors.Join(err, f.Close()); err != nil || len(raw) < 10 || len(raw) > maxRecordBytes || raw[0] != recordFormat {
		return nil
	}
	body := raw[:len(raw)-8]
	if binary.BigEndian.Uint64(raw[len(body):]) != xxhash.Sum64(body) {
		return nil
	}
	count, n := binary.Uvarint(body[1:])
	if n <= 0 {
		return nil
	}
	body = body[1+n:]
	var pieces []piece
	for range count {
		name, rest, ok, err := takeBytes(body)
		if err != nil || !ok || !strings.HasSuffix(string(name), ".sst") || fsys.PathBase(string(name)) != string(name) {
			return nil
		}
		last, rest, ok, err := takeBytes(rest)
		if err != nil || !ok {
			return nil
		}
		pairs, n := binary.Uvarint(rest)
		if n <= 0 || len(rest) < n+8 {
			return nil
		}
		p := piece{path: fsys.PathJoin(dir, string(name))}
		p.Range = Range{Last: last, Pairs: pairs, Digest: binary.BigEndian.Uint64(rest[n:])}
		if _, err := fsys.Stat(p.path); err != nil {
			return nil
		}
		pieces = append(pieces, p)
		body = rest[n+8:]
	}
	return pieces
}
