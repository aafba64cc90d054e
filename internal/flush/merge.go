package flush

import (
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// merge gives the newest versions that some segments of a scope hold, file by file, without the deletions that nothing
// needs any more. Its memory is a block of every segment that is open.
type merge struct {
	cursor       *cold.Cursor
	outside      []*commandv1.Segment // of the scope, that are not merged
	beforeMicros int64                // deletions from before it may go
	ages         *commandv1.Segment   // knows when rows of the merged segments were written
	row          row
	taken        int64 // of the file at hand
	forgotten    int64 // deletions that went
	ended        bool
}

// openMerge begins to merge segments of a view. A deletion may go when it was made before beforeMicros.
func openMerge(view *cold.View, t *schema.Table, merged []*commandv1.Segment, beforeMicros, nowMicros int64) *merge {
	positions := make([]int, len(t.Columns))
	for i := range positions {
		positions[i] = i
	}
	m := &merge{
		cursor: view.CursorOf(merged, positions), beforeMicros: beforeMicros, row: row{values: make([]datum.Datum, len(t.Columns))},
		ages: &commandv1.Segment{Ages: manifest.JoinAges(merged, beforeMicros, nowMicros), CreatedMicros: nowMicros},
	}
	inside := make(map[uint64]bool, len(merged))
	for _, s := range merged {
		inside[s.GetNumber()] = true
	}
	for _, s := range view.Manifest().GetSegments() {
		if !inside[s.GetNumber()] {
			m.outside = append(m.outside, s)
		}
	}
	return m
}

// read implements source.
func (m *merge) read(sizeBytes int64) (*row, error) {
	if m.taken == SegmentRows || sizeBytes >= segmentBytes {
		return nil, nil
	}
	for {
		ok, err := m.cursor.Next(nil)
		if m.ended = !ok && err == nil; !ok || err != nil {
			return nil, err
		}
		key, err := m.cursor.Key()
		if err != nil {
			return nil, err
		}
		seq, err := m.cursor.Seq()
		if err != nil {
			return nil, err
		}
		deleted, err := m.cursor.Deleted()
		if err != nil {
			return nil, err
		}
		if deleted && !m.needed(key, seq) {
			m.forgotten++
			continue
		}
		if err = m.cursor.Fill(m.row.values); err != nil {
			return nil, err
		}
		m.row.key, m.row.seq, m.row.deleted = key, seq, deleted
		m.taken++
		return &m.row, nil
	}
}

// needed reports whether a deletion must stay: it is young, or may hide a version in a segment that is not merged. Hot
// versions need none: the newest version of a key is the hot one, if there is one.
func (m *merge) needed(key []byte, seq uint64) bool {
	if manifest.WrittenBefore(m.ages, seq) > m.beforeMicros {
		return true
	}
	for _, s := range m.outside {
		if s.GetMinSeq() < seq && manifest.Covers(s, key) {
			return true
		}
	}
	return false
}

// nextFile begins another file.
func (m *merge) nextFile() { m.taken = 0 }

func (m *merge) close() error { return m.cursor.Close() }
