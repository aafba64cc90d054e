package storage

import (
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// FS returns the file system of the store; files for IngestReplace must be written through it. On a full disk it fails
// where the store itself waits for room (disk.Waiting): whoever sends a snapshot must not be held up by a receiver's disk.
func (e *Engine) FS() disk.FS { return e.beside }

func withoutWaiting(fs disk.FS) disk.FS {
	if waiting, ok := fs.(*disk.Waiting); ok {
		return waiting.FS
	}
	return fs
}

// rest holds up whoever tries again on a store that has failed, until the store is closed at the latest.
func (e *Engine) rest() {
	timer := clock.Real{}.NewTimer(retryPause) // for Pebble's goroutines, which know no other clock
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-e.closing:
	}
}
