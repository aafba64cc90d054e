package cold

import (
	"container/list"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// cache keeps decoded columns of blocks within a bound of bytes; what was not used for the longest time goes first.
type cache struct {
	limitBytes int64

	mu      sync.Mutex // guards what follows
	bytes   int64
	entries map[columnKey]*list.Element
	order   *list.List // of *cached; the newest in front
}

// columnKey names the values of a column in a block of a file.
type columnKey struct {
	file         uint64
	block, place int
}

type cached struct {
	key    columnKey
	values []datum.Datum
	bytes  int64
}

func newCache(limitBytes int64) *cache {
	return &cache{limitBytes: limitBytes, entries: map[columnKey]*list.Element{}, order: list.New()}
}

func (c *cache) get(key columnKey) ([]datum.Datum, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.entries[key]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(found)
	return found.Value.(*cached).values, true //nolint:errcheck // only put fills the list
}

func (c *cache) put(key columnKey, values []datum.Datum) {
	entry := &cached{key: key, values: values, bytes: sizeOf(values)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, again := c.entries[key]; again || entry.bytes > c.limitBytes {
		return
	}
	c.entries[key] = c.order.PushFront(entry)
	c.bytes += entry.bytes
	for c.bytes > c.limitBytes {
		last := c.order.Back()
		old := c.order.Remove(last).(*cached) //nolint:errcheck // only put fills the list
		delete(c.entries, old.key)
		c.bytes -= old.bytes
	}
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	c.order.Init()
	c.bytes = 0
}

// usedBytes is what the cache holds.
func (c *cache) usedBytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// decimalSize is about what a decimal takes beside its Datum.
const decimalSize = 48

func sizeOf(values []datum.Datum) int64 {
	size := int64(len(values)) * datum.Size
	for i := range values {
		switch kind := values[i].Kind(); kind { //nolint:exhaustive // the others take nothing more
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
