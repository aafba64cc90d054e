// Package disk is the door to the file system: the interface that production, crash tests and the
// simulator implement.
//
// It re-exports Pebble's virtual file system, because the row store needs exactly that one, and so one
// crash of a node loses the unsynced bytes of its log and its store together. Only packages under storage
// may import Pebble; all others name files through this package.
package disk

import (
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is a file system. Errors of Sync are final: the content of the file is unknown afterwards, so the
// node must stop.
type FS = vfs.FS

// File is an open file.
type File = vfs.File

// WriteCategory is the label of a file's writes in the disk statistics.
type WriteCategory = vfs.DiskWriteCategory

// OpenOption is applied to a file when it is opened.
type OpenOption = vfs.OpenOption

// FileMode holds the permission bits of a directory.
type FileMode = os.FileMode

// Category labels writes for the disk statistics.
const Category = vfs.WriteCategoryUnspecified

// Local is the machine's file system.
func Local() FS { return local{vfs.Default} }

// WriteFileAtomic replaces the file at path by data, durably: the data is synced under a temporary name,
// renamed, and the directory is synced. After a crash the file has either the old content or the new.
func WriteFileAtomic(fs FS, path string, data []byte) error {
	tmp := path + ".tmp"
	f, err := fs.Create(tmp, Category)
	if err != nil {
		return fmt.Errorf("create %s: %w", tmp, err)
	}
	if _, err := f.Write(data); err != nil {
		_ = f.Close() // the write error is the one that matters
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if err := f.Sync(); err != nil {
		_ = f.Close() // the sync error is the one that matters
		return fmt.Errorf("sync %s: %w", tmp, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close %s: %w", tmp, err)
	}
	if err := fs.Rename(tmp, path); err != nil {
		return fmt.Errorf("rename %s: %w", path, err)
	}
	return SyncDir(fs, fs.PathDir(path))
}

// SyncDir makes created and renamed entries of a directory durable.
func SyncDir(fs FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", dir, err)
	}
	if err := d.Sync(); err != nil {
		_ = d.Close() // the sync error is the one that matters
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return d.Close()
}
