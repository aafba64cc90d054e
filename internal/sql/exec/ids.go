package exec

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/google/uuid"
	"github.com/oklog/ulid/v2"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// The layout of a snowflake: milliseconds, then ten bits of the node, then twelve bits of a counter.
const (
	snowflakeNodeBits    = 10
	snowflakeCounterBits = 12
	// defaultEpochMillis is 2024-01-01 UTC, from which ids of column defaults count; the function
	// SNOWFLAKE_ID counts from 1970.
	defaultEpochMillis = 1_704_067_200_000
)

// identifiers makes ids that are unique across the cluster as long as node numbers are. It is safe for
// concurrent use.
type identifiers struct {
	clock  clock.Clock
	random io.Reader
	node   ident.NodeID

	mu      sync.Mutex // guards millis and counter
	millis  int64      // of the last snowflake
	counter int64      // of the last snowflake within its millisecond
}

// snowflake returns a new id that is greater than all before it, counted from an epoch. When more ids are
// asked for than fit into a millisecond, or the clock goes back, the time in the id runs ahead of the clock.
func (i *identifiers) snowflake(epochMillis int64) int64 {
	now := i.clock.Now().UnixMilli()
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case now > i.millis:
		i.millis, i.counter = now, 0
	case i.counter+1 < 1<<snowflakeCounterBits:
		i.counter++
	default:
		i.millis, i.counter = i.millis+1, 0
	}
	node := int64(i.node % (1 << snowflakeNodeBits))
	return ((i.millis-epochMillis)<<snowflakeNodeBits|node)<<snowflakeCounterBits | i.counter
}

// uuidV7 returns a new UUID of version 7 in canonical text.
func (i *identifiers) uuidV7() (string, error) {
	var id uuid.UUID
	if _, err := io.ReadFull(i.random, id[6:]); err != nil {
		return "", fmt.Errorf("draw a UUID: %w", err)
	}
	var millis [8]byte
	binary.BigEndian.PutUint64(millis[:], uint64(i.clock.Now().UnixMilli()))
	copy(id[:6], millis[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id.String(), nil
}

// newULID returns a new ULID in canonical text.
func (i *identifiers) newULID() (string, error) {
	id, err := ulid.New(uint64(i.clock.Now().UnixMilli()), i.random)
	if err != nil {
		return "", fmt.Errorf("draw a ULID: %w", err)
	}
	return id.String(), nil
}
