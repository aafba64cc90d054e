package statemachine

import (
	"encoding/binary"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/command"
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
	// A record of several commands of one log entry: format(1), then for each request id(16), length of the
	// response (uvarint), response.
	packedRecordFormat byte = 2

	floorFormat byte = 1
	floorLength      = 1 + 8
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
// the newest command). Where entries hold several commands that would be many times the window, so of more than a window
// and a chunk of requests only the newest window of them stays, and the index at which those begin is stored: it does not
// follow from the newest index. The records live in the store, one for each entry, in the same batch as the
// effects of their commands, and travel in snapshots; the map here is only an index of them.
type duplicates struct {
	group  shard.GroupID
	window uint64                     // the same on all replicas, from the founding on
	found  map[ident.RequestID]uint64 // index of the first copy
	order  []remembered               // by index; the oldest is at head
	head   int
	floor  uint64 // indexes below are forgotten

	later     storage.Later // records that are not in the batch yet
	open      []answered    // requests of the entry at openIndex, which have no record yet
	openIndex uint64
	record    []byte // is used again
}

// answered is a request with its response.
type answered struct {
	request  ident.RequestID
	response []byte
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
	floor := max(d.floorAt(index), d.floor)
	if count := uint64(len(d.order) - d.head); count > d.window+chunk { //nolint:gosec // not negative
		newest := d.order[uint64(len(d.order))-d.window].index
		if newest > floor {
			floor = newest
			value := binary.BigEndian.AppendUint64([]byte{floorFormat}, floor)
			if err := batch.Set(keys.Forgotten(d.group), value); err != nil {
				return err
			}
		}
	}
	if floor == d.floor {
		return nil
	}
	// Records that are collected may be among those that go.
	if err := d.settle(batch); err != nil {
		return err
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
func (d *duplicates) find(batch *storage.Batch, request ident.RequestID) (response []byte, known bool, err error) {
	index, known := d.found[request]
	if !known {
		return nil, false, nil
	}
	if index == d.openIndex {
		for i := range d.open {
			if d.open[i].request == request {
				return d.open[i].response, true, nil
			}
		}
	}
	if err = d.settle(batch); err != nil {
		return nil, false, err
	}
	value, ok, err := batch.Get(keys.Dedup(d.group, index))
	if err != nil {
		return nil, false, err
	}
	if !ok {
		return nil, false, fmt.Errorf("%w: no response of request %s at index %d", storage.ErrCorruption, request, index)
	}
	stored, err := decodeRecord(value)
	if err != nil {
		return nil, false, err
	}
	for i := range stored {
		if stored[i].request == request {
			return stored[i].response, true, nil
		}
	}
	return nil, false, fmt.Errorf("%w: index %d does not hold request %s", storage.ErrCorruption, index, request)
}

// forgotten reports whether a copy of the request that is applied now may have stood at an index that is no longer
// remembered.
func (d *duplicates) forgotten(minIndex uint64) bool {
	return d.floor > 0 && minIndex < d.floor-1
}

// remember notes the response of a request that was applied at index; finish records it. A request without an id is
// not remembered.
func (d *duplicates) remember(index uint64, request ident.RequestID, response []byte) {
	if request.IsZero() {
		return
	}
	d.open, d.openIndex = append(d.open, answered{request, response}), index
	d.add(index, request)
}

// finish records what was remembered of the entry at index. The batch has the record after settle.
func (d *duplicates) finish(index uint64) {
	if len(d.open) == 0 {
		return
	}
	if cap(d.record) > command.MaxPackedBytes {
		d.record = nil
	}
	d.record = appendRecord(d.record[:0], d.open)
	d.later.Set(keys.Dedup(d.group, index), d.record)
	clear(d.open)
	d.open, d.openIndex = d.open[:0], 0
}

// settle puts into the batch what finish has recorded.
func (d *duplicates) settle(batch *storage.Batch) error { return d.later.Into(batch) }

func (d *duplicates) add(index uint64, request ident.RequestID) {
	d.found[request] = index
	d.order = append(d.order, remembered{index, request})
}

// restore builds the index anew from the records.
func (d *duplicates) restore(reader storage.Reader) error {
	*d = *newDuplicates(d.group, d.window)
	if err := d.restoreFloor(reader); err != nil {
		return err
	}
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
	// What the index alone says of the floor is not stored: the next command forgets, once more, what the last one before
	// has forgotten.
	return it.Close()
}

// restoreFloor reads from where on requests are remembered, where that does not follow from the newest index.
func (d *duplicates) restoreFloor(reader storage.Reader) error {
	value, found, err := reader.Get(keys.Forgotten(d.group))
	if err != nil || !found {
		return err
	}
	if len(value) != floorLength || value[0] != floorFormat {
		return fmt.Errorf("%w: where the requests of %s begin: %d bytes", storage.ErrCorruption, d.group, len(value))
	}
	d.floor = binary.BigEndian.Uint64(value[1:])
	return nil
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
	stored, err := decodeRecord(value)
	if err != nil {
		return fmt.Errorf("index %d: %w", index, err)
	}
	for i := range stored {
		d.add(index, stored[i].request)
	}
	return nil
}

// appendRecord makes the record of the requests of one entry, of which there is at least one, behind value.
func appendRecord(value []byte, requests []answered) []byte {
	if len(requests) == 1 {
		value = append(value, recordFormat)
		value = append(value, requests[0].request[:]...)
		return append(value, requests[0].response...)
	}
	value = append(value, packedRecordFormat)
	for i := range requests {
		value = append(value, requests[i].request[:]...)
		value = binary.AppendUvarint(value, uint64(len(requests[i].response)))
		value = append(value, requests[i].response...)
	}
	return value
}

// decodeRecord takes a record apart; the responses alias value.
func decodeRecord(value []byte) ([]answered, error) {
	if len(value) >= recordHeader && value[0] == recordFormat {
		return []answered{{ident.RequestID(value[1:recordHeader]), value[recordHeader:]}}, nil
	}
	malformed := fmt.Errorf("%w: malformed record of requests (%d bytes)", storage.ErrCorruption, len(value))
	if len(value) == 0 || value[0] != packedRecordFormat {
		return nil, malformed
	}
	var found []answered
	for rest := value[1:]; len(rest) > 0; {
		var one answered
		if len(rest) < len(one.request) || len(found) == command.MaxPacked {
			return nil, malformed
		}
		rest = rest[copy(one.request[:], rest):]
		size, n := binary.Uvarint(rest)
		if n <= 0 || n > 1 && rest[n-1] == 0 || size > uint64(len(rest)-n) { //nolint:gosec // n is at most the length
			return nil, malformed
		}
		end := n + int(size) //nolint:gosec // at most what is left
		one.response, rest = rest[n:end:end], rest[end:]
		found = append(found, one)
	}
	if len(found) < 2 {
		return nil, malformed
	}
	return found, nil
}
