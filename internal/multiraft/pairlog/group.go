package pairlog

import (
	"fmt"
	"math/bits"
	"sync"

	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Group is the log of one group, as far as it is durable. Its methods are cheap, except for Entries that are not cached any
// more, and safe for concurrent use.
type Group struct {
	id  shard.GroupID
	log *Log

	stored  raftlog.Marker // the marker that the store has; guarded by Log.mu, as the next one
	pending bool           // it is among Log.pending

	mu     sync.RWMutex // guards the fields below; taken after Log.mu by writers
	hard   raftlog.HardState
	marker raftlog.Marker
	metas  []entryMeta // metas[0] is the entry at marker.Index+1
	cached entries     // the newest entries, the last one at the last index
	bytes  uint64
}

// entryMeta is what memory holds of every entry.
type entryMeta struct {
	term uint64
	data uint32 // bytes
}

// overheadBytes is what Bytes counts for an entry beside its data, as raftlog does.
const overheadBytes = 20

// ID returns the group this log belongs to.
func (g *Group) ID() shard.GroupID { return g.id }

// HardState returns the newest hard state; all zero for a group that never had one.
func (g *Group) HardState() raftlog.HardState {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.hard
}

// Marker returns the position just before the first entry.
func (g *Group) Marker() raftlog.Marker {
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

// Bytes returns about the size of the entries.
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
	return g.metas[index-g.marker.Index-1].term
}

// picked is what a call of Entries returns. The first of the entries are not cached, and still nil: terms has those that they must have.
type picked struct {
	entries []*raftpb.Entry
	terms   []uint64
}

// pick chooses the entries of a call.
func (g *Group) pick(lo, hi, maxBytes uint64) (picked, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	switch {
	case lo <= g.marker.Index:
		return picked{}, raft.ErrCompacted
	case hi > g.last()+1:
		return picked{}, fmt.Errorf("entries up to %d of %v, last is %d: %w", hi, g.id, g.last(), raft.ErrUnavailable)
	case lo >= hi:
		return picked{}, nil
	}
	end, size := lo+1, g.wireBytes(lo)
	for ; end < hi; end++ {
		if size += g.wireBytes(end); size > maxBytes {
			break
		}
	}
	p := picked{entries: make([]*raftpb.Entry, end-lo)}
	from := max(lo, g.last()+1-uint64(len(g.cached))) // of what is cached
	if from < end {
		copy(p.entries[from-lo:], g.cached[uint64(len(g.cached))-(g.last()+1-from):])
	}
	for index := lo; index < min(from, end); index++ {
		p.terms = append(p.terms, g.term(index))
	}
	g.log.hits.Add(uint64(len(p.entries)) - uint64(len(p.terms)))
	g.log.misses.Add(uint64(len(p.terms)))
	return p, nil
}

// wireBytes is the size of an entry as protobuf has it, which is what Raft's limits count.
func (g *Group) wireBytes(index uint64) uint64 {
	m := g.metas[index-g.marker.Index-1]
	size := 2 + 1 + varintBytes(m.term) + 1 + varintBytes(index)
	if data := uint64(m.data); data > 0 {
		size += 1 + varintBytes(data) + data
	}
	return size
}

func varintBytes(v uint64) uint64 { return uint64(bits.Len64(v|1)+6) / 7 } //nolint:gosec // at most 70
