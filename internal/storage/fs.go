package storage

import "github.com/kalamdb/kalamdb-go/internal/storage/disk"

// FS returns the file system of the store; files for IngestReplace must be written through it. On a full disk it fails
// where the store itself waits for room (disk.Waiting): whoever sends a snapshot must not be held up by a receiver's disk.
func (e *Engine) FS() disk.FS {
	if waiting, ok := e.fs.(*disk.Waiting); ok {
		return waiting.FS
	}
	return e.fs
}
