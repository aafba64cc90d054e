package live

import (
	"hash/maphash"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
)

// bucket is a set of subscriptions that a change concerns together. Each knows its place, so that leaving is cheap. What
// giving them a change needs is said once for all of them where it is the same.
type bucket struct {
	entries []*Subscription
	// projection is that of all of them; nil when they differ.
	projection *Projection
	// after is not below the position of any of them: a change above it is new to all.
	after uint64
	// checked is the catalog under which all their accounts were found good; nil when that is not known.
	checked *catalog.Catalog
	tests   int // those whose condition says more than the bucket's equality
	// given and lastMicros are of the changes that went to all; see place.
	given      uint64
	lastMicros int64
}

// place is where a subscription stands in a bucket.
type place struct {
	bucket *bucket
	at     int
	given  uint64 // of the bucket, when the subscription came
}

// add takes a subscription in.
func (b *bucket) add(sub *Subscription) {
	projection := sub.query.projection
	switch {
	case len(b.entries) == 0:
		b.projection, b.checked = projection, sub.checked
	case b.projection != projection:
		b.projection = nil
	}
	if b.checked != nil && !sub.good(b.checked) {
		b.checked = nil
	}
	b.after = max(b.after, sub.position)
	if !sub.query.exact {
		b.tests++
	}
	sub.places = append(sub.places, place{bucket: b, at: len(b.entries), given: b.given})
	b.entries = append(b.entries, sub)
}

// remove fills the gap with the last subscription.
func (b *bucket) remove(at int) {
	if !b.entries[at].query.exact {
		b.tests--
	}
	last := len(b.entries) - 1
	moved := b.entries[last]
	b.entries[last] = nil
	b.entries = b.entries[:last]
	if at == last {
		return
	}
	b.entries[at] = moved
	for i := range moved.places {
		if moved.places[i].bucket == b {
			moved.places[i].at = at
		}
	}
}

// alike reports whether a change above a position that is certain for the bucket goes to all in it, as one event.
func (b *bucket) alike(seq uint64) bool { return b.tests == 0 && b.projection != nil && seq > b.after }

// allGood reports whether the accounts of all are good under a catalog.
func (b *bucket) allGood(current *catalog.Catalog) bool {
	if b.checked == current {
		return true
	}
	for _, sub := range b.entries {
		if !sub.good(current) {
			return false
		}
	}
	b.checked = current
	return true
}

// account adds up what a subscription was given, and when the newest of it was.
func (sub *Subscription) account() (given uint64, lastMicros int64) {
	given, lastMicros = sub.given, sub.lastMicros
	for _, p := range sub.places {
		if p.bucket.given > p.given {
			given += p.bucket.given - p.given
			lastMicros = max(lastMicros, p.bucket.lastMicros)
		}
	}
	return given, lastMicros
}

// leavePlaces forgets where the subscription stands, but not what it was given there.
func (sub *Subscription) leavePlaces() {
	sub.given, sub.lastMicros = sub.account()
	sub.places = nil
}

// shortKey is how long keys may be that lie within their bucket.
const shortKey = 15

// bucketKey is the encoding of a value.
type bucketKey struct {
	size  uint8 // of short; above shortKey when the key is long
	short [shortKey]byte
	long  *string
}

func newBucketKey(value string) bucketKey {
	k := bucketKey{size: shortKey + 1}
	if len(value) > shortKey {
		k.long = &value
		return k
	}
	k.size = uint8(copy(k.short[:], value)) //nolint:gosec // at most shortKey
	return k
}

func (k *bucketKey) is(value []byte) bool {
	if k.size > shortKey {
		return *k.long == string(value)
	}
	return string(k.short[:k.size]) == string(value)
}

// hashSeed is of all tables: what they are asked for is in their order of no place.
var hashSeed = maphash.MakeSeed()

// bucketTable finds buckets by value. With 100,000 subscriptions every place in memory is far away, so a find goes to few, and
// to none because of what it read at another that is far: tags, which are small enough to stay near, say which slot it is;
// the slot, one line of the processor's cache, has the value and where the entries lie, and the entries lie in one piece.
type bucketTable struct {
	tags  []uint32 // for each slot: emptyTag, or what tagOf gives; a power of two, at most three of four taken
	slots []slot
	count int
}

// slot is of one value. It has 64 bytes.
type slot struct {
	key     bucketKey
	entries []*Subscription // those of the bucket
	bucket  *bucket
	hash    uint64
}

const (
	smallestTable = 8
	emptyTag      = 0
)

// tagOf is the half of a hash that does not say where its slot is; it is not emptyTag.
func tagOf(hash uint64) uint32 { return uint32(hash>>32) | 1 }

// find returns the slot of a value, nil when there is none. It is valid until the table changes.
func (t *bucketTable) find(value []byte) *slot {
	if t.count == 0 {
		return nil
	}
	at, found := t.search(maphash.Bytes(hashSeed, value), value)
	if !found {
		return nil
	}
	return &t.slots[at]
}

// search probes one slot after another from where the hash says. It returns where the value is, or the first empty slot.
func (t *bucketTable) search(hash uint64, value []byte) (at uint64, found bool) {
	mask, tag := uint64(len(t.tags)-1), tagOf(hash) //nolint:gosec // not empty
	for at = hash & mask; t.tags[at] != emptyTag; at = (at + 1) & mask {
		if t.tags[at] == tag && t.slots[at].key.is(value) {
			return at, true
		}
	}
	return at, false
}

// add puts a subscription into the bucket of a value, a new one when there was none.
func (t *bucketTable) add(value string, sub *Subscription) {
	s := t.make(value)
	s.bucket.add(sub)
	s.entries = s.bucket.entries
}

// make returns the slot of a value, which is empty when it is new.
func (t *bucketTable) make(value string) *slot {
	hash := maphash.String(hashSeed, value)
	if t.count > 0 {
		if at, found := t.search(hash, []byte(value)); found {
			return &t.slots[at]
		}
	}
	if 4*(t.count+1) > 3*len(t.slots) {
		t.resize(max(smallestTable, 2*len(t.slots)))
	}
	t.count++
	return t.put(slot{key: newBucketKey(value), bucket: &bucket{}, hash: hash})
}

// put fills the next empty slot.
func (t *bucketTable) put(s slot) *slot {
	mask := uint64(len(t.slots) - 1) //nolint:gosec // not empty
	at := s.hash & mask
	for t.tags[at] != emptyTag {
		at = (at + 1) & mask
	}
	t.tags[at], t.slots[at] = tagOf(s.hash), s
	return &t.slots[at]
}

func (t *bucketTable) resize(size int) {
	tags, slots := t.tags, t.slots
	t.tags, t.slots = make([]uint32, size), make([]slot, size)
	for i, s := range slots {
		if tags[i] != emptyTag {
			t.put(s)
		}
	}
}

// left follows what left the bucket of a value, and takes the bucket out when it is empty.
func (t *bucketTable) left(value string) {
	at, found := t.search(maphash.String(hashSeed, value), []byte(value))
	if !found {
		return // the value was there twice
	}
	if s := &t.slots[at]; len(s.bucket.entries) > 0 {
		s.entries = s.bucket.entries
		return
	}
	t.take(at)
}

// take empties a slot, and gives memory back that is mostly empty. Those behind it move up, so that no search ends at
// the gap.
func (t *bucketTable) take(at uint64) {
	mask := uint64(len(t.slots) - 1) //nolint:gosec // it has a slot
	for next := (at + 1) & mask; t.tags[next] != emptyTag; next = (next + 1) & mask {
		// One that is nearer to its own slot than the gap is stays.
		if home := t.slots[next].hash & mask; (next-home)&mask >= (next-at)&mask {
			t.tags[at], t.slots[at] = t.tags[next], t.slots[next]
			at = next
		}
	}
	t.tags[at], t.slots[at] = emptyTag, slot{}
	if t.count--; t.count < len(t.slots)/8 && len(t.slots) > smallestTable {
		t.resize(len(t.slots) / 2)
	}
}

// each gives all buckets.
func (t *bucketTable) each(give func(*bucket)) {
	for i, tag := range t.tags {
		if tag != emptyTag {
			give(t.slots[i].bucket)
		}
	}
}
