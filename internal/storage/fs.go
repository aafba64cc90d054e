package storage

import "github.com/kalamdb/kalamdb-go/internal/storage/disk"

// FS returns the file system of the store; files for IngestReplace must be written through it.
func (e *Engine) FS() disk.FS { return e.fs }
