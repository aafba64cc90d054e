package raftlog

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// HardState is what a replica must remember to keep its word in a group.
type HardState struct {
	Term, Vote uint64
	// Commit is never below the marker: what was compacted or installed was committed.
	Commit uint64
}

// Marker is the position just before the first entry of a log.
type Marker struct{ Index, Term uint64 }

// Group is the log of one group, as far as it is durable. Its methods are cheap, except for Entries that
// are not cached any more, and safe for concurrent use.
type Group struct {
	id  shard.GroupID
	log *Log

	mu     sync.RWMutex // guards the fields up to the next comment; taken after Log.state by writers
	hard   HardState
	marker Marker
	metas  []entryMeta     // metas[0] is the entry at marker.Index+1
	cached []*raftpb.Entry // the newest entries, the last one at the last index
	bytes  uint64          // encoded size of the entries

	// guarded by Log.state
	ahead       ahead
	cachedBytes int64
	hardSegment uint32 // segment with the newest durable hard state; zero when there is none
	markSegment uint32 // segment with the newest durable marker; zero when there is none
	dirtyHard   bool   // hard is newer than what is durable
	dirtyMarker bool   // marker is newer than what is durable
}

// entryMeta is what memory holds of every entry: 24 bytes.
type entryMeta struct {
	term    uint64
	segment uint32
	offset  uint32 // of the entry in its segment file
	size    uint32 // with its header
}

// footprint is what the entry would take if it were rewritten alone. Counting that as live, instead of its
// size, makes sure that rewriting a segment which looks half empty gains something.
func (m entryMeta) footprint() int64 { return int64(m.size) + entriesSectionBytes }

// ahead is the group as it will be once what is being written is durable.
type ahead struct {
	hard   HardState
	marker Marker
	last   uint64
	// touched is the lowest index that the write in flight replaces, noIndex when there is none.
	touched uint64
}

// ID returns the group this log belongs to.
func (g *Group) ID() shard.GroupID { return g.id }

// HardState returns the newest hard state; all zero for a group that never had one.
func (g *Group) HardState() HardState {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.hard
}

// Marker returns the position just before the first entry.
func (g *Group) Marker() Marker {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.marker
}

// FirstIndex returns the index of the first entry, or the one it will have.
func (g *Group) FirstIndex() uint64 { return g.Marker().Index + 1 }

// LastIndex returns the index of the last entry, or of the marker when there is none.
func (g *Group) LastIndex() uint64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.last()
}

// Bytes returns the encoded size of the entries in the log.
func (g *Group) Bytes() uint64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.bytes
}

// Term returns the term of the entry at index. The marker has a term too. It returns raft.ErrCompacted
// below the marker and raft.ErrUnavailable behind the last entry.
func (g *Group) Term(index uint64) (uint64, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	switch {
	case index < g.marker.Index:
		return 0, raft.ErrCompacted
	case index > g.last():
		return 0, raft.ErrUnavailable
	}
	return g.term(index), nil
}

// last needs mu.
func (g *Group) last() uint64 { return g.marker.Index + uint64(len(g.metas)) }

// term needs mu and an index from the marker to the last entry.
func (g *Group) term(index uint64) uint64 {
	if index == g.marker.Index {
		return g.marker.Term
	}
	return g.meta(index).term
}

// meta needs mu and the index of an entry.
func (g *Group) meta(index uint64) *entryMeta { return &g.metas[index-g.marker.Index-1] }

// Entries returns the entries from lo up to but not including hi, as many as fit maxBytes and at least
// one. It returns raft.ErrCompacted when lo is not behind the marker, raft.ErrUnavailable when hi is behind
// the last entry, and a *DamageError when an entry cannot be read back. The entries are shared: the caller must
// not change them.
func (g *Group) Entries(lo, hi, maxBytes uint64) ([]*raftpb.Entry, error) {
	for {
		entries, missing, err := g.snapshot(lo, hi, maxBytes)
		if err != nil || len(missing) == 0 {
			return entries, err
		}
		err = g.log.read(g.id, lo, missing, entries)
		if errors.Is(err, errSegmentGone) {
			continue // the entries were moved or compacted meanwhile; look again
		}
		if err != nil {
			return nil, err
		}
		return entries, nil
	}
}

// snapshot picks the entries of a call. The first len(missing) of them are not cached and still nil.
func (g *Group) snapshot(lo, hi, maxBytes uint64) ([]*raftpb.Entry, []entryMeta, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	switch {
	case lo <= g.marker.Index:
		return nil, nil, raft.ErrCompacted
	case hi > g.last()+1:
		return nil, nil, fmt.Errorf("entries up to %d of %v, last is %d: %w", hi, g.id, g.last(), raft.ErrUnavailable)
	case lo >= hi:
		return nil, nil, nil
	}
	end := lo + 1
	size := wireBytes(lo, g.meta(lo))
	for ; end < hi; end++ {
		size += wireBytes(end, g.meta(end))
		if size > maxBytes {
			break
		}
	}
	entries := make([]*raftpb.Entry, end-lo)
	cachedFrom := g.last() + 1 - uint64(len(g.cached))
	if lo >= cachedFrom {
		copy(entries, g.cached[lo-cachedFrom:])
		g.log.hits.Add(uint64(len(entries)))
		return entries, nil, nil
	}
	if end > cachedFrom {
		copy(entries[cachedFrom-lo:], g.cached)
	}
	first := lo - g.marker.Index - 1
	missing := slices.Clone(g.metas[first : first+min(end, cachedFrom)-lo])
	g.log.hits.Add(uint64(len(entries) - len(missing)))
	g.log.misses.Add(uint64(len(missing)))
	return entries, missing, nil
}

// wireBytes is the size of an entry as protobuf has it, which is what Raft's limits count.
func wireBytes(index uint64, m *entryMeta) uint64 {
	data := uint64(m.size - entryHeaderBytes)
	size := 2 + 1 + varintBytes(m.term) + 1 + varintBytes(index)
	if data > 0 {
		size += 1 + varintBytes(data) + data
	}
	return size
}

func varintBytes(v uint64) uint64 { return uint64(bits.Len64(v|1)+6) / 7 }
