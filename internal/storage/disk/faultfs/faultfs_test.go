package faultfs_test

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// The hook sees every change of an atomic file replacement, in order, and each of them can fail.
func TestEveryChangeIsShownAndCanFail(t *testing.T) {
	t.Parallel()
	var seen []string
	fs := faultfs.Wrap(vfs.NewMem(), func(op faultfs.Op) error {
		seen = append(seen, op.String())
		return nil
	})
	if err := disk.WriteFileAtomic(fs, "file", []byte("content")); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"1: create file.tmp (0 bytes)", "2: write file.tmp (7 bytes)", "3: sync file.tmp (0 bytes)",
		"4: rename file (0 bytes)", "5: sync directory . (0 bytes)",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("operations %q, want %q", seen, want)
	}
	for n := range int64(len(want)) {
		fs := faultfs.Wrap(vfs.NewMem(), faultfs.FailAt(n+1, syscall.EIO))
		if err := disk.WriteFileAtomic(fs, "file", []byte("content")); !errors.Is(err, syscall.EIO) {
			t.Errorf("operation %d failed, the caller saw %v", n+1, err)
		}
	}
}

func TestTornWriteLetsTheBeginningThrough(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	fs := faultfs.Wrap(mem, func(op faultfs.Op) error {
		if op.Kind == faultfs.Write {
			return fmt.Errorf("power cut: %w", &faultfs.TornError{Bytes: 3, Err: syscall.EIO})
		}
		return nil
	})
	f, err := fs.Create("file", disk.Category)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.WriteAt([]byte("content"), 0); n != 3 || !errors.Is(err, syscall.EIO) {
		t.Errorf("wrote %d bytes, %v; want 3 and an error", n, err)
	}
	if info, err := mem.Stat("file"); err != nil || info.Size() != 3 {
		t.Errorf("file of %d bytes, %v; want 3", info.Size(), err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
