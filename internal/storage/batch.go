package storage

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// Batch collects writes and commits them as one. As a Reader it shows the newest state of the engine with
// its own writes on top, in the order they were made. A batch belongs to one goroutine.
type Batch struct {
	b     *pebble.Batch
	among *openings // of its iterators
	rare  bool      // SetRare was called
}

// NewBatch returns an empty batch; it must be closed.
func (e *Engine) NewBatch() *Batch { return &Batch{b: e.db.NewIndexedBatch(), among: &e.open} }

// Commit applies the batch atomically; every reader sees all of it or nothing. It is not durable until it
// is flushed. After a commit the batch must be Reset or closed before it is used again. An error is final:
// what the store holds is unknown and the node must stop.
func (e *Engine) Commit(batch *Batch) error {
	if err := e.Failure(); err != nil {
		return err
	}
	if batch.rare {
		defer e.rare.change()()
	}
	if err := e.db.Apply(batch.b, pebble.NoSync); err != nil {
		return wrap(err, "commit batch of %d bytes", batch.Len())
	}
	return nil
}

// Get implements Reader.
func (b *Batch) Get(key []byte) (value []byte, ok bool, err error) { return get(b.b, key) }

// Scan implements Reader. The iterator shows the batch as it is now; later writes are not seen by it.
func (b *Batch) Scan(lo, hi []byte) (*Iterator, error) {
	it, err := b.b.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	return newIterator(b.among, it, err)
}

// Set writes a key; key and value are copied.
func (b *Batch) Set(key, value []byte) error {
	return wrap(b.b.Set(key, value, nil), "set %x", key)
}

// SetRare is Set of a key of a kind that is looked for often and hardly ever there: see RareVersion.
func (b *Batch) SetRare(key, value []byte) error {
	b.rare = true
	return b.Set(key, value)
}

// Delete removes a key.
func (b *Batch) Delete(key []byte) error { return wrap(b.b.Delete(key, nil), "delete %x", key) }

// FewKeys is up to how many keys of a range are deleted one by one.
const FewKeys = 16

// Range is the keys with Lo <= key < Hi.
type Range struct{ Lo, Hi []byte }

// RangeOf makes a range of what packages that name spans return.
func RangeOf(lo, hi []byte) Range { return Range{lo, hi} }

// DeleteRange removes every key with lo <= key < hi, including those written earlier in this batch. A range with few keys
// costs their deletions and nothing else: what the memtable holds of deleted ranges is put in order anew with every
// further one, and every read looks at it. Most ranges of dropped tables are empty, since a table has rows in few groups.
func (b *Batch) DeleteRange(lo, hi []byte) error { return b.DeleteRanges(RangeOf(lo, hi)) }

// DeleteRanges is DeleteRange of several ranges, which it looks through with one iterator: to open one costs more than to
// find that a range is empty.
func (b *Batch) DeleteRanges(ranges ...Range) error {
	found, err := b.keysWithin(ranges, FewKeys)
	if err != nil {
		return err
	}
	for i, r := range ranges {
		if err := b.DeleteSeen(r, found[i]); err != nil {
			return err
		}
	}
	return nil
}

// DeleteSeen is DeleteRange for who has looked through the range already: found are its keys, or, of more than FewKeys, the
// first at least FewKeys+1.
func (b *Batch) DeleteSeen(r Range, found [][]byte) error {
	if len(found) > FewKeys {
		return wrap(b.b.DeleteRange(r.Lo, r.Hi, nil), "delete range %x to %x", r.Lo, r.Hi)
	}
	for _, key := range found {
		if err := b.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// keysWithin returns the first keys of each range, at most one more than most.
func (b *Batch) keysWithin(ranges []Range, most int) (found [][][]byte, err error) {
	if len(ranges) == 0 {
		return nil, nil
	}
	hull := ranges[0]
	for _, r := range ranges[1:] {
		hull.Lo, hull.Hi = minKey(hull.Lo, r.Lo), maxKey(hull.Hi, r.Hi)
	}
	it, err := b.Scan(hull.Lo, hull.Hi)
	if err != nil {
		return nil, err
	}
	found = make([][][]byte, len(ranges))
	ok := true
	for i, r := range ranges {
		// Behind an earlier range the iterator stands on the first key after it: where that is, or that there is none, tells of
		// this range, too, unless the key lies before it.
		follows := i > 0 && bytes.Compare(ranges[i-1].Hi, r.Lo) <= 0
		if !follows || ok && bytes.Compare(it.Key(), r.Lo) < 0 {
			ok = it.SeekGE(r.Lo)
		}
		for ; ok && len(found[i]) <= most && bytes.Compare(it.Key(), r.Hi) < 0; ok = it.Next() {
			found[i] = append(found[i], bytes.Clone(it.Key()))
		}
		if it.Err() != nil {
			break // an iterator that has failed must not pass for one at its end
		}
	}
	return found, errors.Join(it.Err(), it.Close())
}

func minKey(a, b []byte) []byte {
	if bytes.Compare(b, a) < 0 {
		return b
	}
	return a
}

func maxKey(a, b []byte) []byte {
	if bytes.Compare(b, a) > 0 {
		return b
	}
	return a
}

// Len returns the size of the batch in bytes.
func (b *Batch) Len() int { return b.b.Len() }

// Count returns the number of writes in the batch.
func (b *Batch) Count() int { return int(b.b.Count()) }

// Reset empties the batch for reuse.
func (b *Batch) Reset() {
	b.b.Reset()
	b.rare = false
}

// Close gives up the batch; uncommitted writes are dropped.
func (b *Batch) Close() error { return wrap(b.b.Close(), "close batch") }
