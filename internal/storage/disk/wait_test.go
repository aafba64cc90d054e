package disk_test

import (
	"errors"
	"io"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// awaitBlocked returns when a change waits for room.
func awaitBlocked(t *testing.T, w *disk.Waiting) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for w.Blocked() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("nothing waits for room")
		}
		<-ticker.C
	}
}

// TestWriteWaitsForRoom fills the disk in the middle of a write: the write comes back when there is room, and the file
// has every byte once.
func TestWriteWaitsForRoom(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	mem := vfs.NewMem()
	fs := disk.WaitForRoom(faultfs.Wrap(mem, func(op faultfs.Op) error {
		if full.Load() && op.Kind == faultfs.Write {
			if op.Bytes == 7 {
				return &faultfs.TornError{Bytes: 3, Err: syscall.ENOSPC}
			}
			return syscall.ENOSPC
		}
		return nil
	}), clock.Real{})
	f, err := fs.Create("file", disk.Category)
	if err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	done := make(chan error, 1)
	go func() {
		n, failed := f.Write([]byte("content"))
		if n != 7 {
			failed = errors.Join(failed, io.ErrShortWrite)
		}
		done <- failed
	}()
	awaitBlocked(t, fs)
	full.Store(false)
	if err = errors.Join(<-done, f.Close()); err != nil {
		t.Fatal(err)
	}
	back, err := mem.Open("file")
	if err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(back); string(content) != "content" || err != nil {
		t.Errorf("the file holds %q, %v", content, err)
	}
	if err := back.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCloseEndsWaiting closes the file system while a creation waits.
func TestCloseEndsWaiting(t *testing.T) {
	t.Parallel()
	fs := disk.WaitForRoom(faultfs.Wrap(vfs.NewMem(), faultfs.FailAt(1, syscall.ENOSPC)), clock.Real{})
	done := make(chan error, 1)
	go func() {
		_, err := fs.Create("file", disk.Category)
		done <- err
	}()
	awaitBlocked(t, fs)
	fs.Close()
	if err := <-done; !disk.IsFull(err) {
		t.Errorf("create: %v", err)
	}
}

// TestOtherErrorsDoNotWait passes a broken disk, and a sync without room, on at once.
func TestOtherErrorsDoNotWait(t *testing.T) {
	t.Parallel()
	fs := disk.WaitForRoom(faultfs.Wrap(vfs.NewMem(), func(op faultfs.Op) error {
		switch op.Kind { //nolint:exhaustive // all else succeeds
		case faultfs.Write:
			return syscall.EIO
		case faultfs.Sync:
			return syscall.ENOSPC
		default:
			return nil
		}
	}), clock.Real{})
	f, err := fs.Create("file", disk.Category)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("content")); !errors.Is(err, syscall.EIO) {
		t.Errorf("write: %v", err)
	}
	if err := f.Sync(); !disk.IsFull(err) {
		t.Errorf("sync: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestHungSyncIsNoticed holds a sync for ever, by a clock of our own.
func TestHungSyncIsNoticed(t *testing.T) {
	t.Parallel()
	wall := clock.NewManual(time.Unix(1, 0))
	held, release := make(chan struct{}), make(chan struct{})
	fs := disk.Watch(faultfs.Wrap(vfs.NewMem(), func(op faultfs.Op) error {
		if op.Kind == faultfs.Sync {
			close(held)
			<-release
		}
		return nil
	}), wall)
	f, err := fs.Create("file", disk.Category)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f.Sync() }()
	<-held
	if err := fs.Hung(time.Second); err != nil {
		t.Errorf("at once: %v", err)
	}
	wall.Advance(2 * time.Second)
	if err := fs.Hung(time.Second); err == nil || err.Error() != "the disk hangs: the sync of file has not come back for 2s" {
		t.Errorf("after two seconds: %v", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := fs.Hung(time.Second); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
