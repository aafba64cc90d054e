package raftlog

import (
	"errors"
	"fmt"
	"log/slog"
	"math"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// Limits and defaults of Config.
const (
	DefaultSegmentBytes  = 64 << 20
	DefaultSpareSegments = 2
	DefaultQuietSegments = 4
	DefaultCacheBytes    = 64 << 20
	DefaultMaxEntryBytes = 16 << 20

	minSegmentBytes = 4 * pageBytes
	maxSegmentBytes = 1 << 30
	maxSpares       = 64
)

// Config is what a Log needs. FS and Dir are required; every other field has a default.
type Config struct {
	// FS is the file system of the log.
	FS disk.FS
	// Dir is the directory of the log, created when it is missing. Nothing else may live in it.
	Dir string
	// StoreID is stamped into every segment; a log of another store is refused. Zero: a new log is
	// stamped with zeros, and an existing one is taken whatever its stamp.
	StoreID ident.StoreID
	// Existing says that a log was made here before: a directory without one has lost it, and with it votes and entries that
	// others count on. That is damage, like a log with wrong bytes. False: an empty directory gets a new log.
	Existing bool
	// SegmentBytes is the size of a new segment, a multiple of 4 KiB from 16 KiB to 1 GiB. Zero: 64 MiB.
	// An existing log keeps the segments it has.
	SegmentBytes int64
	// SpareSegments is the number of written-ahead or recycled segments kept ready, 1 to 64. Zero: 2.
	SpareSegments int
	// QuietSegments is the number of segments up to which live parts are never rewritten. Zero: 4.
	QuietSegments int
	// CacheBytes bounds the memory of cached entries of all groups together. Zero: 64 MiB; negative: no cache.
	CacheBytes int64
	// MaxEntryBytes is the largest Data of an entry; a larger one is refused before anything is written.
	// Zero: 16 MiB, or a quarter of a segment when that is less.
	MaxEntryBytes int64
	// PageCache makes records and new segments go through the page cache of the operating system. Without it they go
	// past it where that works, which costs half the processor time; see direct.go.
	PageCache bool
	// Background lets the log prepare and free segments on a goroutine of its own, stopped by Close. When
	// it is false all of that happens inside Append, in a reproducible order.
	Background bool
	// Logger receives the milestones of the log; nil discards them.
	Logger *slog.Logger
}

// Validate names the first field that is out of range. Zero values are in range.
func (c Config) Validate() error {
	c = c.withDefaults()
	switch {
	case c.FS == nil:
		return errors.New("raftlog: FS is missing")
	case c.Dir == "":
		return errors.New("raftlog: Dir is empty")
	case c.SegmentBytes < minSegmentBytes || c.SegmentBytes > maxSegmentBytes || c.SegmentBytes%pageBytes != 0:
		return fmt.Errorf("raftlog: SegmentBytes = %d: want a multiple of %d from %d to %d",
			c.SegmentBytes, pageBytes, minSegmentBytes, maxSegmentBytes)
	case c.SpareSegments < 1 || c.SpareSegments > maxSpares:
		return fmt.Errorf("raftlog: SpareSegments = %d: want 1 to %d", c.SpareSegments, maxSpares)
	case c.QuietSegments < 2:
		return fmt.Errorf("raftlog: QuietSegments = %d: want at least 2", c.QuietSegments)
	case c.MaxEntryBytes < 1 || c.MaxEntryBytes > c.largestEntry():
		return fmt.Errorf("raftlog: MaxEntryBytes = %d: want 1 to %d with segments of %d bytes",
			c.MaxEntryBytes, c.largestEntry(), c.SegmentBytes)
	}
	return nil
}

// largestEntry is the largest entry that fits a record of its own.
func (c Config) largestEntry() int64 {
	return capacityOf(c.SegmentBytes) - entriesSectionBytes - entryHeaderBytes
}

func (c Config) withDefaults() Config {
	if c.SegmentBytes == 0 {
		c.SegmentBytes = DefaultSegmentBytes
	}
	if c.SpareSegments == 0 {
		c.SpareSegments = DefaultSpareSegments
	}
	if c.QuietSegments == 0 {
		c.QuietSegments = DefaultQuietSegments
	}
	switch {
	case c.CacheBytes == 0:
		c.CacheBytes = DefaultCacheBytes
	case c.CacheBytes < 0:
		c.CacheBytes = 0
	}
	if c.MaxEntryBytes == 0 {
		c.MaxEntryBytes = min(DefaultMaxEntryBytes, c.SegmentBytes/4)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// noIndex is larger than every index of an entry.
const noIndex = math.MaxUint64
