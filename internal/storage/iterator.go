package storage

import (
	"errors"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kalamdb/kalamdb-go/internal/invariant"
)

// Iterator walks a span in key order, in both directions. It belongs to one goroutine. Each positioning
// method reports whether it stands on an entry; when one says false, Err tells whether the span ended or
// the walk failed.
type Iterator struct {
	it    *pebble.Iterator
	among *openings
}

func newIterator(among *openings, it *pebble.Iterator, err error) (*Iterator, error) {
	if err != nil {
		return nil, wrap(err, "scan")
	}
	among.add(1)
	return &Iterator{it: it, among: among}, nil
}

// openings counts iterators and views that are open, so that tests find who forgets one. Only builds with the tag
// invariants count: to count in one place is what processors that open iterators in parallel would wait for.
type openings struct{ n atomic.Int64 }

func (o *openings) add(by int64) {
	if invariant.Enabled {
		o.n.Add(by)
	}
}

// Open returns how many iterators and views of the store are open, zero in builds without the tag invariants. Iterators of a
// view count beside it.
func (e *Engine) Open() int { return int(e.open.n.Load()) }

// First moves to the first entry of the span.
func (i *Iterator) First() bool { return i.it.First() }

// Last moves to the last entry of the span.
func (i *Iterator) Last() bool { return i.it.Last() }

// Next moves to the following entry.
func (i *Iterator) Next() bool { return i.it.Next() }

// Prev moves to the preceding entry.
func (i *Iterator) Prev() bool { return i.it.Prev() }

// SeekGE moves to the first entry at or after the key.
func (i *Iterator) SeekGE(key []byte) bool { return i.it.SeekGE(key) }

// SeekLT moves to the last entry before the key.
func (i *Iterator) SeekLT(key []byte) bool { return i.it.SeekLT(key) }

// Key returns the key of the entry; it is valid until the iterator moves.
func (i *Iterator) Key() []byte { return i.it.Key() }

// Value returns the value of the entry; it is valid until the iterator moves.
func (i *Iterator) Value() ([]byte, error) {
	value, err := i.it.ValueAndErr()
	if err != nil {
		return nil, wrap(err, "read value")
	}
	return value, nil
}

// Err returns what ended the walk early, nil at the end of the span.
func (i *Iterator) Err() error { return wrap(i.it.Error(), "scan") }

// Close releases the iterator and returns the error of the walk, if it had one.
func (i *Iterator) Close() error {
	i.among.add(-1)
	return wrap(i.it.Close(), "scan")
}

// get reads one key and copies its value.
func get(reader pebble.Reader, key []byte) (value []byte, ok bool, err error) {
	found, closer, err := reader.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, wrap(err, "get %x", key)
	}
	value = append(make([]byte, 0, len(found)), found...)
	if err := closer.Close(); err != nil {
		return nil, false, wrap(err, "get %x", key)
	}
	return value, true, nil
}
