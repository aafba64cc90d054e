package exec

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"testing"
)

// TestSortsStop ends the context in the middle of a sort: there must be few comparisons after that.
func TestSortsStop(t *testing.T) {
	t.Parallel()
	for name, sort := range map[string]func([]int, func(a, b int) int){
		"unstable": slices.SortFunc[[]int], "stable": slices.SortStableFunc[[]int],
	} {
		rows := make([]int, 1_000_000)
		for i := range rows {
			rows[i] = i * 7919 % len(rows)
		}
		ctx, cancel := context.WithCancel(t.Context())
		compared := 0
		err := arrange(ctx, rows, sort, func(a, b int) int {
			if compared++; compared == 100_000 {
				cancel()
			}
			return cmp.Compare(a, b)
		})
		if !errors.Is(err, context.Canceled) || compared > 100_000+cancelComparisons {
			t.Errorf("%s: %v after %d comparisons", name, err, compared)
		}
		if err := arrange(t.Context(), rows, sort, cmp.Compare[int]); err != nil || !slices.IsSorted(rows) {
			t.Errorf("%s: sorted %t, %v", name, slices.IsSorted(rows), err)
		}
	}
}
