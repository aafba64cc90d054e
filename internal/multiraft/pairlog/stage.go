package pairlog

import (
	"fmt"
	"math"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/multiraft/raftlog"
)

type entries []*raftpb.Entry

// noIndex is larger than every index of an entry.
const noIndex = math.MaxUint64

// stageAll checks the updates of a call one after the other. It needs mu, as all in this file.
func (l *Log) stageAll(updates []raftlog.Update) ([]*stage, error) {
	var stages []*stage
	byGroup := make(map[*Group]*stage, len(updates))
	for i := range updates {
		g := l.Group(updates[i].Group)
		s := byGroup[g]
		if s == nil {
			s = &stage{group: g, hard: g.hard, marker: g.marker, keep: g.last()}
			byGroup[g] = s
			stages = append(stages, s)
		}
		if err := s.add(&updates[i], l.cfg.MaxEntryBytes); err != nil {
			return nil, fmt.Errorf("group %v: %w", g.id, err)
		}
	}
	return stages, nil
}

func (s *stage) add(u *raftlog.Update, maxEntryBytes int64) error {
	if u.Reset != nil {
		s.reset, s.marker, s.keep, s.tail = true, *u.Reset, u.Reset.Index, nil
		s.hard.Commit = max(s.hard.Commit, u.Reset.Index)
	}
	if err := s.addEntries(u.Entries, maxEntryBytes); err != nil {
		return err
	}
	if u.Hard != nil {
		switch {
		case u.Hard.Term < s.hard.Term:
			return fmt.Errorf("%w: term would go back from %d to %d", raftlog.ErrInvalidUpdate, s.hard.Term, u.Hard.Term)
		case u.Hard.Term == s.hard.Term && s.hard.Vote != 0 && u.Hard.Vote != s.hard.Vote:
			return fmt.Errorf("%w: vote in term %d would change from %d to %d", raftlog.ErrInvalidUpdate, s.hard.Term, s.hard.Vote, u.Hard.Vote)
		}
		commit := max(s.hard.Commit, u.Hard.Commit)
		s.hard = *u.Hard
		s.hard.Commit = commit
	}
	if s.hard.Commit > s.last() {
		return fmt.Errorf("%w: commit index %d is behind the last entry %d", raftlog.ErrInvalidUpdate, s.hard.Commit, s.last())
	}
	return nil
}

func (s *stage) addEntries(all []*raftpb.Entry, maxEntryBytes int64) error {
	for i, e := range all {
		switch {
		case e == nil:
			return fmt.Errorf("%w: entry %d of the update is nil", raftlog.ErrInvalidUpdate, i)
		case int64(len(e.GetData())) > maxEntryBytes:
			return fmt.Errorf("%w: entry %d has %d bytes, at most %d are allowed", raftlog.ErrEntryTooLarge, e.GetIndex(), len(e.GetData()), maxEntryBytes)
		case i > 0 && e.GetIndex() != all[i-1].GetIndex()+1:
			return fmt.Errorf("%w: entry %d follows entry %d", raftlog.ErrInvalidUpdate, e.GetIndex(), all[i-1].GetIndex())
		case i > 0 && e.GetTerm() < all[i-1].GetTerm():
			return fmt.Errorf("%w: entry %d has term %d after term %d", raftlog.ErrInvalidUpdate, e.GetIndex(), e.GetTerm(), all[i-1].GetTerm())
		}
	}
	if len(all) > 0 && all[0].GetIndex() <= s.marker.Index {
		all = all[min(s.marker.Index-all[0].GetIndex()+1, uint64(len(all))):]
	}
	if len(all) == 0 {
		return nil
	}
	first := all[0].GetIndex()
	if first > s.last()+1 {
		return fmt.Errorf("%w: entry %d leaves a gap after entry %d", raftlog.ErrInvalidUpdate, first, s.last())
	}
	for _, e := range all {
		if index := e.GetIndex(); index <= s.hard.Commit && index <= s.last() && s.term(index) != e.GetTerm() {
			return fmt.Errorf("%w: committed entry %d of term %d would be replaced by one of term %d",
				raftlog.ErrInvalidUpdate, index, s.term(index), e.GetTerm())
		}
	}
	if first <= s.keep {
		s.keep, s.tail = first-1, nil
	}
	s.tail = append(s.tail[:first-s.keep-1:first-s.keep-1], all...)
	return nil
}

// settle makes memory what the batch made the store.
func (s *stage) settle() {
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.reset {
		g.dropBehind(g.marker.Index)
		g.marker, g.stored = s.marker, s.marker
	}
	g.dropBehind(s.keep)
	for _, e := range s.tail {
		g.metas = append(g.metas, entryMeta{term: e.GetTerm(), data: uint32(len(e.GetData()))}) //nolint:gosec // at most MaxEntryBytes
		g.bytes += overheadBytes + uint64(len(e.GetData()))
	}
	g.hard = s.hard
	if g.log.cfg.CacheBytes > 0 {
		g.cached = append(g.cached, s.tail...)
		g.log.cached.Add(cachedBytes(s.tail))
	}
}

// dropBehind forgets the entries behind an index. It needs mu of both.
func (g *Group) dropBehind(index uint64) {
	if index >= g.last() {
		return
	}
	count := g.last() - index
	for _, m := range g.metas[uint64(len(g.metas))-count:] {
		g.bytes -= overheadBytes + uint64(m.data)
	}
	g.metas = g.metas[:uint64(len(g.metas))-count]
	keep := uint64(len(g.cached)) - min(count, uint64(len(g.cached)))
	g.log.cached.Add(-cachedBytes(g.cached[keep:]))
	clear(g.cached[keep:])
	g.cached = g.cached[:keep]
}

// dropFront forgets the entries up to a marker. It needs mu of both.
func (g *Group) dropFront(marker raftlog.Marker) {
	count := marker.Index - g.marker.Index
	for _, m := range g.metas[:count] {
		g.bytes -= overheadBytes + uint64(m.data)
	}
	g.metas = append([]entryMeta(nil), g.metas[count:]...)
	g.marker = marker
	if len(g.cached) > len(g.metas) {
		g.uncache(len(g.cached) - len(g.metas))
	}
}

// uncache forgets the oldest cached entries. It needs mu of both.
func (g *Group) uncache(count int) {
	g.log.cached.Add(-cachedBytes(g.cached[:count]))
	g.cached = append(entries(nil), g.cached[count:]...)
}

func cachedBytes(some entries) int64 {
	total := int64(0)
	for _, e := range some {
		total += int64(len(e.GetData())) + 128
	}
	return total
}

// evict brings the cache back under its budget: who holds most entries gives up the older half. It needs mu.
func (l *Log) evict() {
	for l.cached.Load() > l.cfg.CacheBytes {
		var largest *Group
		for _, id := range l.Groups() {
			if g := l.Group(id); largest == nil || len(g.cached) > len(largest.cached) {
				largest = g
			}
		}
		if largest == nil || len(largest.cached) == 0 {
			return
		}
		largest.mu.Lock()
		largest.uncache((len(largest.cached) + 1) / 2)
		largest.mu.Unlock()
	}
}
