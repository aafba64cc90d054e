package command

import (
	"math"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// TestLocalStart: where the log of a node-local group begins is stored and given to clients, so it never changes; every _seq
// behind it fits into a BIGINT.
func TestLocalStart(t *testing.T) {
	for replica, want := range map[ident.ReplicaID]uint64{1: 1 << 36, 2: 2 << 36, maxOrigin: maxOrigin << 36} {
		start, err := LocalStart(replica)
		if err != nil || start != want {
			t.Errorf("replica %d begins at %d, %v", replica, start, err)
		}
		last := start + 1<<originBits - 1
		if Seq(last, MaxOrdinal) > math.MaxInt64 || !SameOrigin(start, last) || SameOrigin(start, last+1) || SameOrigin(start, start-1) {
			t.Errorf("the span of replica %d", replica)
		}
	}
	for _, replica := range []ident.ReplicaID{0, maxOrigin + 1} {
		if start, err := LocalStart(replica); err == nil {
			t.Errorf("replica %d begins at %d", replica, start)
		}
	}
}
