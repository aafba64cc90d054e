package storage

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestLater: a batch shows what was collected after Into, in order, and nothing is written twice.
func TestLater(t *testing.T) {
	t.Parallel()
	e := openClosed(t, vfs.NewMem())
	b := e.NewBatch()
	defer b.Close() //nolint:errcheck // the store is memory
	var later Later
	key, value := []byte("a"), []byte("1")
	later.Set(key, value)
	key[0], value[0] = 'b', '2' // they were copied
	later.Set(key, nil)
	later.Set([]byte("a"), []byte("3"))
	if _, ok, err := b.Get([]byte("a")); ok || err != nil || later.Len() != 3 {
		t.Fatalf("before: found %v, %v, %d collected", ok, err, later.Len())
	}
	check(t, later.Into(b))
	check(t, later.Into(b))
	for key, want := range map[string]string{"a": "3", "b": ""} {
		if got, ok, err := b.Get([]byte(key)); !ok || err != nil || !bytes.Equal(got, []byte(want)) {
			t.Errorf("%s: %q, %v, %v", key, got, ok, err)
		}
	}
	if b.Count() != 3 || later.Len() != 0 {
		t.Errorf("%d writes, %d still collected", b.Count(), later.Len())
	}
	later.Set([]byte("c"), make([]byte, keepLaterBytes+1))
	later.Drop()
	if later.Len() != 0 || later.data != nil {
		t.Errorf("%d collected, %d bytes are kept", later.Len(), cap(later.data))
	}
}
