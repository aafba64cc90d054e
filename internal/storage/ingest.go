package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// TableWriter writes one table file for IngestReplace. It belongs to one goroutine.
type TableWriter struct {
	path string
	w    *sstable.Writer
	last []byte
	n    int
}

// NewTableWriter creates a table file. The path must be on the engine's file system and outside its
// directory; an existing file is replaced.
func (e *Engine) NewTableWriter(path string) (*TableWriter, error) {
	f, err := e.FS().Create(path, disk.Category)
	if err != nil {
		return nil, fmt.Errorf("create table file: %w", err)
	}
	// The lowest level's options: a replaced group has nothing beneath it.
	options := e.writerOptions()
	return &TableWriter{path: path, w: sstable.NewWriter(objstorageprovider.NewFileWritable(f), options)}, nil
}

// Set adds an entry; keys must be strictly ascending.
func (t *TableWriter) Set(key, value []byte) error {
	if t.n > 0 && bytes.Compare(key, t.last) <= 0 {
		return fmt.Errorf("table file %s: key %x does not follow %x", t.path, key, t.last)
	}
	t.last = append(t.last[:0], key...)
	t.n++
	return wrap(t.w.Set(key, value), "table file %s", t.path)
}

// Size estimates the size of the finished file in bytes.
func (t *TableWriter) Size() uint64 { return t.w.Raw().EstimatedSize() }

// Count returns the number of entries.
func (t *TableWriter) Count() int { return t.n }

// Close finishes and syncs the file. The directory entry is made durable by IngestReplace.
func (t *TableWriter) Close() error { return wrap(t.w.Close(), "table file %s", t.path) }

// IngestReplace replaces everything in lo <= key < hi by the contents of the table files, atomically: a reader,
// and a crash at any moment, finds the old content or the new. When it returns without error the new
// content is durable. The files must have disjoint keys inside the span, in any order; they are moved into the
// store, and no files at all empties the span. After an error of the call the old content is in place
// unless the store failed. Writers to the span must be kept out by the caller.
func (e *Engine) IngestReplace(lo, hi []byte, paths []string) error {
	if bytes.Compare(lo, hi) >= 0 {
		return errors.New("replace span: the span is empty")
	}
	if err := e.Failure(); err != nil {
		return err
	}
	for _, path := range paths {
		if err := e.checkBounds(path, lo, hi); err != nil {
			return fmt.Errorf("replace span %x to %x: %w", lo, hi, err)
		}
	}
	defer e.rare.change()()
	_, err := e.db.IngestAndExcise(context.Background(), paths, nil, nil, pebble.KeyRange{Start: lo, End: hi})
	if err != nil {
		return wrap(err, "replace span %x to %x", lo, hi)
	}
	e.hardened.Add(1)
	return e.Failure()
}

// checkBounds refuses a table file with keys outside a span; Pebble would ingest it.
func (e *Engine) checkBounds(path string, lo, hi []byte) error {
	return e.walkTable(path, vfs.RandomReadsOption, func(it sstable.Iterator) error {
		if first := it.First(); first != nil && bytes.Compare(first.K.UserKey, lo) < 0 {
			return fmt.Errorf("table file %s: key %x lies before the span", path, first.K.UserKey)
		}
		if last := it.Last(); last != nil && bytes.Compare(last.K.UserKey, hi) >= 0 {
			return fmt.Errorf("table file %s: key %x lies behind the span", path, last.K.UserKey)
		}
		return nil
	})
}
