package manifest

import (
	"cmp"
	"slices"

	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// ageSlices is into how many parts the time is cut in which ages are told apart.
const ageSlices = 16

// WrittenBefore is a time, in microseconds, before which the row of a segment with this _seq was written.
func WrittenBefore(s *commandv1.Segment, seq uint64) int64 {
	for _, age := range s.GetAges() {
		if seq <= age.GetSeq() {
			return age.GetMicros()
		}
	}
	return s.GetCreatedMicros()
}

// Forgettable reports whether a segment has deletions that were all made, or whose first was made, before a time.
func Forgettable(s *commandv1.Segment, beforeMicros int64) bool {
	first := s.GetFirstDeletion()
	if first == 0 {
		first = s.GetMaxSeq() // unknown
	}
	return s.GetDeletions() > 0 && WrittenBefore(s, first) <= beforeMicros
}

// JoinAges makes the ages of a segment that takes the place of others. Those up to a time are told apart no more, later ones only
// by the slice of the time since then that they are in; there are never many of them.
func JoinAges(segments []*commandv1.Segment, beforeMicros, nowMicros int64) []*commandv1.SegmentAge {
	var all []*commandv1.SegmentAge
	for _, s := range segments {
		for _, age := range s.GetAges() {
			all = append(all, &commandv1.SegmentAge{Seq: age.GetSeq(), Micros: age.GetMicros()})
		}
		all = append(all, &commandv1.SegmentAge{Seq: s.GetMaxSeq(), Micros: s.GetCreatedMicros()})
	}
	slices.SortFunc(all, func(a, b *commandv1.SegmentAge) int {
		return cmp.Or(cmp.Compare(a.GetSeq(), b.GetSeq()), cmp.Compare(a.GetMicros(), b.GetMicros()))
	})
	// A row with a lower _seq was written earlier, whichever segment it is in.
	for i := len(all) - 2; i >= 0; i-- {
		all[i].Micros = min(all[i].GetMicros(), all[i+1].GetMicros())
	}
	slice := func(age *commandv1.SegmentAge) int64 {
		if age.GetMicros() <= beforeMicros || nowMicros <= beforeMicros {
			return -1
		}
		return min(ageSlices, (age.GetMicros()-beforeMicros)/((nowMicros-beforeMicros)/ageSlices+1))
	}
	var kept []*commandv1.SegmentAge
	for i, age := range all {
		if i+1 == len(all) || slice(age) != slice(all[i+1]) {
			kept = append(kept, age)
		}
	}
	return kept
}
