package storage

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// fresh is a file system on which no file is written a second time. Pebble would write over the files of its write-ahead log; who has
// one here has it for file systems on which that goes wrong.
type fresh struct{ disk.FS }

// ReuseForWrite implements disk.FS.
func (f fresh) ReuseForWrite(oldname, newname string, category disk.WriteCategory) (disk.File, error) {
	if err := f.Remove(oldname); err != nil {
		return nil, fmt.Errorf("remove %s: %w", oldname, err)
	}
	file, err := f.Create(newname, category)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", newname, err)
	}
	return file, nil
}

// Unwrap implements disk.FS.
func (f fresh) Unwrap() vfs.FS { return f.FS }
