package storage

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/invariant"
)

// TestOpenIsCounted opens an iterator in every way there is, and a view: builds that count find each until it is closed.
func TestOpenIsCounted(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("only builds with the tag invariants count")
	}
	e := openClosed(t, vfs.NewMem())
	commit(t, e, "a=1")
	b, view := e.NewBatch(), e.NewSnapshot()
	want := 1
	var opened []*Iterator
	for _, reader := range []Reader{e, b, view, e.Durable()} {
		it, err := reader.Scan(nil, nil)
		check(t, err)
		opened = append(opened, it)
		if want++; e.Open() != want {
			t.Errorf("%T: %d are open, want %d", reader, e.Open(), want)
		}
	}
	check(t, b.DeleteRange([]byte("a"), []byte("b")))
	for _, it := range opened {
		check(t, it.Close())
	}
	check(t, view.Close())
	check(t, view.Close())
	check(t, b.Close())
	if e.Open() != 0 {
		t.Errorf("%d are open at the end", e.Open())
	}
	forgotten, err := e.NewSnapshot().Scan(nil, nil)
	check(t, err)
	check(t, e.CloseLeft())
	if e.Open() != 0 {
		t.Errorf("%d are open though all that was left is closed", e.Open())
	}
	check(t, forgotten.Close())
}
