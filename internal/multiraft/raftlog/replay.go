package raftlog

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// replayed is one group while segments are read.
type replayed struct {
	hard        HardState
	marker      Marker
	runs        runs
	hardSegment uint32
	markSegment uint32
}

// replay rebuilds the groups from records in the order they were written.
type replay struct {
	groups map[shard.GroupID]*replayed
	metas  []entryMeta
	oldest uint64 // the highest value that a free section names
}

func newReplay() *replay { return &replay{groups: make(map[shard.GroupID]*replayed)} }

// record applies a verified payload that starts at offset in its segment.
func (r *replay) record(payload []byte, segment uint32, offset int64) error {
	return decodeSections(payload, func(s *section) error {
		if s.kind == sectionFree {
			r.oldest = max(r.oldest, s.oldest)
			return nil
		}
		g := r.groups[s.group]
		if g == nil {
			g = &replayed{}
			r.groups[s.group] = g
		}
		g.apply(s, segment, r.place(s, segment, offset))
		return nil
	})
}

func (r *replay) place(s *section, segment uint32, offset int64) []entryMeta {
	r.metas = r.metas[:0]
	for _, e := range s.entries {
		r.metas = append(r.metas, entryMeta{
			term: e.term, segment: segment, offset: uint32(offset) + e.offset, size: e.size,
		})
	}
	return r.metas
}

// apply does to a group what publishing the section did when it was written.
func (g *replayed) apply(s *section, segment uint32, metas []entryMeta) {
	switch s.kind {
	case sectionHard:
		commit := max(g.hard.Commit, s.hard.Commit)
		g.hard = s.hard
		g.hard.Commit = commit
		g.hardSegment = segment
	case sectionReset:
		g.runs = nil
		g.marker, g.markSegment = s.marker, segment
		g.hard.Commit = max(g.hard.Commit, s.marker.Index)
	case sectionMarker:
		g.runs = g.runs.cutUpto(s.marker.Index)
		g.marker, g.markSegment = s.marker, segment
		g.hard.Commit = max(g.hard.Commit, s.marker.Index)
	case sectionEntries:
		g.runs = g.runs.cutFrom(s.first).add(s.first, metas)
	case sectionRewrite:
		first := s.first
		if skip := g.marker.Index + 1; first < skip {
			metas = metas[min(skip-first, uint64(len(metas))):]
			first = skip
		}
		g.runs = g.runs.overlay(first, metas)
	case sectionFree:
	}
}

// finish checks that every group is whole.
func (r *replay) finish() error {
	var broken []shard.GroupID
	reason := ""
	for id, g := range r.groups {
		switch {
		case len(g.runs) > 1 || len(g.runs) == 1 && g.runs[0].first != g.marker.Index+1:
			reason = "entries are missing"
		case g.hard.Commit > g.last():
			reason = "committed entries are missing"
		default:
			continue
		}
		broken = append(broken, id)
	}
	if len(broken) == 0 {
		return nil
	}
	slices.Sort(broken)
	return &DamageError{Groups: broken, Reason: reason}
}

func (g *replayed) last() uint64 {
	if len(g.runs) == 0 {
		return g.marker.Index
	}
	return g.runs[len(g.runs)-1].end() - 1
}

// install hands the replayed groups to the log and accounts for what is live.
func (r *replay) install(l *Log) {
	l.state.Lock()
	defer l.state.Unlock()
	for id, from := range r.groups {
		g := l.Group(id)
		g.mu.Lock()
		g.hard, g.marker = from.hard, from.marker
		if len(from.runs) == 1 {
			g.metas = from.runs[0].metas
		}
		for i := range g.metas {
			g.bytes += uint64(g.metas[i].size)
			l.addLive(g.metas[i].segment, g.metas[i].footprint())
		}
		l.moveState(&g.hardSegment, from.hardSegment, hardSectionBytes)
		l.moveState(&g.markSegment, from.markSegment, markerSectionBytes)
		g.ahead = ahead{hard: g.hard, marker: g.marker, last: g.last(), touched: noIndex}
		g.mu.Unlock()
	}
}

// tail is where the valid records of a segment end.
type tail struct {
	offset int64
	last   int64  // where the last record begins; offset when there is none
	number uint64 // of the record that comes next
	closed bool   // the last record is the one that Close writes
	dirty  bool   // a torn record may lie behind offset
}

// scan verifies the records of a segment, whose bytes are in data, from its first record on and calls visit
// for each.
func scan(header segmentHeader, data []byte, visit func(payload []byte, offset int64) error) (tail, error) {
	end := tail{offset: pageBytes, last: pageBytes, number: header.number}
	for end.offset < header.size {
		at := place{store: header.store, sequence: header.sequence, offset: end.offset}
		payload, found, ok := decodeRecord(data[end.offset:], at)
		if !ok || found != end.number {
			break
		}
		if err := visit(payload, end.offset+recordHeaderBytes); err != nil {
			return end, &DamageError{Segment: header.sequence, Offset: end.offset, Reason: err.Error()}
		}
		end.number++
		end.last = end.offset
		end.closed = len(payload) == 0
		end.offset = alignRecord(end.offset + recordHeaderBytes + int64(len(payload)))
	}
	return end, nil
}

// recordBehind looks for a record that was begun after the one that should be at offset. Since a record is synced
// before the next one is begun, it proves that what is at offset was durable once.
func recordBehind(header segmentHeader, data []byte, offset int64, number uint64) bool {
	at := place{store: header.store, sequence: header.sequence}
	for at.offset = offset + recordAlign; at.offset+recordHeaderBytes <= header.size; at.offset += recordAlign {
		b := data[at.offset:]
		// Looking at the number first saves the sums for nearly all of what old records have left.
		ahead := binary.LittleEndian.Uint64(b[16:]) - number
		if ahead == 0 || ahead > uint64(header.size/recordAlign) {
			continue
		}
		if _, ok := decodeRecordHeader(b, at.seed()); ok {
			return true
		}
	}
	return false
}

// affected lists the groups in a record whose payload does not verify, as far as it can still be taken apart.
func affected(header segmentHeader, data []byte, offset int64) []shard.GroupID {
	b := data[offset:]
	h, ok := decodeRecordHeader(b, place{store: header.store, sequence: header.sequence, offset: offset}.seed())
	if !ok || h.length > int64(len(b)-recordHeaderBytes) {
		return nil
	}
	var groups []shard.GroupID
	err := decodeSections(b[recordHeaderBytes:recordHeaderBytes+h.length], func(s *section) error {
		if s.kind != sectionFree {
			groups = append(groups, s.group)
		}
		return nil
	})
	if err != nil {
		return nil
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}

func missing(sequence uint64) error {
	return &DamageError{Segment: sequence, Reason: fmt.Sprintf("the file %s is missing", segmentName(sequence))}
}
