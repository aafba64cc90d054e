package storage

import (
	"github.com/cockroachdb/pebble/v2"
)

// CommitSync is Commit of a store with a write-ahead log: the batch, and all that were committed before it, are durable
// when it returns.
func (e *Engine) CommitSync(batch *Batch) error {
	if err := e.Failure(); err != nil {
		return err
	}
	if err := e.db.Apply(batch.b, pebble.Sync); err != nil {
		return wrap(err, "commit batch of %d bytes durably", batch.Len())
	}
	return e.Failure()
}
