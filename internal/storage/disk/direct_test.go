package disk

import (
	"bytes"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestAlignedBuffer(t *testing.T) {
	for _, capacity := range []int{1, 4095, 4096, 4097, 100_000} {
		b := AlignedBuffer(capacity)
		if len(b) != 0 || cap(b) != capacity {
			t.Errorf("AlignedBuffer(%d) has length %d and capacity %d", capacity, len(b), cap(b))
		}
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(b))); at%DirectAlign != 0 {
			t.Errorf("AlignedBuffer(%d) lies at %#x", capacity, at)
		}
	}
}

// TestBypassCache writes a file past the page cache and reads it through the cache before and after.
func TestBypassCache(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	f, err := Local().Create(path, Category)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read behind the writes that were checked
	reader, err := Local().Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close() //nolint:errcheck // only read
	if !BypassCache(f) {
		t.Skip("this file system has no writes past the page cache")
	}
	got := make([]byte, DirectAlign)
	for round := range byte(3) {
		page := AlignedBuffer(DirectAlign)[:DirectAlign]
		for i := range page {
			page[i] = round
		}
		if _, err := f.WriteAt(page, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := reader.ReadAt(got, 0); err != nil || !bytes.Equal(got, page) {
			t.Fatalf("round %d: read %d, %v", round, got[0], err)
		}
	}
	if _, err := f.WriteAt(make([]byte, 100), 0); err != nil && !IsUnaligned(err) {
		t.Errorf("an unaligned write: %v", err)
	}
	if !UseCache(f) {
		t.Fatal("the file cannot go back to the cache")
	}
	if _, err := f.WriteAt(make([]byte, 100), 1); err != nil {
		t.Errorf("an unaligned write through the cache: %v", err)
	}
}

// TestBypassCacheInMemory leaves a file alone that the operating system does not know.
func TestBypassCacheInMemory(t *testing.T) {
	f, err := vfs.NewMem().Create("file", Category)
	if err != nil {
		t.Fatal(err)
	}
	if BypassCache(f) {
		t.Error("a file in memory has no page cache to go past")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
