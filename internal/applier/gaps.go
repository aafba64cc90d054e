package applier

import (
	"bytes"
	"errors"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/invariant"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// Bounds of what is remembered of gaps, and of what it costs to find them.
const (
	maxGaps        = 512 // of a group; the one that helped longest ago makes room for a new one
	maxGapKeyBytes = 128 // a longer key is always looked up

	// To find a gap costs as much as a few lookups. A hit earns one, and in every many misses one is given away: keys that
	// come in no order cost next to nothing more than without gaps, and keys that begin to ascend are noticed.
	gapPrice     = 4
	maxGapCredit = 256
	missesGift   = 64
	// Behind a key there may be many deleted ones, which the look for the next key goes over: so many cost one more.
	stepsPerCredit = 8
)

// gaps remembers spans of row keys of which the row store holds none, neither a row nor a deletion. A key that ascends behind the
// last one of its writer lies in such a span, and needs no lookup: that a key is new would else take a search of
// every memtable and of some files, which is half of what it takes to apply a small row.
//
// It is derived from the state and never changes an answer: replicas that remember different gaps, or none, find the
// same. Only a write puts a key into a gap; whoever sets a row key that may be new calls wrote.
type gaps struct {
	known  []gap // ordered and disjoint
	credit int
	missed int
	clock  uint64 // of hits; says which gap helped longest ago
}

// gap says that no key lies between two, both exclusive.
type gap struct {
	low, high []byte
	used      uint64
}

// find returns the place of the gap that holds a key; ok is false when none does.
func (g *gaps) find(key []byte) (place int, ok bool) {
	// The last gap that begins before the key.
	after, _ := slices.BinarySearchFunc(g.known, key, func(one gap, key []byte) int { return bytes.Compare(one.low, key) })
	if after == 0 {
		return 0, false
	}
	return after - 1, bytes.Compare(key, g.known[after-1].high) < 0
}

// absent reports whether the row store surely has nothing under the key.
func (g *gaps) absent(key []byte) bool {
	place, ok := g.find(key)
	if !ok {
		if g.missed++; g.missed%missesGift == 0 {
			g.earn(gapPrice)
		}
		return false
	}
	g.clock++
	g.known[place].used = g.clock
	g.earn(1)
	return true
}

func (g *gaps) earn(credit int) { g.credit = min(maxGapCredit, g.credit+credit) }

// wrote takes a key out of the gaps. What is left of its gap is the part behind it.
func (g *gaps) wrote(key []byte) {
	place, ok := g.find(key)
	if !ok {
		return
	}
	if len(key) > maxGapKeyBytes {
		g.known = slices.Delete(g.known, place, place+1)
		return
	}
	one := &g.known[place]
	one.low = append(one.low[:0], key...)
}

// affords reports whether there is credit to look for the gap behind a key.
func (g *gaps) affords(key []byte) bool { return g.credit >= gapPrice && len(key) <= maxGapKeyBytes }

// learn looks for the gap behind a key that was looked up and not found, up to the end of its span.
func (g *gaps) learn(batch *storage.Batch, key, end []byte) error {
	g.credit -= gapPrice
	it, err := batch.Scan(key, end)
	if err != nil {
		return err
	}
	high := end
	if it.First() {
		high = bytes.Clone(it.Key())
	}
	g.credit -= it.Steps() / stepsPerCredit
	if err = errors.Join(it.Err(), it.Close()); err != nil {
		return err
	}
	if len(high) <= maxGapKeyBytes {
		g.add(gap{low: bytes.Clone(key), high: high, used: g.clock})
	}
	return nil
}

// add remembers a gap in place of those that lie in it.
func (g *gaps) add(one gap) {
	place, _ := slices.BinarySearchFunc(g.known, one.low, func(other gap, low []byte) int { return bytes.Compare(other.low, low) })
	invariant.Check(place == 0 || bytes.Compare(g.known[place-1].high, one.low) <= 0, "a gap begins within another")
	next := place
	for next < len(g.known) && bytes.Compare(g.known[next].low, one.high) < 0 {
		next++
	}
	g.known = slices.Replace(g.known, place, next, one)
	if len(g.known) <= maxGaps {
		return
	}
	oldest := 0
	for i := range g.known {
		if i != place && (oldest == place || g.known[i].used < g.known[oldest].used) {
			oldest = i
		}
	}
	g.known = slices.Delete(g.known, oldest, oldest+1)
}

// newGaps has the credit to notice some writers of ascending keys at once.
func newGaps() gaps { return gaps{credit: maxGapCredit} }
