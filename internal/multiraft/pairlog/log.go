package pairlog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// Config is what a Log needs. FS and Dir are required; every other field has a default.
type Config struct {
	FS  disk.FS // of the log; a write that finds no room fails the log, unless FS waits for room
	Dir string  // of the log, created when it is missing
	// StoreID is stamped into the log; one of another store is refused. Zero: any is taken.
	StoreID ident.StoreID
	// Existing says that a log was made here before, so that a directory without one is damaged.
	Existing bool
	// CacheBytes bounds the memory of cached entries of all groups together. Zero: 64 MiB; negative: no cache.
	CacheBytes int64
	// MaxEntryBytes is the largest data of an entry. Zero: 16 MiB.
	MaxEntryBytes int64
	// MemTableBytes is how much is written before a table is made of it. Zero: 8 MiB.
	MemTableBytes uint64
	// FreeBytes is how much is free on the disk. While that is less than ReserveBytes, Append returns raftlog.ErrNoSpare.
	// Nil, or an error: Append tries.
	FreeBytes func() (int64, error)
	// ReserveBytes is for what the store below writes on its own. Zero: two memtables.
	ReserveBytes int64
	// Logger receives the milestones of the log; nil discards them.
	Logger *slog.Logger
	// OnFatal is told once when the disk failed, or wrong bytes were read.
	OnFatal func(error)
}

// The memory of the store below: its cache is small because entries that are read again are cached here.
const (
	blockCacheBytes      = 4 << 20
	defaultMemTableBytes = 8 << 20
)

// Log is the Raft log of a node. Lock order: mu, then Group.mu; groupsMu and queueMu are leaves.
type Log struct {
	cfg   Config
	store *storage.Engine

	queueMu sync.Mutex // guards queue
	queue   []*request // of callers that wait for mu, or have it

	mu      sync.Mutex // held while a batch is written; guards the fields up to the next blank line
	closed  bool
	failure error    // the final error of a write
	pending []*Group // whose commit index or marker is newer than the store's; the next batch carries them

	groupsMu sync.RWMutex // guards groups
	groups   map[shard.GroupID]*Group

	cached                        atomic.Int64 // bytes of cached entries; changed with mu held
	syncs, appended, hits, misses atomic.Uint64
}

// Open reads the log in cfg.Dir, or starts one. Entries that do not verify, or do not follow each other, are a
// *raftlog.DamageError; what the store below cannot read is storage.ErrCorruption.
func Open(cfg Config) (*Log, error) {
	switch {
	case cfg.CacheBytes == 0:
		cfg.CacheBytes = raftlog.DefaultCacheBytes
	case cfg.CacheBytes < 0:
		cfg.CacheBytes = 0
	}
	if cfg.MaxEntryBytes == 0 {
		cfg.MaxEntryBytes = raftlog.DefaultMaxEntryBytes
	}
	if cfg.MemTableBytes == 0 {
		cfg.MemTableBytes = defaultMemTableBytes
	}
	if cfg.ReserveBytes == 0 {
		cfg.ReserveBytes = 2 * int64(cfg.MemTableBytes) //nolint:gosec // megabytes
	}
	if err := errors.Join(lostWrites(cfg), storage.VerifyWrites(cfg.FS, cfg.Dir)); err != nil {
		return nil, err
	}
	l := &Log{cfg: cfg, groups: make(map[shard.GroupID]*Group)}
	if err := l.openStore(); err != nil {
		return nil, err
	}
	if err := l.load(); err != nil {
		if l.store != nil {
			err = errors.Join(err, l.store.Close())
		}
		return nil, err
	}
	return l, nil
}

func (l *Log) openStore() (err error) {
	l.store, err = storage.Open(storage.Options{
		FS: l.cfg.FS, Dir: l.cfg.Dir, CacheBytes: blockCacheBytes, MemTableBytes: l.cfg.MemTableBytes, Logger: l.cfg.Logger,
		OnFatal: l.cfg.OnFatal, WriteAhead: true,
	})
	if err != nil {
		l.store = nil
		return fmt.Errorf("pairlog: %w", err)
	}
	return nil
}

// lostWrites reports a store without its write-ahead log, of which an open one has a file at any time. Nobody below would miss it.
func lostWrites(cfg Config) error {
	names, err := cfg.FS.List(cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !slices.ContainsFunc(names, isTable) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pairlog: %w", err)
	}
	if !slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, storage.WritesSuffix) }) {
		return &raftlog.DamageError{Reason: "the files " + storage.WritesSuffix + " with what was written last are missing"}
	}
	return nil
}

func isTable(name string) bool { return strings.HasSuffix(name, ".sst") }

// MaxEntryBytes is the largest data of an entry; Append refuses a larger one.
func (l *Log) MaxEntryBytes() int64 { return l.cfg.MaxEntryBytes }

// Group returns the log of a group, an empty one when nothing was ever written for it.
func (l *Log) Group(group shard.GroupID) *Group {
	l.groupsMu.RLock()
	g := l.groups[group]
	l.groupsMu.RUnlock()
	if g != nil {
		return g
	}
	l.groupsMu.Lock()
	defer l.groupsMu.Unlock()
	if g = l.groups[group]; g == nil {
		g = &Group{id: group, log: l}
		l.groups[group] = g
	}
	return g
}

// Groups lists the groups in ascending order, those that were only asked for included.
func (l *Log) Groups() []shard.GroupID {
	l.groupsMu.RLock()
	defer l.groupsMu.RUnlock()
	ids := make([]shard.GroupID, 0, len(l.groups))
	for id := range l.groups {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Err returns the final error of the log, nil while it is usable.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.failure, l.store.Failure())
}

// usable needs mu.
func (l *Log) usable() error {
	if l.closed {
		return raftlog.ErrClosed
	}
	return l.failure
}

// Flush makes everything durable that was kept in memory only.
func (l *Log) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	return l.writePending()
}

// stamp writes whose log this is.
func (l *Log) stamp(b *storage.Batch) error {
	return set(b, stampKey(), encodeStamp(l.cfg.StoreID))
}

// Close makes everything durable and releases the directory. After a failure it returns that.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return raftlog.ErrClosed
	}
	err := l.failure
	if err == nil && l.hasRoom() { // without, the next start knows a little less, as after a crash
		err = l.writePending()
	}
	l.closed = true
	return errors.Join(err, l.store.Close())
}

// Stats returns the current figures, also while the disk does not answer. There are no segments, and records are not counted.
func (l *Log) Stats() raftlog.Stats {
	groups := l.Groups()
	s := raftlog.Stats{
		Groups: len(groups), Syncs: l.syncs.Load(), AppendedBytes: l.appended.Load(), CacheHits: l.hits.Load(), CacheMisses: l.misses.Load(),
		CacheBytes: l.cached.Load(),
	}
	for _, id := range groups {
		s.LiveBytes += int64(l.Group(id).Bytes()) //nolint:gosec // of what a disk holds
	}
	return s
}
