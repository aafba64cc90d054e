package plan

import "testing"

// TestMergeJoinsCostNoTable: two inputs that come in the order of the only key are joined without a table of one of them, whichever
// is the larger, as long as the second one has no key twice.
func TestMergeJoinsCostNoTable(t *testing.T) {
	t.Parallel()
	size := func(rows float64) estimate { return estimate{rows: rows, read: rows, known: true} }
	key := joinPart{inputs: 3, kept: 1.0 / 50_000, keys: true, ascends: 3, unique: 2}
	cost := func(parts ...joinPart) float64 {
		g := &joinGraph{inputs: []estimate{size(50_000), size(40_000)}, parts: parts}
		return g.cost([]int{0, 1})
	}
	merged := cost(key)
	if want := 50_000.0 + 40_000 + 40_000 + 50_000 + 40_000; merged != want {
		t.Errorf("a merge join costs %v, want %v", merged, want)
	}
	unordered, twice, second := key, key, key
	unordered.ascends = 1
	twice.unique = 1
	second.kept = 1
	for name, other := range map[string]float64{"without order": cost(unordered), "with a key twice": cost(twice), "with two keys": cost(key, second)} {
		if other < merged+40_000-1 {
			t.Errorf("%s: %v, where a merge join costs %v", name, other, merged)
		}
	}
}
