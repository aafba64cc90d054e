package storage

import (
	"errors"
	"io"
	"maps"
	"slices"
	"sync"

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
	i := &Iterator{it: it, among: among}
	among.opened(i)
	return i, nil
}

// openings knows the iterators and views that are open, so that tests find who forgets one. Only builds with the tag
// invariants note them: to do so in one place is what processors that open iterators in parallel would wait for.
type openings struct {
	mu   sync.Mutex // guards left
	left map[io.Closer]struct{}
}

func (o *openings) opened(c io.Closer) {
	if !invariant.Enabled {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.left == nil {
		o.left = make(map[io.Closer]struct{})
	}
	o.left[c] = struct{}{}
}

func (o *openings) closed(c io.Closer) {
	if !invariant.Enabled {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.left, c)
}

// Open returns how many iterators and views of the store are open, zero in builds without the tag invariants. Iterators of a
// view count beside it.
func (e *Engine) Open() int {
	e.open.mu.Lock()
	defer e.open.mu.Unlock()
	return len(e.open.left)
}

// CloseLeft closes what Open counts. A test that has found something open calls it before it closes the engine: else Pebble, which
// looks for such leaks in builds with the tag invariants, too, ends the process whenever the garbage collector comes by.
func (e *Engine) CloseLeft() error {
	e.open.mu.Lock()
	left := slices.Collect(maps.Keys(e.open.left))
	e.open.mu.Unlock()
	var failed error
	for _, c := range left {
		failed = errors.Join(failed, c.Close())
	}
	return failed
}

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

// Steps is how many entries the iterator has gone over to come where it stands, deleted ones included.
func (i *Iterator) Steps() int {
	stats := i.it.Stats()
	return stats.ForwardStepCount[pebble.InternalIterCall] + stats.ReverseStepCount[pebble.InternalIterCall]
}

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

// Close releases the iterator and returns the error of the walk, if it had one. Closing it again does nothing.
func (i *Iterator) Close() error {
	if i.it == nil {
		return nil
	}
	i.among.closed(i)
	it := i.it
	i.it = nil
	return wrap(it.Close(), "scan")
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
