package exec

import (
	"reflect"
	"sync/atomic"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// datumBytes is the size of a Datum without what it points to, entryBytes that of an entry of a map or list
// without its key.
const (
	datumBytes = datum.Size
	entryBytes = 48
	// pointerBytes is the size of a pointer in a list, sliceBytes that of a row.
	pointerBytes = 8
	sliceBytes   = 24
)

// budget bounds the memory that one statement holds in sorts, groups and results. It belongs to the
// statement's goroutine.
type budget struct {
	limitBytes int64
	usedBytes  int64
	lease      *memoryLease // the request's part of the node's memory
}

// leaseStepBytes is how much a request takes from the node at a time, so that it seldom asks.
const leaseStepBytes = 1 << 20

// nodeMemory bounds what all requests and open transactions of a node hold together.
type nodeMemory struct {
	limitBytes int64
	usedBytes  atomic.Int64
}

// Take reserves bytes unless that would be more than the node has.
func (m *nodeMemory) Take(bytes int64) error {
	if m.usedBytes.Add(bytes) <= m.limitBytes {
		return nil
	}
	m.usedBytes.Add(-bytes)
	full := fault.New(fault.Overloaded,
		"the statements and open transactions of this node need more than %d MiB of memory together; try again, or narrow the query with WHERE or LIMIT",
		m.limitBytes>>20)
	full.RetryAfter = time.Second
	return full
}

// Give returns bytes that were taken.
func (m *nodeMemory) Give(bytes int64) { m.usedBytes.Add(-bytes) }

// memoryLease is what one request has taken of the node's memory. It grows while the request runs and is given
// back when that ends. It belongs to the request's goroutine.
type memoryLease struct {
	node  *nodeMemory
	bytes int64
}

// reach makes the lease at least as large as a number of bytes.
func (l *memoryLease) reach(bytes int64) error {
	if bytes <= l.bytes {
		return nil
	}
	step := (bytes - l.bytes + leaseStepBytes - 1) / leaseStepBytes * leaseStepBytes
	if err := l.node.Take(step); err != nil {
		return err
	}
	l.bytes += step
	return nil
}

// giveBack ends the lease.
func (l *memoryLease) giveBack() {
	l.node.Give(l.bytes)
	l.bytes = 0
}

// take accounts for a row that is kept. A statement that needs more than its limit fails; nothing is
// dropped.
func (b *budget) take(row []datum.Datum) error {
	return b.takeBytes(rowBytes(row))
}

func (b *budget) takeBytes(n int64) error {
	b.usedBytes += n
	if b.usedBytes > b.limitBytes {
		return fault.New(fault.LimitExceeded,
			"the query needs more than %d MiB of memory; narrow it with WHERE or LIMIT", b.limitBytes>>20)
	}
	return b.lease.reach(b.usedBytes)
}

// keepIn appends an item to a list that the budget pays for by its room, which is more than what is in it, before there is such a list.
// While a list moves into a larger one both are paid for.
func keepIn[T any](b *budget, list []T, item T) ([]T, error) {
	if len(list) < cap(list) {
		return append(list, item), nil
	}
	const doubled = 256 // as append does; beyond it a quarter is added
	room := max(1, 2*cap(list))
	if cap(list) > doubled {
		room = cap(list) + cap(list)/4
	}
	size := sizeOf[T]()
	if err := b.takeBytes(int64(room) * size); err != nil {
		return list, err
	}
	b.usedBytes -= int64(cap(list)) * size
	grown := make([]T, len(list), room)
	copy(grown, list)
	return append(grown, item), nil
}

// sizeOf is the size of an item of a list.
func sizeOf[T any]() int64 {
	return int64(reflect.TypeFor[T]().Size()) //nolint:gosec // a type is no larger than memory
}

// give returns the memory of a row that is no longer kept.
func (b *budget) give(row []datum.Datum) { b.usedBytes -= rowBytes(row) }

// rowBytes estimates the memory of a row: exact for scalars and text, good enough for the rest.
func rowBytes(row []datum.Datum) int64 {
	total := int64(len(row)) * datumBytes
	for i := range row {
		total += int64(valueBytes(row[i]))
	}
	return total
}

func valueBytes(value datum.Datum) int {
	switch kind := value.Kind(); {
	case kind.IsString() || kind == datum.Bytes || kind == datum.UUID:
		return len(value.Str())
	case kind == datum.Decimal:
		return entryBytes
	case kind == datum.Embedding:
		return 4 * len(value.Embedding())
	case kind == datum.Array:
		total := 0
		for _, element := range value.Array() {
			total += datumBytes + valueBytes(element)
		}
		return total
	}
	return 0
}
