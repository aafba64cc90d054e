package cold

import (
	"container/list"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// cache keeps values within a bound of bytes; what was not used for the longest time goes first.
type cache[K comparable, V any] struct {
	limitBytes int64

	mu      sync.Mutex // guards what follows
	bytes   int64
	entries map[K]*list.Element
	order   *list.List // of *cached[K, V]; the newest in front
}

// columnKey names the values of a column in a block of a file.
type columnKey struct {
	file         uint64
	block, place int
}

type cached[K comparable, V any] struct {
	key   K
	value V
	bytes int64
}

func newCache[K comparable, V any](limitBytes int64) *cache[K, V] {
	return &cache[K, V]{limitBytes: limitBytes, entries: map[K]*list.Element{}, order: list.New()}
}

func (c *cache[K, V]) get(key K) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.entries[key]
	if !ok {
		return value, false
	}
	c.order.MoveToFront(found)
	return found.Value.(*cached[K, V]).value, true //nolint:errcheck // only put fills the list
}

func (c *cache[K, V]) put(key K, value V, bytes int64) {
	entry := &cached[K, V]{key: key, value: value, bytes: bytes}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, again := c.entries[key]; again || entry.bytes > c.limitBytes {
		return
	}
	c.entries[key] = c.order.PushFront(entry)
	c.bytes += entry.bytes
	for c.bytes > c.limitBytes {
		last := c.order.Back()
		old := c.order.Remove(last).(*cached[K, V]) //nolint:errcheck // only put fills the list
		delete(c.entries, old.key)
		c.bytes -= old.bytes
	}
}

func (c *cache[K, V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	c.order.Init()
	c.bytes = 0
}

// usedBytes is what the cache holds.
func (c *cache[K, V]) usedBytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// decimalSize is about what a decimal takes beside its Datum.
const decimalSize = 48

// sizeOf is about what the values of a column take; all that are not NULL are of one kind.
func sizeOf(values []datum.Datum) int64 {
	size := int64(len(values)) * datum.Size
	for i := range values {
		switch kind := values[i].Kind(); kind { //nolint:exhaustive // the others take nothing more
		case datum.Boolean, datum.SmallInt, datum.Int, datum.BigInt, datum.Float, datum.Double, datum.Timestamp, datum.DateTime, datum.Date, datum.Time:
			return size
		case datum.Text, datum.JSON, datum.File, datum.Bytes, datum.UUID:
			size += int64(len(values[i].Str()))
		case datum.Decimal:
			size += decimalSize
		case datum.Embedding:
			size += 4 * int64(len(values[i].Embedding()))
		}
	}
	return size
}
