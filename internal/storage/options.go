package storage

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// formatVersion is the on-disk format that new stores get and old ones are raised to. It supports
// replacing a span in one step and checksums table footers.
const formatVersion = pebble.FormatTableFormatV6

// pebbleOptions are chosen for a node with two cores and little memory.
func (e *Engine) pebbleOptions(o Options) *pebble.Options {
	logger := pebbleLogger{engine: e, logger: o.Logger}
	options := &pebble.Options{
		FS:                          e.fs,
		Cache:                       e.cache,
		DisableWAL:                  !o.WriteAhead,
		ReadOnly:                    o.readOnly,
		FormatMajorVersion:          formatVersion,
		Logger:                      logger,
		MaxOpenFiles:                maxOpenFiles,
		MaxManifestFileSize:         o.listBytes,
		MemTableSize:                o.MemTableBytes,
		MemTableStopWritesThreshold: stopWritesMemTables,
		L0CompactionThreshold:       2,
		L0StopWritesThreshold:       1000, // a pause of all groups is worse than a slow read
		LBaseMaxBytes:               64 << 20,
		CompactionConcurrencyRange:  func() (lower, upper int) { return 1, 2 },
		EventListener: &pebble.EventListener{
			BackgroundError: e.background,
			FlushEnd:        func(pebble.FlushInfo) { e.hardened.Add(1) },
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				e.corrupted(fmt.Errorf("%w: %s: %w", ErrCorruption, info.Path, info.Details))
			},
			// Pebble's default ends the process from inside; the owner of the file system judges slowness.
			DiskSlow: func(info vfs.DiskSlowInfo) {
				o.Logger.Warn("disk is slow", slog.String("operation", info.OpType.String()), slog.String("file", info.Path),
					slog.Duration("duration", info.Duration))
			},
		},
	}
	for level := range options.Levels {
		options.Levels[level].FilterPolicy = bloom.FilterPolicy(10)
		options.Levels[level].FilterType = pebble.TableFilter
		options.Levels[level].BlockSize = 16 << 10
		options.Levels[level].IndexBlockSize = 64 << 10
	}
	// Compactions follow from what was written alone. Sampling what is read, so that it may start some, costs each step of every scan.
	options.Experimental.ReadSamplingMultiplier = -1
	// Without a write-ahead log, an ingestion that is queued behind a memtable is not durable when the call
	// returns. It waits for the flush instead.
	options.Experimental.DisableIngestAsFlushable = func() bool { return true }
	return options
}

// pebbleLogger passes Pebble's messages on. Its Fatalf ends the engine, not the process: other parts of
// the process (other nodes, in a demonstration or a test) go on, and every later write here fails.
type pebbleLogger struct {
	engine *Engine
	logger *slog.Logger
}

// Infof implements pebble.Logger.
func (l pebbleLogger) Infof(format string, args ...any) {
	if l.logger.Enabled(context.Background(), slog.LevelDebug) {
		l.logger.Debug("store event", slog.String("event", fmt.Sprintf(format, args...)))
	}
}

// Errorf implements pebble.Logger.
func (l pebbleLogger) Errorf(format string, args ...any) {
	l.logger.Error("store error", slog.String("error", fmt.Sprintf(format, args...)))
}

// Fatalf implements pebble.Logger.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.engine.fail(fmt.Errorf(format, args...))
}
