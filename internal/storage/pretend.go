package storage

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ending is the file system of the library. Where a file of its write-ahead log, or of its list of tables, cannot be ended, begun or found in its
// directory, the library panics at once or later, with a lock given back that its end gives back once more: nobody could catch that. So here
// what the disk fails in that place ends the store and succeeds, as far as the library hears. Nobody is told that anything is durable:
// CommitSync, Flush, IngestReplace and DurableReader look at Failure behind whatever the library says. Who opens the store
// is told what fails.
//
// Once the store has failed, what lies on the disk is neither removed nor written to, but for what was under way in that moment, so that nothing that is
// lost is taken for flushed, or for replaced. What the library flushes then goes to memory (see after): a flush that failed for
// ever would hold up whoever commits meanwhile, and has to wait until one is done.
type ending struct {
	vfs.FS
	engine    *Engine
	pretended atomic.Bool // something has failed, and the library was told that it succeeded
	after     after
}

// over reports whether the store has failed and goes on for its callers' sake.
func (f *ending) over() bool {
	return f.pretended.Load() || f.engine.opened.Load() && f.engine.Failure() != nil
}

// ends fails the store for an error, if there is one, and returns what the library is to hear.
func (f *ending) ends(what, path string, err error) error {
	if err == nil {
		return nil
	}
	f.engine.fail(fmt.Errorf("%s %s: %w", what, path, err))
	if !f.engine.opened.Load() && calledBy("/pebble/v2.Open") {
		return err
	}
	f.pretended.Store(true)
	return nil
}

// begun wraps a new file. One of the log that could not be begun is kept in memory.
func (f *ending) begun(name string, category vfs.DiskWriteCategory, file vfs.File, err error) (vfs.File, error) {
	if !strings.HasSuffix(name, WritesSuffix) {
		return f.kept(name, category, file, err)
	}
	if err != nil {
		if err = f.ends("begin", name, err); err == nil {
			file, err = vfs.NewMem().Create("log", category) // nobody reads it
		}
	}
	if err != nil {
		return nil, err
	}
	return &endingFile{File: file, f: f, name: name}, nil
}

// Create implements vfs.FS.
func (f *ending) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if f.over() && (category == flushCategory || ofTheList(name)) {
		return f.after.create(name, category)
	}
	file, err := f.FS.Create(name, category)
	return f.begun(name, category, file, err)
}

// ReuseForWrite implements vfs.FS. Once the store has failed no file is begun, as with Create: behind one that is torn, which is read strictly
// unless it is the last, it would keep the store from being opened again.
func (f *ending) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if f.over() {
		return f.begun(newname, category, nil, f.engine.Failure())
	}
	file, err := f.FS.ReuseForWrite(oldname, newname, category)
	return f.begun(newname, category, file, err)
}

// OpenDir implements vfs.FS.
func (f *ending) OpenDir(name string) (vfs.File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &endingDir{File: dir, f: f, name: name}, nil
}

// Unwrap implements vfs.FS.
func (f *ending) Unwrap() vfs.FS { return f.FS }

// endingDir is a directory, which the library syncs for the log, for its list of tables and for tables. Whoever does so for tables must hear of
// an error.
type endingDir struct {
	vfs.File
	f    *ending
	name string
}

// Sync implements vfs.File.
func (d *endingDir) Sync() error {
	if d.f.over() {
		return nil
	}
	err := d.File.Sync()
	if err != nil && wouldPanic() {
		return d.f.ends("sync", d.name, err)
	}
	return err
}

// wouldPanic reports whether the library's package of write-ahead logs, or that of its list of tables, is among the callers. Nothing else
// tells for whom a directory is synced.
func wouldPanic() bool { return calledBy("/pebble/v2/wal.", "/vfs/atomicfs.") }

// calledBy reports whether the name of a function on the stack has one of these parts.
func calledBy(parts ...string) bool {
	var callers [64]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers[:])])
	for {
		frame, more := frames.Next()
		for _, part := range parts {
			if strings.Contains(frame.Function, part) {
				return true
			}
		}
		if !more {
			return false
		}
	}
}

// endingFile is a file of the log.
type endingFile struct {
	vfs.File
	f    *ending
	name string
}

func (f *endingFile) change(what string, do func() error) error {
	if f.f.over() {
		return nil
	}
	return f.f.ends(what, f.name, do())
}

// Write implements vfs.File.
func (f *endingFile) Write(p []byte) (n int, err error) {
	err = f.change("write", func() error {
		n, err = f.File.Write(p)
		return err
	})
	if err == nil {
		n = len(p)
	}
	return n, err
}

// Sync implements vfs.File.
func (f *endingFile) Sync() error { return f.change("sync", f.File.Sync) }

// SyncData implements vfs.File.
func (f *endingFile) SyncData() error { return f.change("sync", f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *endingFile) SyncTo(length int64) (full bool, err error) {
	err = f.change("sync", func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// Preallocate implements vfs.File. What it fails is nobody's business: there are file systems without it, a signal may interrupt it, and whoever
// writes without the room that was to be set aside hears of it then, if there is none.
func (f *endingFile) Preallocate(offset, length int64) error {
	if !f.f.over() {
		_ = f.File.Preallocate(offset, length)
	}
	return nil
}

// Stat implements vfs.File.
func (f *endingFile) Stat() (info vfs.FileInfo, err error) {
	if info, err = f.File.Stat(); err == nil {
		return info, nil
	}
	if err = f.f.ends("look at", f.name, err); err != nil {
		return nil, err
	}
	return emptyInfo()
}

// emptyInfo is what is to be known of an empty file.
func emptyInfo() (vfs.FileInfo, error) {
	file, err := vfs.NewMem().Create("log", vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	return file.Stat()
}

// Close implements vfs.File.
func (f *endingFile) Close() error { return f.f.ends("close", f.name, f.File.Close()) }
