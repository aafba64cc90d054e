package flush

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// The bounds of one merge.
const (
	smallRows    = SegmentRows / 2   // a segment with fewer rows, and
	smallBytes   = segmentBytes / 4  // fewer bytes, is small: two of them make one
	manySmall    = 8                 // are worth a merge by themselves
	mergeDepth   = 32                // segments that are open at once, each with a block of every column in memory
	mergeInputs  = 256               // segments of a merge
	mergeRows    = 128 * SegmentRows // of a merge
	rewriteRatio = 4                 // rows that a light merge reads for each one in a small segment, at most
)

// run is a stretch of keys whose segments overlap none outside of it.
type run struct {
	segments []*commandv1.Segment
	parts    int // stretches that do not overlap each other
	small    int // of the segments
	forget   bool
	high     []byte
}

func isSmall(s *commandv1.Segment) bool {
	return s.GetRows() < smallRows && s.GetSizeBytes() < smallBytes
}

func (r *run) add(s *commandv1.Segment, beforeMicros int64) {
	if isSmall(s) {
		r.small++
	}
	r.forget = r.forget || manifest.Forgettable(s, beforeMicros)
	if r.segments = append(r.segments, s); bytes.Compare(s.GetMaxKey(), r.high) > 0 {
		r.high = s.GetMaxKey()
	}
}

// join puts another run behind this one.
func (r *run) join(o *run) {
	r.segments, r.parts, r.small = append(r.segments, o.segments...), r.parts+o.parts, r.small+o.small
	r.forget, r.high = r.forget || o.forget, o.high
}

// overlaps reports whether segments of the run share keys, so that some versions may be dead.
func (r *run) overlaps() bool { return len(r.segments) > r.parts }

// Worth reports whether a light compaction of a scope would find something to do.
func Worth(segments []*commandv1.Segment, beforeMicros int64) bool {
	return choose(segments, beforeMicros, true) != nil
}

// Mergeable reports whether a compaction that is not light would find something to do.
func Mergeable(segments []*commandv1.Segment, beforeMicros int64) bool {
	return choose(segments, beforeMicros, false) != nil
}

// choose picks the segments of a scope that are merged next; nil when there is nothing to do. Deletions from before a time are
// to be forgotten. Light leaves what costs more than it gains by now.
func choose(segments []*commandv1.Segment, beforeMicros int64, light bool) []*commandv1.Segment {
	sorted := slices.Clone(segments)
	slices.SortFunc(sorted, func(a, b *commandv1.Segment) int {
		return cmp.Or(bytes.Compare(a.GetMinKey(), b.GetMinKey()), cmp.Compare(a.GetNumber(), b.GetNumber()))
	})
	var at *run // what has something to do and lies side by side
	for i := 0; i < len(sorted); {
		next := &run{parts: 1}
		for ; i < len(sorted) && (len(next.segments) == 0 || bytes.Compare(sorted[i].GetMinKey(), next.high) <= 0); i++ {
			next.add(sorted[i], beforeMicros)
		}
		idle := len(next.segments) == 1 && next.small == 0 && !next.forget
		switch {
		case idle:
		case at == nil:
			at = next
		default:
			at.join(next)
		}
		if at != nil && (idle || i == len(sorted)) {
			if picked := at.pick(light); picked != nil {
				return picked
			}
			at = nil
		}
	}
	return nil
}

// pick picks what of a run is merged.
func (r *run) pick(light bool) []*commandv1.Segment {
	if len(r.segments) == 1 && !r.forget {
		return nil
	}
	picked := r.segments
	if light && !r.forget {
		if picked = r.pickLight(); picked == nil {
			return nil
		}
	}
	if depth(picked) > mergeDepth {
		picked = slices.Clone(picked)
		slices.SortStableFunc(picked, func(a, b *commandv1.Segment) int { return cmp.Compare(a.GetRows(), b.GetRows()) })
		picked = picked[:mergeDepth]
	}
	rows := uint64(0)
	for i, s := range picked {
		if rows += s.GetRows(); i > 1 && (i == mergeInputs || rows > mergeRows) {
			return picked[:i]
		}
	}
	return picked
}

// pickLight picks all when enough of it is small, else the small ones when there are many.
func (r *run) pickLight() []*commandv1.Segment {
	if r.small < manySmall && (!r.overlaps() || len(r.segments) < manySmall) {
		return nil
	}
	var small []*commandv1.Segment
	rows, smallRows := uint64(0), uint64(0)
	for _, s := range r.segments {
		rows += s.GetRows()
		if isSmall(s) {
			small, smallRows = append(small, s), smallRows+s.GetRows()
		}
	}
	switch {
	case rows <= rewriteRatio*smallRows || depth(r.segments) > mergeDepth:
		return r.segments
	case len(small) >= manySmall:
		return small
	}
	return nil
}

// depth is the most segments that share a key.
func depth(segments []*commandv1.Segment) int {
	type edge struct {
		key []byte
		end bool
	}
	edges := make([]edge, 0, 2*len(segments))
	for _, s := range segments {
		edges = append(edges, edge{s.GetMinKey(), false}, edge{s.GetMaxKey(), true})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		switch { // both bounds belong to a segment
		case a.end == b.end:
			return 0
		case b.end:
			return -1
		}
		return 1
	})
	most, now := 0, 0
	for _, e := range edges {
		if e.end {
			now--
			continue
		}
		now++
		most = max(most, now)
	}
	return most
}
