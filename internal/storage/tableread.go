package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ReadTable calls each for every entry of a table file that a TableWriter closed, in ascending order. Key and
// value are valid during the call only. A damaged file and an error of each end it.
func (e *Engine) ReadTable(path string, each func(key, value []byte) error) (err error) {
	f, err := e.fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return fmt.Errorf("open table file: %w", err)
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		_ = f.Close() // the read error is the one that matters
		return wrap(err, "table file %s", path)
	}
	table, err := sstable.NewReader(context.Background(), readable, e.tableOptions.MakeReaderOptions())
	if err != nil {
		_ = readable.Close() // the read error is the one that matters
		return wrap(err, "table file %s", path)
	}
	defer func() { err = errors.Join(err, wrap(table.Close(), "table file %s", path)) }()
	it, err := table.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return wrap(err, "table file %s", path)
	}
	defer func() { err = errors.Join(err, wrap(it.Close(), "table file %s", path)) }()
	for kv := it.First(); kv != nil; kv = it.Next() {
		value, _, err := kv.Value(nil)
		if err != nil {
			return wrap(err, "table file %s", path)
		}
		if err := each(kv.K.UserKey, value); err != nil {
			return err
		}
	}
	return wrap(it.Error(), "table file %s", path)
}
