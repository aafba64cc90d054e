// Package storage is the row store of a node: one Pebble database that holds the state of all groups.
//
// It offers what the layers above need and nothing else: indexed batches that commit atomically, readers
// over the newest state, a snapshot or the durable state, table files for ingestion, and the replacement of
// a whole key span. It knows keys and values only, not what they mean.
//
// Pebble's write-ahead log is off, unless Options.WriteAhead asks for it. A commit is atomic but not durable; it becomes durable when the
// memtable it went to is flushed, and memtables are flushed in commit order. The Raft log is the
// write-ahead log: after a crash the node replays it from the applied indexes found here, and it may drop only what
// the Durable reader already shows. Everything in one batch becomes durable, or is lost, together.
//
// Errors: a disk that fails a read, a write or a sync, of a statement or in the background (a flush, a compaction, the
// manifest), is final. That is given to Options.OnFatal once, and every later write, flush and durable read fails with it; what lies on the disk
// stays as it was then.
// Wrong bytes on disk are reported as ErrCorruption, never read as data.
//
// Only packages under storage import Pebble.
package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// ErrCorruption is wrapped by every error that is caused by wrong bytes on disk.
var ErrCorruption = errors.New("corrupted store")

// ErrClosed is returned by calls on a closed engine.
var ErrClosed = errors.New("store is closed")

// Options say how an engine is opened.
type Options struct {
	FS  disk.FS // required
	Dir string  // required; created when missing

	// CacheBytes is the memory of the block cache that all reads share. Zero means 64 MiB. Memtables are accounted for
	// in the same pool, so the cache takes what they leave of it beyond that: up to four times MemTableBytes more.
	CacheBytes int64
	// MemTableBytes is the size at which a memtable is flushed by itself. Zero means 32 MiB. Up to four of
	// them exist at a time; then commits wait for a flush.
	MemTableBytes uint64
	// Logger receives Pebble's milestones at debug level and its errors. Nil discards them.
	Logger *slog.Logger
	// OnFatal is called once, on some goroutine, when the store can no longer keep its promises. It must not
	// call the engine. The node stops. Nil means nobody is told; calls still fail.
	OnFatal func(error)

	// WriteAhead gives the store a write-ahead log of its own, so that CommitSync makes a batch durable. It is for the Raft
	// log alone.
	WriteAhead bool

	readOnly  bool  // nothing on disk is changed; for Inspect
	listBytes int64 // of the list of tables, before another one is begun; for tests. Zero is Pebble's choice
}

const (
	defaultCacheBytes    = 64 << 20
	defaultMemTableBytes = 32 << 20
	stopWritesMemTables  = 4
	maxOpenFiles         = 1000
)

// Reader is a view of the store.
type Reader interface {
	// Get returns the value of a key, owned by the caller; ok is false when there is none.
	Get(key []byte) (value []byte, ok bool, err error)
	// Scan returns an unpositioned iterator over lo <= key < hi; a nil bound is open. The iterator must be
	// closed and must not outlive the reader.
	Scan(lo, hi []byte) (*Iterator, error)
}

// Engine is an open store. All methods may be called from any goroutine. As a Reader it shows every
// committed batch; two calls may see different states, so a statement reads through a Snapshot.
type Engine struct {
	db *pebble.DB
	// fs is the store's file system, beside that of the files that snapshots are staged in; both are guarded.
	fs, beside disk.FS
	cache      *pebble.Cache
	onFatal    func(error)
	logger     *slog.Logger
	// tableOptions are the options the database runs with, for table files written outside it.
	tableOptions *pebble.Options

	open     openings
	hardened atomic.Uint64 // see DurableVersion
	rare     rareKeys
	opened   atomic.Bool           // the library has opened the store
	early    atomic.Pointer[error] // corruption that it has met
	failOnce sync.Once
	failed   chan struct{} // closed after failure is set
	failure  error         // read only after failed is closed
	closing  chan struct{} // closed when Close begins
}

// Open opens the store in a directory, or creates it there. No other process may have it open.
func Open(o Options) (*Engine, error) {
	if o.FS == nil || o.Dir == "" {
		return nil, errors.New("open store: file system and directory are required")
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = defaultMemTableBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		cache:   pebble.NewCache(poolBytes(&o)),
		onFatal: o.OnFatal,
		logger:  o.Logger,
		failed:  make(chan struct{}),
		closing: make(chan struct{}),
	}
	base := o.FS
	if o.WriteAhead {
		base = fresh{base}
	}
	e.fs, e.beside = &ending{FS: &guarded{base, e, true}, engine: e}, &guarded{withoutWaiting(o.FS), e, false}
	e.tableOptions = e.pebbleOptions(o)
	e.tableOptions.EnsureDefaults()
	exists, err := checkManifest(o.FS, o.Dir)
	if err == nil {
		e.db, err = pebble.Open(o.Dir, e.tableOptions)
	}
	if err != nil {
		e.cache.Unref()
		if exists {
			err = asCorruption(err)
		}
		return nil, wrap(err, "open store %s", o.Dir)
	}
	e.opened.Store(true)
	if early := e.early.Load(); early != nil {
		e.fail(*early)
	}
	return e, nil
}

// corrupted ends the engine for wrong bytes. What compactions meet while the store is being opened waits until it is: without new files the
// library could not finish to open it, and cannot give up while they run.
func (e *Engine) corrupted(err error) {
	e.early.Store(&err)
	if e.opened.Load() {
		e.fail(err)
	}
}

// poolBytes is the memory of blocks and memtables together. Pebble takes the memtables that exist, the one that waits
// to be used again included, out of its block cache: without room for them, a store that has flushed once would cache
// nothing.
func poolBytes(o *Options) int64 {
	return o.CacheBytes + stopWritesMemTables*int64(o.MemTableBytes) //nolint:gosec // megabytes
}

// Close flushes nothing: what is not durable yet is replayed from the log. Readers, batches and table
// writers must be closed before.
func (e *Engine) Close() error {
	close(e.closing)
	err := e.db.Close()
	e.cache.Unref()
	return wrap(err, "close store")
}

// Failure returns the error that ended the engine, nil while it is sound.
func (e *Engine) Failure() error {
	select {
	case <-e.failed:
		return e.failure
	default:
		return nil
	}
}

// background judges an error of a flush or a compaction. One that made way for an ingestion, which replaces keys between its own, is no
// fault: the library does it again.
func (e *Engine) background(err error) {
	if errors.Is(err, pebble.ErrCancelledCompaction) {
		e.logger.Debug("a flush or compaction made way", slog.Any("error", err))
		return
	}
	if pebble.IsCorruptionError(err) {
		e.corrupted(err)
		return
	}
	e.fail(err)
}

// fail records the first fatal error and tells the owner.
func (e *Engine) fail(err error) {
	e.failOnce.Do(func() {
		e.failure = wrap(err, "store failed")
		close(e.failed)
		e.logger.Error("store failed", slog.Any("error", err))
		if e.onFatal != nil {
			e.onFatal(e.failure)
		}
	})
}

// Get implements Reader.
func (e *Engine) Get(key []byte) (value []byte, ok bool, err error) { return get(e.db, key) }

// Scan implements Reader.
func (e *Engine) Scan(lo, hi []byte) (*Iterator, error) {
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	return newIterator(&e.open, it, err)
}

// Flush makes everything that is committed durable and returns when it is.
func (e *Engine) Flush() error {
	done, err := e.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-done:
		e.hardened.Add(1)
		return e.Failure()
	case <-e.failed:
		return e.failure
	}
}

// AsyncFlush starts to make everything that is committed durable. The channel is closed when it is, or when the store has failed, which
// Failure tells then; it may never be closed if the store fails meanwhile, so wait for OnFatal too.
func (e *Engine) AsyncFlush() (<-chan struct{}, error) {
	if err := e.Failure(); err != nil {
		return nil, err
	}
	done, err := e.db.AsyncFlush()
	return done, wrap(err, "flush store")
}

// wrap adds an operation to an error and marks corruption.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	operation := fmt.Sprintf(format, args...)
	if pebble.IsCorruptionError(err) && !errors.Is(err, ErrCorruption) {
		return fmt.Errorf("%s: %w: %w", operation, ErrCorruption, err)
	}
	if errors.Is(err, pebble.ErrClosed) {
		return fmt.Errorf("%s: %w", operation, ErrClosed)
	}
	return fmt.Errorf("%s: %w", operation, err)
}
