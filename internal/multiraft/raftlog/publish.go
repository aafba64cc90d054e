package raftlog

import (
	raftpb "go.etcd.io/raft/v3/raftpb"
)

// publish makes what is durable visible.
func (l *Log) publish(ops []op) {
	l.state.Lock()
	defer l.state.Unlock()
	sequence := uint32(l.writer.active.header.sequence)
	for i := range ops {
		o := &ops[i]
		g := o.group
		if g == nil {
			continue
		}
		g.mu.Lock()
		switch o.kind {
		case sectionHard:
			o.hard.Commit = max(o.hard.Commit, g.hard.Commit)
			g.hard = o.hard
			l.moveState(&g.hardSegment, sequence, hardSectionBytes)
		case sectionReset:
			l.dropSuffix(g, 0)
			g.marker = o.marker
			g.hard.Commit = max(g.hard.Commit, o.marker.Index)
			l.moveState(&g.markSegment, sequence, markerSectionBytes)
		case sectionMarker:
			l.moveState(&g.markSegment, sequence, markerSectionBytes)
		case sectionEntries:
			l.addEntries(g, o.entries, o.metas)
		case sectionRewrite:
			l.moveEntries(g, o)
		case sectionFree:
		}
		g.mu.Unlock()
	}
	l.evict()
}

// moveState accounts for a hard state or marker whose newest copy is now in another segment. It needs state.
func (l *Log) moveState(where *uint32, sequence uint32, bytes int64) {
	l.addLive(*where, -bytes)
	*where = sequence
	l.addLive(sequence, bytes)
}

// addLive needs state. Segment zero is no segment.
func (l *Log) addLive(sequence uint32, bytes int64) {
	if sequence == 0 {
		return
	}
	if s := l.find(sequence); s != nil {
		s.live += bytes
	}
}

// addEntries needs state and g.mu.
func (l *Log) addEntries(g *Group, entries []*raftpb.Entry, metas []entryMeta) {
	first := entries[0].GetIndex()
	l.dropSuffix(g, first)
	g.metas = append(g.metas, metas...)
	live := int64(0)
	for i := range metas {
		live += metas[i].footprint()
		g.bytes += uint64(metas[i].size)
	}
	l.addLive(metas[0].segment, live)
	l.cacheEntries(g, entries)
}

// moveEntries points entries to their copies, unless they were dropped meanwhile. It needs state and g.mu.
func (l *Log) moveEntries(g *Group, o *op) {
	for i, entry := range o.entries {
		index := entry.GetIndex()
		if index <= g.marker.Index || index > g.last() {
			continue
		}
		if m := g.meta(index); *m == o.from[i] {
			l.addLive(m.segment, -m.footprint())
			*m = o.metas[i]
			l.addLive(m.segment, m.footprint())
			l.rewritten.Add(uint64(m.size))
		}
	}
}

// dropSuffix drops the entries from index on. It needs state and g.mu.
func (l *Log) dropSuffix(g *Group, index uint64) {
	keep := 0
	if index > g.marker.Index {
		keep = int(min(index-g.marker.Index-1, uint64(len(g.metas))))
	}
	l.forget(g, g.metas[keep:])
	dropped := len(g.metas) - keep
	g.metas = g.metas[:keep]
	l.uncacheNewest(g, dropped)
}

// dropPrefix drops the entries up to the marker, which is behind the old one. It needs state and g.mu.
func (l *Log) dropPrefix(g *Group, marker Marker) {
	count := int(marker.Index - g.marker.Index)
	l.forget(g, g.metas[:count])
	g.metas = g.metas[count:]
	if len(g.metas) == 0 {
		g.metas = nil
	}
	g.marker = marker
	g.hard.Commit = max(g.hard.Commit, marker.Index)
	if surplus := len(g.cached) - len(g.metas); surplus > 0 {
		l.uncacheOldest(g, surplus)
	}
}

func (l *Log) forget(g *Group, metas []entryMeta) {
	for i := range metas {
		g.bytes -= uint64(metas[i].size)
		l.addLive(metas[i].segment, -metas[i].footprint())
	}
}
