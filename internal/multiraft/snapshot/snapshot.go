// Package snapshot builds, checks and installs the whole state of one group.
//
// A snapshot is the group's key span as it was at one moment, in chunks. A Builder reads it from a
// consistent view of the store, bounded in memory whatever the size. A Receiver checks every chunk, writes
// table files beside the store and, when all has arrived and the digest agrees, hands out a Staged, whose
// Install replaces the group's keys atomically and durably.
//
// A chunk is one zstd frame. Inside: format byte 1, a kind byte, and
//
//	pairs (kind 1):   repeated  uvarint key length, key, uvarint value length, value
//	trailer (kind 2): uvarint number of pairs, 8 bytes XXH64 (big-endian) of all pairs in their encoding
//
// Keys ascend strictly over the whole snapshot and lie in the group's span. The trailer is the last chunk.
// Nothing of a snapshot touches the store before Install; what a crash leaves behind is removed by
// CleanStaging.
package snapshot

import (
	"errors"
	"fmt"
)

// Config bounds a snapshot. Zero fields take the default named beside them.
type Config struct {
	ChunkBytes int    // pairs in one chunk before compression; default 1 MiB; one large pair may exceed it
	FileBytes  uint64 // size of one table file; default 64 MiB
}

const (
	defaultChunkBytes = 1 << 20
	defaultFileBytes  = 64 << 20

	// maxChunkBytes bounds what a received chunk may expand to, in bytes.
	maxChunkBytes = 64 << 20

	format      = 1
	kindPairs   = 1
	kindTrailer = 2
)

// ErrMalformed is wrapped by every refusal of a chunk.
var ErrMalformed = errors.New("snapshot: malformed chunk")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

func (c Config) withDefaults() Config {
	if c.ChunkBytes == 0 {
		c.ChunkBytes = defaultChunkBytes
	}
	if c.FileBytes == 0 {
		c.FileBytes = defaultFileBytes
	}
	return c
}
