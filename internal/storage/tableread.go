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
func (e *Engine) ReadTable(path string, each func(key, value []byte) error) error {
	return e.walkTable(path, vfs.SequentialReadsOption, func(it sstable.Iterator) error {
		for kv := it.First(); kv != nil; kv = it.Next() {
			value, _, err := kv.Value(nil)
			if err != nil {
				return wrap(err, "table file %s", path)
			}
			if err := each(kv.K.UserKey, value); err != nil {
				return err
			}
		}
		return nil
	})
}

// walkTable opens a table file and gives its entries to walk. An iterator that ends early is told from one that
// saw all: its error is the result when walk has none.
func (e *Engine) walkTable(path string, pattern vfs.OpenOption, walk func(sstable.Iterator) error) (err error) {
	f, err := e.fs.Open(path, pattern)
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
	if err := walk(it); err != nil {
		return err
	}
	return wrap(it.Error(), "table file %s", path)
}
