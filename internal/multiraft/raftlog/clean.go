package raftlog

import (
	"errors"
	"fmt"
	"log/slog"

	raftpb "go.etcd.io/raft/v3/raftpb"
)

// rewriteChunkBytes is about how much one rewrite record moves, so that appends wait no longer for it than for
// one of their own.
const rewriteChunkBytes = 1 << 20

// tend is the background goroutine: it keeps spare files ready and frees segments.
func (l *Log) tend() {
	for {
		select {
		case <-l.stop:
			return
		case <-l.wake:
		}
		l.wanted.Store(false)
		l.fillSpares()
		l.clean()
		l.fillSpares()
	}
}

// tendLater wakes the background goroutine, if there is one.
func (l *Log) tendLater() {
	if !l.cfg.Background {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default: // it is awake already
	}
}

// tendSoon lets what may be free be cleaned: in the background, or now when there is none.
func (l *Log) tendSoon() {
	switch {
	case l.crowded.Load() && l.crowded.Swap(false):
		l.clean()
	case !l.wanted.Load():
	case l.cfg.Background:
		l.tendLater()
	case l.wanted.Swap(false):
		l.clean()
	}
}

// isCrowded reports whether the background goroutine has fallen so far behind that appends must wait for it: more
// than twice the quiet number of segments, less than a quarter of which is live.
func (l *Log) isCrowded() bool {
	l.state.Lock()
	defer l.state.Unlock()
	live, room := l.usage()
	return len(l.segments) > 2*l.cfg.QuietSegments && 4*live < room
}

// usage returns how many bytes are live and how many the segments have room for. It needs state and either the
// turn or segmentsMu.
func (l *Log) usage() (live, room int64) {
	for _, s := range l.segments {
		live += s.live
		room += capacityOf(s.header.size)
	}
	return live, room
}

// clean frees segments from the oldest on until nothing is to be gained, and goes round the log at most once.
func (l *Log) clean() {
	l.cleaning.Lock()
	defer l.cleaning.Unlock()
	l.segmentsMu.RLock()
	rounds := len(l.segments)
	l.segmentsMu.RUnlock()
	for range rounds {
		s := l.victim()
		if s == nil {
			return
		}
		err := l.rewrite(s)
		if err == nil {
			err = l.free(s)
		}
		if err != nil {
			if !errors.Is(err, ErrClosed) {
				l.cfg.Logger.Warn("raft log could not free a segment",
					slog.Uint64("segment", s.header.sequence), slog.String("error", err.Error()))
			}
			return
		}
	}
}

// victim returns the oldest segment when it is time to free it: nothing is live in it; or there are more than
// the quiet number, and less than half of it, or of all segments together, is live. The last rule bounds the log
// to about twice what is live even when a large, idle group fills the oldest segment.
func (l *Log) victim() *segment {
	l.state.Lock()
	defer l.state.Unlock()
	l.segmentsMu.RLock()
	defer l.segmentsMu.RUnlock()
	if len(l.segments) < 2 {
		return nil
	}
	oldest := l.segments[0]
	if oldest.live == 0 {
		return oldest
	}
	if len(l.segments) <= l.cfg.QuietSegments {
		return nil
	}
	live, room := l.usage()
	if 2*oldest.live < capacityOf(oldest.header.size) || 2*live < room {
		return oldest
	}
	return nil
}

// candidate is an entry that was live in the segment to be freed.
type candidate struct {
	group *Group
	index uint64
	meta  entryMeta
}

// rewrite copies the live entries of a closed segment to the end of the log, in several records.
func (l *Log) rewrite(s *segment) error {
	candidates := l.candidates(uint32(s.header.sequence))
	for len(candidates) > 0 {
		n, err := l.rewriteChunk(candidates)
		if err != nil {
			return err
		}
		candidates = candidates[n:]
	}
	return nil
}

// candidates lists the live entries of a segment, group by group. No entry is added to a closed segment.
func (l *Log) candidates(sequence uint32) []candidate {
	var found []candidate
	for _, g := range l.allGroups() {
		g.mu.RLock()
		for i := range g.metas {
			if g.metas[i].segment == sequence {
				found = append(found, candidate{group: g, index: g.marker.Index + 1 + uint64(i), meta: g.metas[i]})
			}
		}
		g.mu.RUnlock()
	}
	return found
}

// rewriteChunk moves about rewriteChunkBytes of the candidates and returns how many it has dealt with.
func (l *Log) rewriteChunk(candidates []candidate) (int, error) {
	if err := l.takeTurn(); err != nil {
		return 0, err
	}
	defer l.giveTurn()
	limit := min(int64(rewriteChunkBytes), capacityOf(l.cfg.SegmentBytes)/2)
	var ops []op
	size, n := int64(0), 0
	for ; n < len(candidates); n++ {
		c := &candidates[n]
		if n > 0 && size+int64(c.meta.size) > limit {
			break
		}
		entry, err := l.load(c)
		if err != nil {
			return 0, err
		}
		if entry == nil {
			continue // dropped meanwhile
		}
		size += int64(c.meta.size)
		if last := len(ops) - 1; last >= 0 && ops[last].group == c.group &&
			ops[last].entries[len(ops[last].entries)-1].GetIndex()+1 == c.index {
			ops[last].entries = append(ops[last].entries, entry)
			ops[last].from = append(ops[last].from, c.meta)
			continue
		}
		ops = append(ops, op{
			kind: sectionRewrite, group: c.group, entries: []*raftpb.Entry{entry}, from: []entryMeta{c.meta},
		})
	}
	if len(ops) == 0 {
		return n, nil
	}
	return n, l.writeCleaning(ops, false)
}

func (l *Log) writeCleaning(ops []op, reserved bool) error {
	l.writer.cleaning = true
	defer func() { l.writer.cleaning = false }()
	return l.writeOps(ops, reserved)
}

// load returns the entry of a candidate, nil when it is not live any more.
func (l *Log) load(c *candidate) (*raftpb.Entry, error) {
	g := c.group
	g.mu.RLock()
	live := c.index > g.marker.Index && c.index <= g.last() && *g.meta(c.index) == c.meta
	var entry *raftpb.Entry
	if cachedFrom := g.last() + 1 - uint64(len(g.cached)); live && c.index >= cachedFrom {
		entry = g.cached[c.index-cachedFrom]
	}
	g.mu.RUnlock()
	if !live || entry != nil {
		return entry, nil
	}
	loaded := make([]*raftpb.Entry, 1)
	err := l.read(g.id, c.index, []entryMeta{c.meta}, loaded)
	return loaded[0], err
}

// free removes the oldest segment from the log. First a record with everything that only it knows, and with the new
// beginning of the log, is made durable; then the file goes.
func (l *Log) free(s *segment) error {
	if err := l.takeTurn(); err != nil {
		return err
	}
	defer l.giveTurn()
	w := &l.writer
	sequence := uint32(s.header.sequence)
	groups := l.allGroups()
	l.state.Lock()
	var ops []op
	for _, g := range groups {
		if g.hardSegment == sequence {
			ops = append(ops, op{kind: sectionHard, group: g, hard: g.hard})
		}
		if g.markSegment == sequence || g.dirtyMarker {
			ops = append(ops, op{kind: sectionMarker, group: g, marker: g.marker})
		}
	}
	l.state.Unlock()
	ops = append(ops, op{kind: sectionFree, oldest: s.header.sequence + 1})
	if err := l.writeCleaning(ops, true); err != nil {
		return err
	}
	l.state.Lock()
	live := s.live
	l.state.Unlock()
	if live != 0 {
		return l.fail(fmt.Errorf("raftlog: %d bytes are live in segment %d, which is freed: the program is wrong",
			live, sequence))
	}
	w.oldest = s.header.sequence + 1
	l.segmentsMu.Lock()
	l.segments = append(l.segments[:0:0], l.segments[1:]...)
	l.segmentsMu.Unlock()
	if err := s.close(); err != nil {
		return l.fail(fmt.Errorf("raftlog: close %s: %w", s.path, err))
	}
	if err := l.retire(s.path, s.header.size); err != nil {
		return l.fail(err)
	}
	l.freed.Add(1)
	l.cfg.Logger.Debug("raft log freed a segment", slog.Uint64("segment", s.header.sequence))
	return nil
}
