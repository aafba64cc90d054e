package live

import (
	"hash/maphash"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
)

// bucket is a set of subscriptions that a change concerns together. Each knows its place, so that leaving is cheap. What
// giving them a change needs is said once for all of them where it is the same, and lies in one place in front: with
// 100,000 subscriptions every other place in memory is far away. It fills two lines of the processor's cache: what a search
// reads is in the first.
type bucket struct {
	key     bucketKey
	entries []entry
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
	_          [4]uint64 // an object of 128 bytes begins at such a line, a smaller one anywhere
}

// entry is one subscription in a bucket.
type entry struct {
	sub  *Subscription
	conn *streamConn
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
	b.entries = append(b.entries, entry{sub: sub, conn: sub.conn})
}

// remove fills the gap with the last subscription.
func (b *bucket) remove(at int) {
	if !b.entries[at].sub.query.exact {
		b.tests--
	}
	last := len(b.entries) - 1
	moved := b.entries[last]
	b.entries[last] = entry{}
	b.entries = b.entries[:last]
	if at == last {
		return
	}
	b.entries[at] = moved
	for i := range moved.sub.places {
		if moved.sub.places[i].bucket == b {
			moved.sub.places[i].at = at
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
	for i := range b.entries {
		if !b.entries[i].sub.good(current) {
			return false
		}
	}
	b.checked = current
	return true
}

// good reports whether the caller's account is what it was when the subscription was made.
func (sub *Subscription) good(current *catalog.Catalog) bool {
	if sub.checked == current {
		return true
	}
	account, ok := current.User(sub.caller.User)
	if !ok || account.Deleted() || account.Role != sub.caller.Role {
		return false
	}
	sub.checked = current
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

// bucketTable finds buckets by value. It probes one slot after another from where the hash says: a find reads one line of
// the table's memory and one of the bucket's, where a map of strings reads two more.
type bucketTable struct {
	slots []slot // a power of two, at most three of four taken
	count int
}

// slot is empty without a bucket.
type slot struct {
	hash   uint64
	bucket *bucket
}

const smallestTable = 8

// find returns the bucket of a value, nil when there is none.
func (t *bucketTable) find(value []byte) *bucket {
	if t.count == 0 {
		return nil
	}
	hash := maphash.Bytes(hashSeed, value)
	mask := uint64(len(t.slots) - 1) //nolint:gosec // not empty
	for i := hash & mask; t.slots[i].bucket != nil; i = (i + 1) & mask {
		if t.slots[i].hash == hash && t.slots[i].bucket.key.is(value) {
			return t.slots[i].bucket
		}
	}
	return nil
}

// make returns the bucket of a value, a new one when there was none.
func (t *bucketTable) make(value string) *bucket {
	if b := t.find([]byte(value)); b != nil {
		return b
	}
	if 4*(t.count+1) > 3*len(t.slots) {
		t.resize(max(smallestTable, 2*len(t.slots)))
	}
	b := &bucket{key: newBucketKey(value)}
	t.put(slot{maphash.String(hashSeed, value), b})
	t.count++
	return b
}

// put fills the next empty slot.
func (t *bucketTable) put(s slot) {
	mask := uint64(len(t.slots) - 1) //nolint:gosec // not empty
	i := s.hash & mask
	for t.slots[i].bucket != nil {
		i = (i + 1) & mask
	}
	t.slots[i] = s
}

func (t *bucketTable) resize(size int) {
	old := t.slots
	t.slots = make([]slot, size)
	for _, s := range old {
		if s.bucket != nil {
			t.put(s)
		}
	}
}

// remove takes the bucket of a value out, and gives memory back that is mostly empty. Those behind it move up, so that
// no search ends at the gap.
func (t *bucketTable) remove(value string) {
	hash := maphash.String(hashSeed, value)
	mask := uint64(len(t.slots) - 1) //nolint:gosec // a value of the table is removed
	i := hash & mask
	for t.slots[i].hash != hash || !t.slots[i].bucket.key.is([]byte(value)) {
		i = (i + 1) & mask
	}
	for next := (i + 1) & mask; t.slots[next].bucket != nil; next = (next + 1) & mask {
		// One that is nearer to its own slot than the gap is stays.
		if home := t.slots[next].hash & mask; (next-home)&mask >= (next-i)&mask {
			t.slots[i] = t.slots[next]
			i = next
		}
	}
	t.slots[i] = slot{}
	if t.count--; t.count < len(t.slots)/8 && len(t.slots) > smallestTable {
		t.resize(len(t.slots) / 2)
	}
}

// each gives all buckets.
func (t *bucketTable) each(give func(*bucket)) {
	for _, s := range t.slots {
		if s.bucket != nil {
			give(s.bucket)
		}
	}
}
