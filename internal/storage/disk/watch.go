package disk

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// Watched is a file system with a watchdog: it knows which changes and reads are under way and since when. A disk that
// hangs holds whoever waits for it for ever, so somebody else has to look.
type Watched struct {
	vfs.FS
	clock clock.Clock

	mu       sync.Mutex // guards underway
	underway []*change  // oldest first

	prompt promptness
}

// change is one call, a change or a read, that the disk has not answered.
type change struct {
	what, path string
	since      time.Time
}

// Watch puts a Watched in front of a file system.
func Watch(fs FS, wall clock.Clock) *Watched { return &Watched{FS: fs, clock: wall} }

// Hung returns an error that names the oldest change when it has been under way for longer than limit, nil otherwise.
func (w *Watched) Hung(limit time.Duration) error {
	now := w.clock.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.underway) == 0 {
		return nil
	}
	oldest := w.underway[0]
	if age := now.Sub(oldest.since); age > limit {
		return fmt.Errorf("the disk hangs: the %s of %s has not come back for %v", oldest.what, oldest.path, age.Round(time.Millisecond))
	}
	return nil
}

// begin notes a change; the function that it returns ends it.
func (w *Watched) begin(what, path string) (end func()) {
	c := &change{what: what, path: path, since: w.clock.Now()}
	w.mu.Lock()
	w.underway = append(w.underway, c)
	w.mu.Unlock()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		at := slices.Index(w.underway, c)
		w.underway = slices.Delete(w.underway, at, at+1)
	}
}

func (w *Watched) file(what, name string, open func() (vfs.File, error)) (vfs.File, error) {
	end := w.begin(what, name)
	file, err := open()
	end()
	if err != nil {
		return nil, err
	}
	return &watchedFile{File: file, w: w, name: name}, nil
}

// Create implements vfs.FS.
func (w *Watched) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return w.file("creation", name, func() (vfs.File, error) { return w.FS.Create(name, category) })
}

// ReuseForWrite implements vfs.FS.
func (w *Watched) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return w.file("renaming", newname, func() (vfs.File, error) { return w.FS.ReuseForWrite(oldname, newname, category) })
}

// OpenReadWrite implements vfs.FS.
func (w *Watched) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return w.file("opening", name, func() (vfs.File, error) { return w.FS.OpenReadWrite(name, category, opts...) })
}

// Open implements vfs.FS.
func (w *Watched) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return w.file("opening", name, func() (vfs.File, error) { return w.FS.Open(name, opts...) })
}

// OpenDir implements vfs.FS.
func (w *Watched) OpenDir(name string) (vfs.File, error) {
	return w.file("opening", name, func() (vfs.File, error) { return w.FS.OpenDir(name) })
}

// Remove implements vfs.FS.
func (w *Watched) Remove(name string) error {
	defer w.begin("removal", name)()
	return w.FS.Remove(name)
}

// Rename implements vfs.FS.
func (w *Watched) Rename(oldname, newname string) error {
	defer w.begin("renaming", newname)()
	return w.FS.Rename(oldname, newname)
}

// Link implements vfs.FS.
func (w *Watched) Link(oldname, newname string) error {
	defer w.begin("linking", newname)()
	return w.FS.Link(oldname, newname)
}

// Unwrap implements vfs.FS.
func (w *Watched) Unwrap() vfs.FS { return w.FS }

type watchedFile struct {
	vfs.File
	w      *Watched
	name   string
	urgent inPlacer // nil unless the file is urgent and can be waited for in place
}

// Read implements vfs.File.
func (f *watchedFile) Read(p []byte) (int, error) {
	defer f.w.begin("read", f.name)()
	return f.File.Read(p)
}

// ReadAt implements vfs.File.
func (f *watchedFile) ReadAt(p []byte, offset int64) (int, error) {
	defer f.w.begin("read", f.name)()
	return f.File.ReadAt(p, offset)
}

// Write implements vfs.File.
func (f *watchedFile) Write(p []byte) (int, error) {
	defer f.w.begin("write", f.name)()
	return f.File.Write(p)
}

// WriteAt implements vfs.File.
func (f *watchedFile) WriteAt(p []byte, offset int64) (n int, err error) {
	err = f.call("write", len(p), func() error {
		n, err = f.File.WriteAt(p, offset)
		return err
	}, func() error {
		n, err = f.urgent.writeAtInPlace(p, offset)
		return err
	})
	return n, err
}

// Sync implements vfs.File.
func (f *watchedFile) Sync() error {
	defer f.w.begin("sync", f.name)()
	return f.File.Sync()
}

// SyncData implements vfs.File.
func (f *watchedFile) SyncData() error {
	return f.call("sync", 0, f.File.SyncData, func() error { return f.urgent.syncDataInPlace() })
}

// SyncTo implements vfs.File.
func (f *watchedFile) SyncTo(length int64) (fullSync bool, err error) {
	defer f.w.begin("sync", f.name)()
	return f.File.SyncTo(length)
}
