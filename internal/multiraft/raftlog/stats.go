package raftlog

// Stats is what the log has done since Open, and what it holds now.
type Stats struct {
	Groups        int
	Segments      int
	SpareSegments int
	Bytes         int64 // size of the segments, spares apart
	LiveBytes     int64 // of them, what a restart needs
	CacheBytes    int64 // memory of cached entries, about

	Syncs          uint64 // of records
	Records        uint64
	AppendedBytes  uint64 // of records, with their headers
	RewrittenBytes uint64 // of entries that were moved to free a segment
	FreedSegments  uint64
	CacheHits      uint64 // entries served from memory
	CacheMisses    uint64 // entries read from the segments
	PastPageCache  bool   // records go past the page cache of the operating system
}

// Stats returns the current figures.
func (l *Log) Stats() Stats {
	s := Stats{
		Groups:         len(l.Groups()),
		SpareSegments:  l.spares.count(),
		Syncs:          l.syncs.Load(),
		Records:        l.records.Load(),
		AppendedBytes:  l.appended.Load(),
		RewrittenBytes: l.rewritten.Load(),
		FreedSegments:  l.freed.Load(),
		CacheHits:      l.hits.Load(),
		CacheMisses:    l.misses.Load(),
		PastPageCache:  l.pastCache.Load(),
	}
	l.state.Lock()
	defer l.state.Unlock()
	s.CacheBytes = l.cacheBytes
	l.segmentsMu.RLock()
	defer l.segmentsMu.RUnlock()
	s.Segments = len(l.segments)
	for _, segment := range l.segments {
		s.Bytes += segment.header.size
		s.LiveBytes += segment.live
	}
	return s
}

// MaxEntryBytes is the largest Data of an entry; Append refuses a larger one.
func (l *Log) MaxEntryBytes() int64 { return l.cfg.MaxEntryBytes }
