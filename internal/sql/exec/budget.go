package exec

import (
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// datumBytes is the size of a Datum without what it points to, entryBytes that of an entry of a map or list
// without its key.
const (
	datumBytes = datum.Size
	entryBytes = 48
)

// budget bounds the memory that one statement holds in sorts, groups and results. It belongs to the
// statement's goroutine.
type budget struct {
	limitBytes int64
	usedBytes  int64
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
	return nil
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
