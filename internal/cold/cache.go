package cold

import (
	"container/list"
	"sync"
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
