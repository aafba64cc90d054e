package disk

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// roomPause is how long a change waits between two looks for room.
const roomPause = 100 * time.Millisecond

// Waiting is a file system on which a change that finds no room waits until there is some, instead of failing. It is
// for a writer that can do nothing else: the row store, which would try the same flush again and again. A sync that
// finds no room fails as any failed sync does, since what it covered is unknown then.
type Waiting struct {
	vfs.FS
	clock clock.Clock

	mu      sync.Mutex // guards waiting
	waiting int

	once   sync.Once
	closed chan struct{}
}

// WaitForRoom puts a Waiting in front of a file system. Close must be called before the writer is closed.
func WaitForRoom(fs FS, wall clock.Clock) *Waiting {
	return &Waiting{FS: fs, clock: wall, closed: make(chan struct{})}
}

// Close lets everything that waits fail with the disk's error, now and from now on.
func (w *Waiting) Close() { w.once.Do(func() { close(w.closed) }) }

// Blocked is the number of changes that wait for room.
func (w *Waiting) Blocked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waiting
}

// IsFull reports whether an error says that there is no room on the disk.
func IsFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// retry runs a change until it succeeds, or fails for another reason than room.
func (w *Waiting) retry(change func() error) error {
	err := change()
	if !IsFull(err) {
		return err
	}
	w.add(1)
	defer w.add(-1)
	for IsFull(err) {
		timer := w.clock.NewTimer(roomPause)
		select {
		case <-w.closed:
			timer.Stop()
			return err
		case <-timer.C():
		}
		err = change()
	}
	return err
}

func (w *Waiting) add(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting += n
}

func (w *Waiting) file(open func() (vfs.File, error)) (file vfs.File, err error) {
	err = w.retry(func() error {
		file, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &waitingFile{File: file, w: w}, nil
}

// Create implements vfs.FS.
func (w *Waiting) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return w.file(func() (vfs.File, error) { return w.FS.Create(name, category) })
}

// ReuseForWrite implements vfs.FS.
func (w *Waiting) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return w.file(func() (vfs.File, error) { return w.FS.ReuseForWrite(oldname, newname, category) })
}

// OpenReadWrite implements vfs.FS.
func (w *Waiting) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return w.file(func() (vfs.File, error) { return w.FS.OpenReadWrite(name, category, opts...) })
}

// Link implements vfs.FS.
func (w *Waiting) Link(oldname, newname string) error {
	return w.retry(func() error { return w.FS.Link(oldname, newname) })
}

// Rename implements vfs.FS.
func (w *Waiting) Rename(oldname, newname string) error {
	return w.retry(func() error { return w.FS.Rename(oldname, newname) })
}

// MkdirAll implements vfs.FS.
func (w *Waiting) MkdirAll(dir string, perm FileMode) error {
	return w.retry(func() error { return w.FS.MkdirAll(dir, perm) })
}

// Unwrap implements vfs.FS.
func (w *Waiting) Unwrap() vfs.FS { return w.FS }

// waitingFile goes on with a write where the full disk has cut it short.
type waitingFile struct {
	vfs.File
	w *Waiting
}

// Write implements vfs.File.
func (f *waitingFile) Write(p []byte) (written int, err error) {
	err = f.w.retry(func() error {
		n, failed := f.File.Write(p[written:])
		written += n
		return failed
	})
	return written, err
}

// WriteAt implements vfs.File.
func (f *waitingFile) WriteAt(p []byte, offset int64) (written int, err error) {
	err = f.w.retry(func() error {
		n, failed := f.File.WriteAt(p[written:], offset+int64(written))
		written += n
		return failed
	})
	return written, err
}

// Preallocate implements vfs.File. Room that cannot be set aside is no reason to wait: writes do.
func (f *waitingFile) Preallocate(offset, length int64) error {
	if err := f.File.Preallocate(offset, length); err != nil && !IsFull(err) {
		return err
	}
	return nil
}
