package exec

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"testing"
)

// TestDistinctValuesAreEstimated samples columns of a million rows of which the number of values is known.
func TestDistinctValuesAreEstimated(t *testing.T) {
	t.Parallel()
	const rows, sampled = 1_000_000, samplePlaces * sampleStretch
	for _, distinct := range []int{1, 10, 500, 20_000, rows} {
		sample := columnSample{counts: map[string]int{}}
		for i := range sampled {
			// Every value is as frequent as any other, and rows that follow one another have nothing in common.
			sample.counts[strconv.Itoa(i*7919*31%distinct)]++
			sample.rows++
		}
		got := sample.distinct(rows)
		if want := float64(distinct); got < want/25 || got > want*25 || distinct <= 500 && (got < want*0.9 || got > want*1.1) {
			t.Errorf("%d values are taken for %.0f", distinct, got)
		}
	}
	if got := (&columnSample{rows: 3, counts: map[string]int{"a": 1, "b": 2}}).distinct(3); got != 2 {
		t.Errorf("a table that was read whole has %v values, want 2", got)
	}
}

// TestSamplesAreSpread checks that the places of a sample ascend over the whole key space.
func TestSamplesAreSpread(t *testing.T) {
	t.Parallel()
	key := func(prefix string, n uint64) []byte { return binary.BigEndian.AppendUint64([]byte(prefix), n) }
	first, last := key("table", 1000), key("table", 17_000)
	before := []byte(nil)
	for place := range samplePlaces {
		at := between(first, last, place)
		if bytes.Compare(at, before) <= 0 || bytes.Compare(at, first) < 0 || bytes.Compare(at, last) >= 0 {
			t.Fatalf("place %d is at %x, after %x", place, at, before)
		}
		before = at
	}
	if half := between(first, last, samplePlaces/2); bytes.Compare(half, key("table", 8500)) < 0 || bytes.Compare(half, key("table", 9500)) > 0 {
		t.Errorf("the middle is at %x", half)
	}
	if same := between(first, first, 5); !bytes.Equal(same, first) {
		t.Errorf("the only key is missed: %x", same)
	}
}
