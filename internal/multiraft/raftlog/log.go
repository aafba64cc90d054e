package raftlog

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// Update is what one group has to remember. It takes effect in the order reset, entries, hard state.
type Update struct {
	Group shard.GroupID
	// Hard is the new hard state; nil leaves it. Commit never goes back: a lower one is ignored.
	Hard *HardState
	// Reset, when set, forgets every entry: the log starts after this marker (snapshot install, new group).
	Reset *Marker
	// Entries are contiguous and start at most one behind the last entry. An index that exists is
	// overwritten and everything after it is dropped, durably. The log keeps the entries in its cache:
	// nobody may change them afterwards.
	Entries []*raftpb.Entry
}

// Log is the Raft log of a node. Lock order: cleaning, the turn, then state, then Group.mu, then segmentsMu.
type Log struct {
	cfg       Config
	directory io.Closer // the lock of the directory

	mu      sync.Mutex // guards the fields up to the next comment
	turned  *sync.Cond // broadcast when busy falls
	queue   []*request
	busy    bool // somebody has the turn: the right to write
	closed  bool
	failure error // the final error of a write or sync

	state      sync.Mutex // guards what the Group fields say, dirty, cacheBytes and segment.live
	dirty      []*Group   // groups with dirtyHard or dirtyMarker
	cacheBytes int64

	groupsMu sync.RWMutex // guards groups
	groups   map[shard.GroupID]*Group

	segmentsMu sync.RWMutex // guards segments
	segments   []*segment   // oldest first, without gaps; the last one is written to

	spares spares

	// owned by who has the turn
	writer writer

	wake    chan struct{} // has room for one; wakes the background goroutine
	stop    chan struct{}
	stopped sync.WaitGroup
	wanted  atomic.Bool // something may be free to clean
	crowded atomic.Bool // so much that an append has to help

	pastCache atomic.Bool // the last segment is written past the page cache

	cleaning sync.Mutex // held while segments are freed; taken before the turn

	hits, misses, syncs, records, appended, rewritten, freed atomic.Uint64
}

// request is one call of Append on its way through the queue.
type request struct {
	updates []Update
	sync    bool // what earlier calls have kept in memory becomes durable with it
	bytes   int64
	done    bool // guarded by Log.mu
	err     error
}

// queueBatchBytes is how much of the queue one record takes, so that a call waits for a bounded write.
const queueBatchBytes = 4 << 20

// Open reads the log in cfg.Dir, or starts one. A torn record at the end is cut off durably. Anything else
// that does not verify, a missing segment or a group with a gap is a *DamageError, and nothing is changed on disk.
func Open(cfg Config) (*Log, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	l := &Log{
		cfg:    cfg,
		groups: make(map[shard.GroupID]*Group),
		wake:   make(chan struct{}, 1),
		stop:   make(chan struct{}),
	}
	l.turned = sync.NewCond(&l.mu)
	if err := cfg.FS.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("raftlog: create directory: %w", err)
	}
	if err := disk.SyncDir(cfg.FS, cfg.FS.PathDir(cfg.Dir)); err != nil {
		return nil, fmt.Errorf("raftlog: %w", err)
	}
	lock, err := cfg.FS.Lock(cfg.FS.PathJoin(cfg.Dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("raftlog: lock %s: %w", cfg.Dir, err)
	}
	l.directory = lock
	if err := l.recover(); err != nil {
		return nil, errors.Join(err, l.closeFiles())
	}
	if cfg.Background {
		l.stopped.Go(l.tend)
		l.wake <- struct{}{}
	}
	return l, nil
}

// Append makes updates durable, all of them or none, and returns when they are. With sync false, updates that
// only raise a commit index return at once: a crash may lose them, and a later record carries them. With sync true, what
// earlier calls have left in memory is durable, too, even if there is nothing else to write. Several
// goroutines may call it; callers that wait together share a record and a sync. A call whose updates are larger
// than a segment is written in parts, each of which is a valid state of its groups.
//
// An error that is not ErrInvalidUpdate, ErrEntryTooLarge or ErrNoSpare is final: every later call returns it.
func (l *Log) Append(updates []Update, sync bool) error {
	if !sync && l.raiseCommits(updates) {
		return nil
	}
	r := &request{updates: updates, sync: sync}
	for i := range updates {
		r.bytes += updateBytes(&updates[i])
	}
	l.mu.Lock()
	if err := l.unusable(); err != nil {
		l.mu.Unlock()
		return err
	}
	l.queue = append(l.queue, r)
	for l.busy && !r.done {
		l.turned.Wait()
	}
	if r.done {
		l.mu.Unlock()
		return r.err
	}
	l.busy = true
	batch, err := l.takeQueue(r), l.unusable()
	l.mu.Unlock()

	if err == nil {
		l.writeBatch(batch)
	} else {
		failAll(batch, err)
	}

	l.mu.Lock()
	for _, other := range batch {
		other.done = true
	}
	l.busy = false
	l.turned.Broadcast()
	l.mu.Unlock()
	l.tendSoon()
	return r.err
}

// takeQueue removes the next batch from the queue; own is always in it. It needs mu.
func (l *Log) takeQueue(own *request) []*request {
	total := own.bytes
	batch := []*request{own}
	rest := l.queue[:0]
	for _, r := range l.queue {
		switch {
		case r == own:
		case total+r.bytes <= queueBatchBytes:
			total += r.bytes
			batch = append(batch, r)
		default:
			rest = append(rest, r)
		}
	}
	clear(l.queue[len(rest):])
	l.queue = rest
	return batch
}

func failAll(batch []*request, err error) {
	for _, r := range batch {
		r.err = err
	}
}

// takeTurn waits for the right to write; giveTurn must follow unless it fails.
func (l *Log) takeTurn() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.busy && !l.closed { // Close keeps the turn
		l.turned.Wait()
	}
	if err := l.unusable(); err != nil {
		return err
	}
	l.busy = true
	return nil
}

func (l *Log) giveTurn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
	l.turned.Broadcast()
}

// unusable needs mu.
func (l *Log) unusable() error {
	switch {
	case l.failure != nil:
		return l.failure
	case l.closed:
		return ErrClosed
	}
	return nil
}

// fail ends the log: what is on disk is unknown from here on, so nothing may be written or acknowledged any more.
func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure == nil {
		l.failure = err
		l.cfg.Logger.Error("raft log failed", slog.String("error", err.Error()))
	}
	return l.failure
}

// Err returns the final error of the log, nil while it is usable.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure
}

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
		g.ahead.touched = noIndex
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

// allGroups lists the groups in ascending order of their numbers, so that records are reproducible.
func (l *Log) allGroups() []*Group {
	ids := l.Groups()
	l.groupsMu.RLock()
	defer l.groupsMu.RUnlock()
	groups := make([]*Group, len(ids))
	for i, id := range ids {
		groups[i] = l.groups[id]
	}
	return groups
}

// Flush makes everything durable that Append and Truncate have kept in memory.
func (l *Log) Flush() error {
	if err := l.takeTurn(); err != nil {
		return err
	}
	defer l.giveTurn()
	return l.writePending()
}

// Close writes what is pending and a last record that proves the one before it, and releases the directory. After
// a failure it writes nothing and returns that failure.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.closed = true
	l.turned.Broadcast()
	for l.busy {
		l.turned.Wait()
	}
	l.busy = true // for ever
	err := l.failure
	l.mu.Unlock()

	close(l.stop)
	l.stopped.Wait()
	if err == nil {
		err = l.writePending()
	}
	if err == nil && l.fits(0, true) {
		err = l.writeRecord(nil)
	}
	l.mu.Lock()
	queue := l.queue
	l.queue = nil
	failAll(queue, ErrClosed)
	for _, r := range queue {
		r.done = true
	}
	l.turned.Broadcast()
	l.mu.Unlock()
	return errors.Join(err, l.closeFiles())
}

func (l *Log) closeFiles() error {
	l.segmentsMu.Lock()
	defer l.segmentsMu.Unlock()
	var errs []error
	for _, s := range l.segments {
		errs = append(errs, s.close())
	}
	l.segments = nil
	return errors.Join(append(errs, l.directory.Close())...)
}
