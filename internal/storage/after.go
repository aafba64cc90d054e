package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ofTheList reports whether a file is the library's list of tables, or says which one counts.
func ofTheList(name string) bool {
	base := path.Base(name)
	return strings.HasPrefix(base, "MANIFEST-") || strings.HasPrefix(base, "marker.")
}

// flushCategory is what the library says of the tables that it makes of memtables.
const flushCategory vfs.DiskWriteCategory = "pebble-memtable-flush"

// after holds what the library flushes once the store has failed: in memory, until the store is closed. There is little of it, because
// nobody commits any more: the memtables that were there, as tables, and the list of tables. Compactions, which need more, and which nobody waits
// for, are refused (see guarded).
type after struct {
	once sync.Once
	mem  vfs.FS
}

// files is the file system in memory.
func (a *after) files() vfs.FS {
	a.once.Do(func() { a.mem = vfs.NewMem() })
	return a.mem
}

func (a *after) create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := a.files().MkdirAll(path.Dir(name), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of %s in memory: %w", name, err)
	}
	return a.files().Create(name, category)
}

// has reports whether a file was begun after the failure.
func (a *after) has(name string) bool {
	_, err := a.files().Stat(name)
	return err == nil
}

// Open implements vfs.FS.
func (f *ending) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if f.over() && f.after.has(name) {
		return f.after.files().Open(name, opts...)
	}
	return f.FS.Open(name, opts...)
}

// Stat implements vfs.FS.
func (f *ending) Stat(name string) (vfs.FileInfo, error) {
	if f.over() && f.after.has(name) {
		return f.after.files().Stat(name)
	}
	return f.FS.Stat(name)
}

// Remove implements vfs.FS. What the library takes for replaced may be in memory only, so what lies on the disk stays.
func (f *ending) Remove(name string) error {
	if !f.over() {
		return f.FS.Remove(name)
	}
	if err := f.after.files().Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s of the memory: %w", name, err)
	}
	return nil
}

// kept wraps a new file that is no file of the log.
func (f *ending) kept(name string, category vfs.DiskWriteCategory, file vfs.File, err error) (vfs.File, error) {
	list := ofTheList(name)
	if err != nil {
		if !list {
			return nil, err
		}
		if err = f.ends("begin", name, err); err != nil {
			return nil, err
		}
		return f.after.create(name, category)
	}
	return &keptFile{File: file, f: f, list: list, name: name}, nil
}

// keptFile is a file that was begun before the store failed. A table that is half written then cannot be finished: its writer is told, and
// begins it again, in memory. The list of tables takes nothing more from an error on, of which the library must not hear: it would panic.
type keptFile struct {
	vfs.File
	f    *ending
	list bool
	name string
}

func (k *keptFile) change(what string, do func() error) error {
	if !k.f.over() {
		if err := do(); err != nil {
			if k.list {
				return k.f.ends(what, k.name, err)
			}
			return err
		}
		return nil
	}
	if k.list {
		return nil
	}
	return k.f.engine.Failure()
}

// Write implements vfs.File.
func (k *keptFile) Write(p []byte) (n int, err error) {
	err = k.change("write", func() error {
		n, err = k.File.Write(p)
		return err
	})
	if err == nil {
		n = len(p)
	}
	return n, err
}

// Sync implements vfs.File.
func (k *keptFile) Sync() error { return k.change("sync", k.File.Sync) }

// SyncData implements vfs.File.
func (k *keptFile) SyncData() error { return k.change("sync", k.File.SyncData) }

// SyncTo implements vfs.File.
func (k *keptFile) SyncTo(length int64) (full bool, err error) {
	err = k.change("sync", func() error {
		full, err = k.File.SyncTo(length)
		return err
	})
	return full, err
}

// Close implements vfs.File. The library ends one list of tables when it has begun the next one.
func (k *keptFile) Close() error {
	err := k.File.Close()
	if k.list {
		return k.f.ends("close", k.name, err)
	}
	return err
}
