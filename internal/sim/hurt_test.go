package sim

import (
	"crypto/sha256"
	"fmt"
	"path"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// This file lets a bit flip in one node's copy of a segment. Whoever reads those rows must be given the right ones all the same:
// the node notices, and fetches the file anew. Only one copy in the cluster is damaged at a time, and only one that all nodes have.

// hurtSegment is the damaged copy.
type hurtSegment struct {
	n       *simNode
	disk    *simDisk
	segment *commandv1.Segment
}

// localSegments are the files that a node's manifests name on its own disk.
func (n *simNode) localSegments() []*commandv1.Segment {
	var found []*commandv1.Segment
	for _, g := range n.w.dataGroups() {
		lo, hi := keys.ManifestsSpan(g)
		err := manifest.Each(n.store, lo, hi, func(_ []byte, m *commandv1.Manifest) error {
			for _, s := range m.GetSegments() {
				if s.GetStorageId() == catalog.LocalStorage {
					found = append(found, s)
				}
			}
			return nil
		})
		if err != nil {
			n.w.fail("node %d reads its manifests: %v", n.id, err)
		}
	}
	return found
}

// has reports whether a node has the right bytes of a segment.
func (n *simNode) has(s *commandv1.Segment) bool {
	return sumOf(n.disk.base, s.GetPath()) == [sha256.Size]byte(s.GetSha256())
}

// strikeSegments lets a bit flip in a segment, unless one is damaged already.
func (p *plan) strikeSegments() {
	w := p.w
	if w.hurt != nil && w.step%stepsPerTick == 0 && w.hurt.settled() {
		w.hurt = nil
	}
	if !w.opt.cold || len(w.nodes) == 1 || !p.chance(p.flipSegment) || !p.complete() {
		return
	}
	n := p.pick(running)
	if n == nil || n.disk.lost != nil || n.disk.crashed != nil {
		return
	}
	named := n.localSegments()
	if len(named) == 0 {
		return
	}
	s := named[w.rng.IntN(len(named))]
	for _, other := range w.nodes {
		if !other.has(s) {
			return
		}
	}
	n.flipBit(path.Join(coldDir, s.GetPath()))
	w.hurt = &hurtSegment{n, n.disk, s}
	w.saw(bitInSegment)
}

// settled reports that the damaged copy is right again, or is gone.
func (h *hurtSegment) settled() bool {
	if h.n.disk != h.disk || sumOf(h.disk.base, h.segment.GetPath()) == [sha256.Size]byte{} {
		return true
	}
	if !h.n.has(h.segment) {
		return false
	}
	h.n.w.saw(segmentMended)
	h.n.w.trace.event("node %d has the right %s again", h.n.id, h.segment.GetPath())
	return true
}

// mendSegments reads all rows of the node that has a damaged segment, which must be those of the log. A bit that nobody needs for
// that is found by whoever reads the whole file, as a merge does.
func (w *world) mendSegments() {
	h := w.hurt
	if h == nil || h.settled() {
		w.hurt = nil
		return
	}
	for _, g := range w.dataGroups() {
		if difference, err := w.compareRows(h.n, w.oracle.groups[g].model); err != nil || difference != "" {
			w.fail("node %d, which has a damaged segment, %s: %s %v", h.n.id, g, difference, err)
		}
	}
	if !h.settled() {
		if err := h.n.cold.store.Ensure(h.segment); err != nil {
			w.fail("node %d does not mend %s: %v", h.n.id, h.segment.GetPath(), err)
		}
		if !h.settled() {
			w.fail("node %d keeps the damaged %s", h.n.id, h.segment.GetPath())
		}
	}
	w.hurt = nil
}

// TestDamagedSegmentIsMended lets bits flip in each node's copy of each segment, and reads its rows there: they are the right ones, and
// the file is right again when it was read as a whole. Fetching a file takes goroutines; the story is the same all the same when it is
// told twice.
func TestDamagedSegmentIsMended(t *testing.T) {
	story := func(l *lab) {
		l.sqlTables()
		for round := range 2 {
			l.write(l.nodes[0], round+1)
			a := l.coldWork(l.nodes[0], nil)
			l.until(time.Minute, "the flush has ended", func() bool { return a.ended })
		}
		l.until(time.Minute, "all nodes have the segments", func() bool { return l.tidy() == "" })
		want, noticed := "", 0
		for _, n := range l.nodes {
			for _, s := range n.localSegments() {
				for round := range 8 {
					if round%2 == 0 { // else it is open, and has been checked
						if err := n.cold.store.Forget(); err != nil {
							l.fail("node %d closes its segments: %v", n.id, err)
						}
					}
					n.flipBit(path.Join(coldDir, s.GetPath()))
					l.do(n, func(s *session) {
						rows, err := s.sql(l.c.users[0], "SELECT id, tag, n FROM board ORDER BY id")
						got := fmt.Sprint(rows)
						if want == "" {
							want = got
						}
						if err != nil || got != want || len(rows) == 0 {
							l.fail("node %d reads %s (%v) from a damaged segment, want %s", n.id, got, err, want)
						}
					})
					if n.has(s) {
						noticed++
					}
					if err := n.cold.store.Ensure(s); err != nil || !n.has(s) {
						l.fail("node %d does not mend %s: %v", n.id, s.GetPath(), err)
					}
				}
			}
		}
		if noticed == 0 {
			l.fail("no read has met a damaged byte; the story does not happen")
		}
	}
	var sums [2]uint64
	for i := range sums {
		w, err := tell(t, 3, func(o *options) { coldCluster(o); o.coldCache = 1 }, nil, story)
		if err != nil {
			t.Fatal(w.report(err))
		}
		sums[i] = w.trace.sum()
	}
	if sums[0] != sums[1] {
		t.Errorf("told twice, the story has the hashes %x and %x", sums[0], sums[1])
	}
}
