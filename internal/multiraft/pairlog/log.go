package pairlog

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// Config is what a Log needs. FS and Dir are required; every other field has a default.
type Config struct {
	FS  disk.FS // of the log; a write for which there is no room fails the log, unless FS waits for room
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

// Log is the Raft log of a node. Lock order: mu, then Group.mu; groupsMu is a leaf.
type Log struct {
	cfg   Config
	store *storage.Engine

	mu      sync.Mutex // held while a batch is written; guards the fields up to the next comment
	closed  bool
	cached  int64
	failure error // the final error of a write

	groupsMu sync.RWMutex // guards groups
	groups   map[shard.GroupID]*Group

	batches, syncs, hits, misses atomic.Uint64
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
	store, err := storage.Open(storage.Options{
		FS: cfg.FS, Dir: cfg.Dir, CacheBytes: blockCacheBytes, MemTableBytes: cfg.MemTableBytes, Logger: cfg.Logger,
		OnFatal: cfg.OnFatal, WriteAhead: true,
	})
	if err != nil {
		return nil, fmt.Errorf("pairlog: %w", err)
	}
	l := &Log{cfg: cfg, store: store, groups: make(map[shard.GroupID]*Group)}
	if err := l.load(); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return l, nil
}

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

// Append is that of raftlog.Log, except that it does not return ErrNoSpare: where there is no room it waits, or the log ends.
func (l *Log) Append(updates []raftlog.Update, sync bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	stages, err := l.stageAll(updates)
	if err != nil {
		return err
	}
	return l.write(sync || !onlyCommits(updates), func(b *storage.Batch) error {
		for _, s := range stages {
			if err := s.put(b); err != nil {
				return err
			}
		}
		return nil
	}, func() {
		for _, s := range stages {
			s.settle()
		}
		l.evict()
	})
}

// onlyCommits reports whether updates do no more than raise commit indexes.
func onlyCommits(updates []raftlog.Update) bool {
	return !slices.ContainsFunc(updates, func(u raftlog.Update) bool {
		return u.Reset != nil || len(u.Entries) > 0 || u.Hard == nil
	})
}

// write commits a batch and then changes memory likewise. A failure is final. It needs mu.
func (l *Log) write(sync bool, fill func(*storage.Batch) error, settle func()) error {
	batch := l.store.NewBatch()
	err := fill(batch)
	if err == nil {
		if sync {
			err = l.store.CommitSync(batch)
			l.syncs.Add(1)
		} else {
			err = l.store.Commit(batch)
		}
	}
	if err = errors.Join(err, batch.Close()); err != nil {
		l.failure = fmt.Errorf("pairlog: %w", err)
		return l.failure
	}
	l.batches.Add(1)
	settle()
	return nil
}

// Truncate is that of raftlog.Log.
func (l *Log) Truncate(group shard.GroupID, upto uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	g := l.Group(group)
	if upto <= g.marker.Index {
		return nil
	}
	if upto > g.last() {
		return fmt.Errorf("%w: group %v: truncation up to %d is behind the last entry %d", raftlog.ErrInvalidUpdate, g.id, upto, g.last())
	}
	first, marker, hard := g.marker.Index+1, raftlog.Marker{Index: upto, Term: g.term(upto)}, g.hard
	hard.Commit = max(hard.Commit, upto)
	return l.write(false, func(b *storage.Batch) error {
		return errors.Join(b.DeleteRange(entryKey(group, first), entryKey(group, upto+1)),
			set(b, groupKey(kindMarker, group), encodeMarker(marker)), set(b, groupKey(kindHard, group), encodeHard(hard)))
	}, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.dropFront(marker)
		g.hard = hard
	})
}

func set(b *storage.Batch, key, value []byte) error { return b.Set(key, seal(key, value)) }

// Flush makes everything durable that was written without a sync.
func (l *Log) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	return l.write(true, l.stamp, func() {})
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
	if err == nil {
		err = l.write(true, l.stamp, func() {})
	}
	l.closed = true
	return errors.Join(err, l.store.Close())
}

// readMissing is Group.Entries for entries of which some are not cached. No batch is written meanwhile.
func (l *Log) readMissing(g *Group, lo, hi, maxBytes uint64) ([]*raftpb.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return nil, err
	}
	entries, missing, err := g.pick(lo, hi, maxBytes)
	if err != nil {
		return nil, err
	}
	for i := range entries[:missing] {
		index := lo + uint64(i)
		key := entryKey(g.id, index)
		value, ok, err := l.store.Get(key)
		if err != nil {
			return nil, fmt.Errorf("pairlog: %w", err)
		}
		reason := fmt.Sprintf("entry %d of %v is missing", index, g.id)
		if ok {
			if value, err = unseal(key, value, entryHeaderBytes-sumBytes); err != nil {
				reason, ok = err.Error(), false
			}
		}
		if !ok {
			return nil, damaged(g.id, reason)
		}
		entries[i] = decodeEntry(index, value)
	}
	return entries, nil
}

func damaged(group shard.GroupID, reason string) error {
	return &raftlog.DamageError{Groups: []shard.GroupID{group}, Reason: reason}
}
