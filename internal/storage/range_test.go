package storage

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestDeleteRangeOfAnySize deletes ranges of no, few and many keys, some of them written by the same batch: nothing of the
// range is left, and what lies around it is.
func TestDeleteRangeOfAnySize(t *testing.T) {
	for _, size := range []int{0, 1, FewKeys, FewKeys + 1, 10 * FewKeys} {
		for _, own := range []int{0, 3} {
			e := openClosed(t, vfs.NewMem())
			commit(t, e, "a=before", "c=behind")
			for i := range size {
				commit(t, e, fmt.Sprintf("b%04d=x", i))
			}
			b := e.NewBatch()
			for i := range own {
				check(t, b.Set(fmt.Appendf(nil, "bb%04d", i), []byte("own")))
			}
			before := b.Count()
			check(t, b.DeleteRange([]byte("b"), []byte("c")))
			if writes := b.Count() - before; size+own <= FewKeys && writes != size+own {
				t.Errorf("%d and %d keys: %d writes", size, own, writes)
			}
			if got := strings.Join(dump(t, b, "a", "d"), " "); got != "a=before c=behind" {
				t.Errorf("%d and %d keys: the batch shows %q", size, own, got)
			}
			check(t, e.Commit(b))
			check(t, b.Close())
			if got := strings.Join(dump(t, e, "a", "d"), " "); got != "a=before c=behind" {
				t.Errorf("%d and %d keys: the store shows %q", size, own, got)
			}
		}
	}
}

// TestDeleteRangesTogether looks through several ranges with one iterator, in any order, also where they overlap or are empty, and
// leaves alone what lies between them.
func TestDeleteRangesTogether(t *testing.T) {
	ranges := []Range{
		RangeOf([]byte("0"), []byte("1")), RangeOf([]byte("a"), []byte("b")), RangeOf([]byte("b01"), []byte("c")),
		RangeOf([]byte("b02"), []byte("b99")), RangeOf([]byte("c"), []byte("c00")), RangeOf([]byte("c02x"), []byte("d")),
		RangeOf([]byte("d"), []byte("e")), RangeOf([]byte("x"), []byte("y")), RangeOf([]byte("y"), []byte("z")),
	}
	for turn := range 2 * len(ranges) {
		order := append(slices.Clone(ranges[turn/2:]), ranges[:turn/2]...)
		if turn%2 == 1 {
			slices.Reverse(order)
		}
		e := openClosed(t, vfs.NewMem())
		for _, prefix := range []string{"a", "b", "c", "d"} {
			for i := range FewKeys + 2 { // a and d have many keys, which go as a range
				if i < 3 || prefix == "a" || prefix == "d" {
					commit(t, e, fmt.Sprintf("%s%02d=x", prefix, i))
				}
			}
		}
		b := e.NewBatch()
		check(t, b.Set([]byte("b99"), []byte("own")))
		check(t, b.DeleteRanges(order...))
		const want = "b00=x c00=x c01=x c02=x"
		if got := strings.Join(dump(t, b, "a", "z"), " "); got != want {
			t.Errorf("turn %d: the batch shows %q, want %q", turn, got, want)
		}
		check(t, e.Commit(b))
		check(t, b.DeleteRanges())
		check(t, b.Close())
		if got := strings.Join(dump(t, e, "a", "z"), " "); got != want {
			t.Errorf("turn %d: the store shows %q, want %q", turn, got, want)
		}
	}
}
