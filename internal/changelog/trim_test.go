package changelog

import (
	"fmt"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// TestTrimLeavesAloneWhatWasDropped shows that a trim looks only at what it drops: what was dropped before lies in the store's files
// until they are compacted, and large rows make it many times as long as what a trim drops. A key that no writer leaves there tells.
func TestTrimLeavesAloneWhatWasDropped(t *testing.T) {
	t.Parallel()
	e := openStore(t)
	w := writer(t, e, Retention{Entries: 16, Bytes: 1 << 30, AgeMicros: 1 << 40})
	for i := range uint64(40) {
		appendChanges(t, e, w, change(i+1, fmt.Sprintf("k%06d", i)))
	}
	floor := w.start.floor
	if floor == 0 {
		t.Fatal("nothing was dropped")
	}
	witness := keys.Change(group, floor-1)
	b := e.NewBatch()
	must(t, b.Set(witness, []byte("left")))
	must(t, e.Commit(b))
	must(t, b.Close())
	for i := range uint64(40) {
		appendChanges(t, e, w, change(i+41, fmt.Sprintf("k%06d", i)))
	}
	if w.start.floor == floor {
		t.Fatal("nothing more was dropped")
	}
	if _, ok, err := e.Get(witness); !ok || err != nil {
		t.Errorf("a later trim went through what an earlier one had dropped: %v", err)
	}
}
