package storage

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestDeleteRangeOfAnySize deletes ranges of no, few and many keys, some of them written by the same batch: nothing of the
// range is left, and what lies around it is.
func TestDeleteRangeOfAnySize(t *testing.T) {
	for _, size := range []int{0, 1, fewKeys, fewKeys + 1, 10 * fewKeys} {
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
			if writes := b.Count() - before; size+own <= fewKeys && writes != size+own {
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
