package manifest

import (
	"math/rand/v2"
	"testing"

	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestJoinAges joins random segments again and again: no row ever looks older than it is, those that are old enough look so,
// and the list stays short.
func TestJoinAges(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var all []*commandv1.Segment
		written := func(seq uint64) int64 { return int64(seq) * 10 } // when a row was written
		seq := uint64(1)
		for range 1 + r.IntN(60) {
			seq += 1 + uint64(r.IntN(30))
			all = append(all, &commandv1.Segment{MaxSeq: seq, CreatedMicros: written(seq) + 1 + int64(r.IntN(200))})
		}
		now := written(seq) + 300
		before := now - 1 - int64(r.IntN(int(now)))
		for len(all) > 1 {
			n := 2 + r.IntN(len(all)-1)
			joined := &commandv1.Segment{CreatedMicros: now, Ages: JoinAges(all[:n], before, now)}
			for _, s := range all[:n] {
				joined.MaxSeq = max(joined.MaxSeq, s.GetMaxSeq())
			}
			if len(joined.GetAges()) > ageSlices+2 {
				t.Fatalf("%d ages", len(joined.GetAges()))
			}
			all = append(all[n:], joined)
		}
		for s := uint64(1); s <= seq; s++ {
			got := WrittenBefore(all[0], s)
			if got <= written(s) {
				t.Fatalf("row %d of time %d looks written before %d", s, written(s), got)
			}
			if written(s)+1000 < before && got > before { // the next segment came long before
				t.Fatalf("row %d of time %d looks as young as %d, want at most %d", s, written(s), got, before)
			}
		}
	}
}

func TestForgettable(t *testing.T) {
	t.Parallel()
	ages := []*commandv1.SegmentAge{{Seq: 10, Micros: 100}, {Seq: 20, Micros: 200}}
	for name, c := range map[string]struct {
		s    *commandv1.Segment
		want bool
	}{
		"no deletion":     {&commandv1.Segment{MaxSeq: 10, Ages: ages}, false},
		"an old one":      {&commandv1.Segment{MaxSeq: 20, Deletions: 1, FirstDeletion: 10, Ages: ages}, true},
		"a young one":     {&commandv1.Segment{MaxSeq: 20, Deletions: 1, FirstDeletion: 11, Ages: ages}, false},
		"unknown, old":    {&commandv1.Segment{MaxSeq: 20, Deletions: 1, CreatedMicros: 150}, true},
		"unknown, young":  {&commandv1.Segment{MaxSeq: 20, Deletions: 1, CreatedMicros: 151}, false},
		"beyond the ages": {&commandv1.Segment{MaxSeq: 30, Deletions: 1, FirstDeletion: 21, Ages: ages, CreatedMicros: 300}, false},
	} {
		if got := Forgettable(c.s, 150); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
