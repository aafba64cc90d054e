package catalog

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestTreeEqualsItsNaiveTwin runs random edits on a tree and on a map, keeps old versions of both, and
// compares all of them in the end: an edit must never show in an older version.
func TestTreeEqualsItsNaiveTwin(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 2))
			type version struct {
				tree tree[int, int]
				twin map[int]int
			}
			current := version{twin: map[int]int{}}
			if seed%2 == 0 {
				keys, values := []int{}, []int{}
				for k := range 50 {
					keys, values = append(keys, 3*k), append(values, k)
					current.twin[3*k] = k
				}
				current.tree = fromSorted(keys, values)
			}
			var kept []version
			for step := range 600 {
				key := random.IntN(150)
				if random.IntN(3) == 0 {
					current.tree = current.tree.remove(key)
					delete(current.twin, key)
				} else {
					current.tree = current.tree.set(key, step)
					current.twin[key] = step
				}
				if step%50 == 0 {
					kept = append(kept, version{current.tree, maps.Clone(current.twin)})
				}
			}
			for i, v := range append(kept, current) {
				compareTwin(t, fmt.Sprint("version ", i), v.tree, v.twin)
			}
		})
	}
}

func compareTwin(t *testing.T, name string, tr tree[int, int], twin map[int]int) {
	t.Helper()
	if tr.size != len(twin) {
		t.Errorf("%s: size %d, want %d", name, tr.size, len(twin))
	}
	sorted := slices.Sorted(maps.Keys(twin))
	want := []int{}
	for _, k := range sorted {
		want = append(want, twin[k])
		if v, ok := tr.get(k); !ok || v != twin[k] {
			t.Errorf("%s: get %d = %d, %v; want %d", name, k, v, ok, twin[k])
		}
	}
	if got := tr.values(); !slices.Equal(got, want) {
		t.Errorf("%s: values %v, want %v", name, got, want)
	}
	for _, from := range []int{-1, 0, 50, 75, 149, 150} {
		at, _ := slices.BinarySearch(sorted, from)
		var got []int
		tr.ascend(from, func(k, _ int) bool { got = append(got, k); return len(got) < 3 })
		if want := sorted[at:min(at+3, len(sorted))]; !slices.Equal(got, want) {
			t.Errorf("%s: ascend from %d = %v, want %v", name, from, got, want)
		}
	}
	checkBalance(t, name, tr.root)
}

func checkBalance(t *testing.T, name string, n *node[int, int]) int8 {
	t.Helper()
	if n == nil {
		return 0
	}
	left, right := checkBalance(t, name, n.left), checkBalance(t, name, n.right)
	if n.height != 1+max(left, right) || left-right > 1 || right-left > 1 {
		t.Errorf("%s: key %d has height %d over %d and %d", name, n.key, n.height, left, right)
	}
	return n.height
}
