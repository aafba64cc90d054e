// Package snapshot builds, checks and installs the whole state of one group.
//
// A snapshot is the group's key span as it was at one moment, in chunks. A Builder reads it from a
// consistent view of the store, bounded in memory whatever the size. A Receiver checks every chunk, writes
// table files beside the store and, when all has arrived and the digest agrees, hands out a Staged, whose
// Install replaces the group's keys atomically and durably.
//
// The pairs are one stream of bytes, cut into chunks of equal size wherever that falls, so that no chunk is larger than
// the others however large a pair is; a pair may continue in the next chunk. The format is in
// docs/design/formats/snapshot.md.
//
// Keys ascend strictly over the whole snapshot and lie in the group's span. The trailer is the last chunk.
// An interrupted snapshot leaves its complete files in a Staging; the next attempt names those ranges whose pairs
// are still the same and sends the others, whoever sends it and from whatever view. The digest of the whole is
// computed from what is on disk either way.
//
// Nothing of a snapshot touches the store before Install; what a crash leaves behind is removed by
// CleanStaging and NewStaging.
package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Config bounds a snapshot. Zero fields take the default named beside them.
type Config struct {
	ChunkBytes int    // pairs in one chunk before compression; default 1 MiB, at most 8 MiB
	FileBytes  uint64 // size of one table file; default 64 MiB
	// VerifyInstalled makes Install read the group back from the store and compare it with the trailer. It takes
	// as long as reading the group; the files are compared with it before in any case.
	VerifyInstalled bool
	// Encoders are shared by builders that follow each other; nil: each makes its own.
	Encoders *Encoders
}

const (
	defaultChunkBytes = 1 << 20
	defaultFileBytes  = 64 << 20

	// maxChunkBytes bounds the pairs of a chunk, and maxHeaderBytes what stands before them, before compression.
	maxChunkBytes  = 8 << 20
	maxHeaderBytes = 2 + 10

	// maxPairBytes bounds a key, and a value, and with them what a receiver keeps of a pair that is not complete yet.
	maxPairBytes = 64 << 20

	format      = 1
	kindPairs   = 1
	kindTrailer = 2
	kindKeep    = 3
)

// trailer is what the last chunk says about all the others.
type trailer struct {
	pairs  uint64
	digest uint64 // XXH64 of all pairs in their encoding
	lo, hi []byte
}

// append adds the payload of the trailer chunk to dst.
func (t trailer) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, t.pairs)
	dst = binary.BigEndian.AppendUint64(dst, t.digest)
	return appendBytes(appendBytes(dst, t.lo), t.hi)
}

func parseTrailer(raw []byte) (trailer, error) {
	var t trailer
	pairs, n := binary.Uvarint(raw)
	if n <= 0 || len(raw)-n < 8 {
		return t, malformed("a trailer of %d bytes", len(raw))
	}
	t.pairs, t.digest = pairs, binary.BigEndian.Uint64(raw[n:])
	rest := raw[n+8:]
	for _, bound := range []*[]byte{&t.lo, &t.hi} {
		taken, left, ok, err := takeBytes(rest)
		if err != nil || !ok {
			return t, malformed("the trailer is cut off")
		}
		*bound, rest = taken, left
	}
	if len(rest) > 0 {
		return t, malformed("%d bytes follow the trailer", len(rest))
	}
	return t, nil
}

// appendBytes adds a length and the bytes to dst.
func appendBytes(dst, data []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(data))), data...)
}

// takeBytes reads what appendBytes wrote; ok is false while raw ends too early.
func takeBytes(raw []byte) (taken, rest []byte, ok bool, err error) {
	length, n := binary.Uvarint(raw)
	if n == 0 {
		return nil, nil, false, nil
	}
	if n < 0 || length > maxPairBytes {
		return nil, nil, false, malformed("a length over %d", maxPairBytes)
	}
	if length > uint64(len(raw)-n) { //nolint:gosec // n is at most len(raw)
		return nil, nil, false, nil
	}
	return raw[n : n+int(length)], raw[n+int(length):], true, nil
}

// ErrMalformed is wrapped by every refusal of a chunk.
var ErrMalformed = errors.New("snapshot: malformed chunk")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// withDefaults fills the zero fields and refuses what cannot work.
func (c Config) withDefaults() (Config, error) {
	if c.ChunkBytes == 0 {
		c.ChunkBytes = defaultChunkBytes
	}
	if c.FileBytes == 0 {
		c.FileBytes = defaultFileBytes
	}
	if c.ChunkBytes < 1 || c.ChunkBytes > maxChunkBytes {
		return c, fmt.Errorf("snapshot: chunk bytes = %d: want 1 to %d", c.ChunkBytes, maxChunkBytes)
	}
	return c, nil
}
