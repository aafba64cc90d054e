package raftlog

import (
	"errors"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// Entries that lie close together are read at once: up to readSpanBytes, over gaps of up to readGapBytes.
const (
	readSpanBytes = 1 << 20
	readGapBytes  = 16 << 10
)

// readSlot holds an entry and what its pointers point to, so that many take one allocation.
type readSlot struct {
	entry       raftpb.Entry
	index, term uint64
	kind        raftpb.EntryType
}

// read fills the first len(metas) of entries, which start at index first, from the segments.
func (l *Log) read(group shard.GroupID, first uint64, metas []entryMeta, entries []*raftpb.Entry) error {
	slots := make([]readSlot, len(metas))
	for at := 0; at < len(metas); {
		end := spanEnd(metas, at)
		if err := l.readSpan(group, first+uint64(at), metas[at:end], slots[at:end]); err != nil {
			return err
		}
		at = end
	}
	for i := range slots {
		entries[i] = &slots[i].entry //nolint:gosec // both have one element for each index asked for
	}
	return nil
}

// spanEnd returns the end of the run of entries from at that one read can cover.
func spanEnd(metas []entryMeta, at int) int {
	first, end := metas[at], at+1
	for ; end < len(metas); end++ {
		previous, next := metas[end-1], metas[end]
		behind := previous.offset + previous.size
		if next.segment != first.segment || next.offset < behind || next.offset-behind > readGapBytes ||
			next.offset+next.size-first.offset > readSpanBytes {
			break
		}
	}
	return end
}

func (l *Log) readSpan(group shard.GroupID, first uint64, metas []entryMeta, slots []readSlot) error {
	s := l.find(metas[0].segment)
	if s == nil {
		return l.gone()
	}
	start, last := metas[0].offset, metas[len(metas)-1]
	buf := make([]byte, last.offset+last.size-start)
	if err := s.readAt(buf, int64(start)); errors.Is(err, errSegmentGone) {
		return l.gone()
	} else if err != nil {
		return err
	}
	for i := range metas {
		m, slot := &metas[i], &slots[i]
		from := m.offset - start
		kind, data, err := decodeEntry(buf[from:from+m.size:from+m.size], group, first+uint64(i), m.term)
		if err != nil {
			return &DamageError{
				Segment: uint64(m.segment), Offset: int64(m.offset),
				Groups: []shard.GroupID{group}, Reason: err.Error(),
			}
		}
		slot.index, slot.term, slot.kind = first+uint64(i), m.term, kind
		slot.entry.Index, slot.entry.Term, slot.entry.Type = &slot.index, &slot.term, &slot.kind
		slot.entry.Data = data
	}
	return nil
}

// gone says why a segment cannot be read: it was freed, or all were closed.
func (l *Log) gone() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	return errSegmentGone
}
