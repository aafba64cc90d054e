package statemachine

import (
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

const (
	// defaultWindow is how many log indexes back a request is remembered at least.
	defaultWindow = 16_384
	// chunk is how many indexes are forgotten at once, so that forgetting is one range deletion per
	// chunk and not one deletion per command. Up to the window and a chunk of requests are remembered.
	chunk = 1_024

	recordFormat byte = 1
	recordHeader      = 1 + 16
)

// duplicates remembers the responses of a group's recent requests, so that a retry is answered and not run again.
//
// A request keeps its id through all retries, and it carries min_index: an index that was applied, and so
// committed, where the request was made before it was first proposed. A committed index never takes
// another entry, so every copy of the request in the log lies above min_index. While all indexes above
// min_index are remembered, "not found" therefore means "never applied", exactly, and the request may run. When
// some of them are forgotten, an earlier copy might have run, and nobody can tell any more: the request is
// refused with an unknown outcome. It is never run on a guess.
//
// What is remembered is a function of the log alone: the commands with an index of at least floorAt(index of
// the newest command). The records live in the store, in the same batch as the effects of their commands,
// and travel in snapshots; the map here is only an index of them.
type duplicates struct {
	group  shard.GroupID
	window uint64                     // the same on all replicas, from the founding on
	found  map[ident.RequestID]uint64 // index of the first copy
	order  []remembered               // by index; the oldest is at head
	head   int
	floor  uint64 // indexes below are forgotten
}

type remembered struct {
	index   uint64
	request ident.RequestID
}

func newDuplicates(group shard.GroupID, window uint64) *duplicates {
	return &duplicates{group: group, window: RequestWindow(window), found: make(map[ident.RequestID]uint64)}
}

// RequestWindow is the window that is meant by a stored one: zero is the default.
func RequestWindow(stored uint64) uint64 {
	if stored == 0 {
		return defaultWindow
	}
	return stored
}

// floorAt is the lowest index that is remembered when the newest command stands at index.
func (d *duplicates) floorAt(index uint64) uint64 {
	if index <= d.window {
		return 0
	}
	return (index - d.window) / chunk * chunk
}

// evict forgets what has left the window when the log reaches index.
func (d *duplicates) evict(batch *storage.Batch, index uint64) error {
	floor := d.floorAt(index)
	if floor <= d.floor {
		return nil
	}
	if err := batch.DeleteRange(keys.DedupSpan(d.group, d.floor, floor)); err != nil {
		return err
	}
	d.floor = floor
	for d.head < len(d.order) && d.order[d.head].index < floor {
		delete(d.found, d.order[d.head].request)
		d.head++
	}
	if d.head > len(d.order)/2 {
		d.order = append(make([]remembered, 0, len(d.order)), d.order[d.head:]...)
		d.head = 0
	}
	return nil
}

// find returns the response of a remembered request.
func (d *duplicates) find(reader storage.Reader, request ident.RequestID) (response []byte, known bool, err error) {
	index, known := d.found[request]
	if !known {
		return nil, false, nil
	}
	value, ok, err := reader.Get(keys.Dedup(d.group, index))
	if err != nil {
		return nil, false, err
	}
	if !ok {
		return nil, false, fmt.Errorf("%w: no response of request %s at index %d", storage.ErrCorruption, request, index)
	}
	stored, response, err := decodeRecord(value)
	if err != nil {
		return nil, false, err
	}
	if stored != request {
		return nil, false, fmt.Errorf("%w: index %d holds request %s, not %s", storage.ErrCorruption, index, stored, request)
	}
	return response, true, nil
}

// forgotten reports whether a copy of the request may have stood at an index that is no longer remembered.
func (d *duplicates) forgotten(index, minIndex uint64) bool {
	floor := d.floorAt(index)
	return floor > 0 && minIndex < floor-1
}

// remember records the response of a request that was applied at index. A request without an id is not
// remembered.
func (d *duplicates) remember(batch *storage.Batch, index uint64, request ident.RequestID, response []byte) error {
	if request.IsZero() {
		return nil
	}
	value := make([]byte, 0, recordHeader+len(response))
	value = append(value, recordFormat)
	value = append(value, request[:]...)
	value = append(value, response...)
	if err := batch.Set(keys.Dedup(d.group, index), value); err != nil {
		return err
	}
	d.add(index, request)
	return nil
}

func (d *duplicates) add(index uint64, request ident.RequestID) {
	d.found[request] = index
	d.order = append(d.order, remembered{index, request})
}

// restore builds the index anew from the records.
func (d *duplicates) restore(reader storage.Reader) error {
	*d = *newDuplicates(d.group, d.window)
	lo, hi := keys.DedupAll(d.group)
	it, err := reader.Scan(lo, hi)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := d.restoreRecord(it); err != nil {
			_ = it.Close() // the first error is the one that matters
			return err
		}
	}
	// The floor stays zero: the next command forgets, once more, what the last one before has forgotten.
	return it.Close()
}

func (d *duplicates) restoreRecord(it *storage.Iterator) error {
	_, index, err := keys.ParseDedup(it.Key())
	if err != nil {
		return err
	}
	value, err := it.Value()
	if err != nil {
		return err
	}
	request, _, err := decodeRecord(value)
	if err != nil {
		return fmt.Errorf("index %d: %w", index, err)
	}
	d.add(index, request)
	return nil
}

// decodeRecord takes a record apart: format(1), request id(16), response. The response aliases value.
func decodeRecord(value []byte) (request ident.RequestID, response []byte, err error) {
	if len(value) < recordHeader || value[0] != recordFormat {
		return request, nil, fmt.Errorf("%w: malformed record of a request (%d bytes)", storage.ErrCorruption, len(value))
	}
	copy(request[:], value[1:recordHeader])
	return request, value[recordHeader:], nil
}
