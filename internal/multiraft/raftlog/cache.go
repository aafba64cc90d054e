package raftlog

import "go.etcd.io/raft/v3/raftpb"

// entryOverheadBytes is about what a cached entry takes in memory besides its data.
const entryOverheadBytes = 128

// evictAtLeastBytes is how much a group gives up at a time, so that the search for the largest is rare.
const evictAtLeastBytes = 64 << 10

func cachedSize(entry *raftpb.Entry) int64 { return int64(len(entry.GetData())) + entryOverheadBytes }

// cacheEntries keeps entries that were just appended to g.metas. It needs state and g.mu.
func (l *Log) cacheEntries(g *Group, entries []*raftpb.Entry) {
	if l.cfg.CacheBytes == 0 {
		return
	}
	g.cached = append(g.cached, entries...)
	size := int64(0)
	for _, entry := range entries {
		size += cachedSize(entry)
	}
	g.cachedBytes += size
	l.cacheBytes += size
}

// uncacheNewest forgets the last count entries. It needs state and g.mu.
func (l *Log) uncacheNewest(g *Group, count int) {
	keep := max(len(g.cached)-count, 0)
	l.releaseCached(g, g.cached[keep:])
	g.cached = g.cached[:keep]
}

// uncacheOldest forgets the first count entries. It needs state and g.mu.
func (l *Log) uncacheOldest(g *Group, count int) {
	l.releaseCached(g, g.cached[:count])
	g.cached = g.cached[count:]
	if len(g.cached) == 0 {
		g.cached = nil
	}
}

func (l *Log) releaseCached(g *Group, entries []*raftpb.Entry) {
	size := int64(0)
	for _, entry := range entries {
		size += cachedSize(entry)
	}
	clear(entries)
	g.cachedBytes -= size
	l.cacheBytes -= size
}

// evict brings the cache back under its budget. The group that holds most gives up its oldest entries, so
// that a busy group does not push out the few entries of a quiet one. It needs state.
func (l *Log) evict() {
	for l.cacheBytes > l.cfg.CacheBytes {
		var largest *Group
		l.groupsMu.RLock()
		for _, g := range l.groups {
			if largest == nil || g.cachedBytes > largest.cachedBytes ||
				(g.cachedBytes == largest.cachedBytes && g.id < largest.id) {
				largest = g
			}
		}
		l.groupsMu.RUnlock()
		if largest == nil || len(largest.cached) == 0 {
			return
		}
		largest.mu.Lock()
		need := max(l.cacheBytes-l.cfg.CacheBytes, min(evictAtLeastBytes, l.cfg.CacheBytes/16))
		count := 0
		for ; count < len(largest.cached) && need > 0; count++ {
			need -= cachedSize(largest.cached[count])
		}
		l.uncacheOldest(largest, count)
		largest.mu.Unlock()
	}
}
