package flush

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// modelVersion is a version of a key in a modelled segment.
type modelVersion struct {
	seq     uint64
	deleted bool
}

// scopeModel is a scope whose segments are lists in memory; each row counts for many.
type scopeModel struct {
	manifest commandv1.Manifest
	rows     map[uint64]map[string]modelVersion // by number of the segment
	now      int64
	weight   uint64
}

func (s *scopeModel) add(rows map[string]modelVersion, ages []*commandv1.SegmentAge) {
	if len(rows) == 0 {
		return
	}
	found := &commandv1.Segment{Number: s.manifest.GetNextNumber(), Rows: uint64(len(rows)) * s.weight, CreatedMicros: s.now, Ages: ages, MinSeq: 1 << 40}
	for key, v := range rows {
		if len(found.GetMinKey()) == 0 || key < string(found.GetMinKey()) {
			found.MinKey = []byte(key)
		}
		if key > string(found.GetMaxKey()) {
			found.MaxKey = []byte(key)
		}
		found.MinSeq, found.MaxSeq = min(found.GetMinSeq(), v.seq), max(found.GetMaxSeq(), v.seq)
		if v.deleted {
			if found.Deletions++; found.GetDeletions() == 1 || v.seq < found.GetFirstDeletion() {
				found.FirstDeletion = v.seq
			}
		}
	}
	s.manifest.Segments = append(s.manifest.Segments, found)
	s.rows[found.GetNumber()] = rows
	s.manifest.NextNumber = found.GetNumber() + 1
}

// merge replaces segments as a Worker does.
func (s *scopeModel) merge(chosen []*commandv1.Segment, before int64) {
	m := &merge{beforeMicros: before, ages: &commandv1.Segment{Ages: manifest.JoinAges(chosen, before, s.now), CreatedMicros: s.now}}
	newest := map[string]modelVersion{}
	for _, found := range s.manifest.GetSegments() {
		if !slices.Contains(chosen, found) {
			m.outside = append(m.outside, found)
			continue
		}
		for key, v := range s.rows[found.GetNumber()] {
			if v.seq > newest[key].seq {
				newest[key] = v
			}
		}
		delete(s.rows, found.GetNumber())
	}
	s.manifest.Segments = m.outside
	var keys []string
	for key, v := range newest {
		if !v.deleted || m.needed([]byte(key), v.seq) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for part := range slices.Chunk(keys, int(SegmentRows/s.weight)) {
		rows := map[string]modelVersion{}
		for _, key := range part {
			rows[key] = newest[key]
		}
		s.add(rows, m.ages.GetAges())
	}
}

// live is what a reader sees.
func (s *scopeModel) live() string {
	newest := map[string]modelVersion{}
	for _, rows := range s.rows {
		for key, v := range rows {
			if v.seq > newest[key].seq {
				newest[key] = v
			}
		}
	}
	var seen []string
	for key, v := range newest {
		if !v.deleted {
			seen = append(seen, fmt.Sprint(key, "@", v.seq))
		}
	}
	slices.Sort(seen)
	return fmt.Sprint(seen)
}

// TestChooseEndsAndHidesNothing merges random scopes for as long as there is something to do: readers never see a difference, it
// ends, and afterwards no segments overlap, no small ones lie side by side and no deletion is there that need not be.
func TestChooseEndsAndHidesNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 3))
			s := &scopeModel{rows: map[uint64]map[string]modelVersion{}, weight: []uint64{64, 1024, SegmentRows / 4}[r.IntN(3)], now: 1000}
			seq, span := uint64(1), 10+r.IntN(900)
			for range 1 + r.IntN(90) {
				rows := map[string]modelVersion{}
				low := r.IntN(span)
				for range 1 + r.IntN(int(SegmentRows/s.weight)) {
					rows[fmt.Sprintf("%04d", low+r.IntN(1+r.IntN(span)))] = modelVersion{seq, r.IntN(4) == 0}
					seq++
				}
				s.now += 100
				s.add(rows, nil)
				if r.IntN(10) == 0 {
					s.run(t, s.now-int64(r.IntN(2000)), true)
				}
			}
			before := s.now - int64(r.IntN(5000))
			s.run(t, before, false)
			if r.IntN(2) == 0 {
				before = s.now
				s.run(t, before, false)
			}
			found := s.manifest.GetSegments()
			if d := depth(found); d > 1 {
				t.Errorf("%d segments overlap", d)
			}
			for _, one := range found {
				for key, v := range s.rows[one.GetNumber()] {
					if v.deleted && manifest.WrittenBefore(one, v.seq) <= before {
						t.Errorf("the deletion of %s is still there", key)
					}
				}
			}
		})
	}
}

func (s *scopeModel) run(t *testing.T, before int64, light bool) {
	t.Helper()
	want := s.live()
	for n := 0; ; n++ {
		chosen := choose(s.manifest.GetSegments(), before, light)
		if chosen == nil {
			return
		}
		if n > 200 {
			t.Fatalf("it does not end; %d segments, %d chosen", len(s.manifest.GetSegments()), len(chosen))
		}
		if d := depth(chosen); d > mergeDepth || len(chosen) > mergeInputs {
			t.Fatalf("%d segments, %d of which overlap, are merged at once", len(chosen), d)
		}
		s.merge(chosen, before)
		if got := s.live(); got != want {
			t.Fatalf("readers see another thing after a merge of %d segments\ngot  %.300s\nwant %.300s", len(chosen), got, want)
		}
	}
}

// TestLightLeavesWhatCostsMoreThanItGains looks at a large table to which small segments come.
func TestLightLeavesWhatCostsMoreThanItGains(t *testing.T) {
	t.Parallel()
	var all []*commandv1.Segment
	for n := range uint64(40) { // a large table, sorted
		all = append(all, &commandv1.Segment{Number: n, Rows: SegmentRows, MinKey: fmt.Appendf(nil, "%02d", n), MaxKey: fmt.Appendf(nil, "%02dz", n), MaxSeq: 1})
	}
	for n := range uint64(manySmall) { // changes all over it
		if got := choose(all, 0, true); got != nil {
			t.Errorf("with %d small segments %d are merged", n, len(got))
		}
		all = append(all, &commandv1.Segment{Number: 100 + n, Rows: 100, MinKey: []byte("00"), MaxKey: []byte("99"), MaxSeq: 2 + n})
	}
	if got := choose(all, 0, true); len(got) != manySmall || !isSmall(got[0]) {
		t.Errorf("%d segments are merged, want the %d small ones", len(got), manySmall)
	}
	if got := choose(all, 0, false); len(got) <= manySmall {
		t.Errorf("when asked for, %d segments are merged, want all", len(got))
	}
}
