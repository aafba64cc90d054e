// Package changelog keeps the newest changes of a group in the store, so that a cursor can be resumed.
//
// Each row that a command writes leaves one record under its _seq, in the same batch as the row: what was
// there before, and what is there now. The log is part of the group's keys, so replicas hold the same one and
// snapshots carry it. It is bounded by a Retention, which lies beside it and is changed by a command; what falls out of it leaves a floor behind. A position at or above the
// floor is resumed exactly. One below it is refused with ErrTooOld, unless nothing of what it asks for has
// changed since: then nothing was missed. A cursor that a client brings is looked at more closely, by CheckCursor.
//
// Writer is used by the applier alone and is deterministic: what is dropped depends on the log, on numbers
// stored with it and on times stamped into commands. The functions read any storage.Reader; they want a
// consistent one.
package changelog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// ErrTooOld says that changes after the cursor were dropped from the log.
var ErrTooOld = errors.New("cursor is too old")

// Retention bounds the log of one group: what is beyond any of the three is dropped by the next command that writes
// rows. The replicas of a group must agree on it.
type Retention struct {
	Entries   uint64 // changes
	Bytes     uint64 // of changes, as changefeed.Change.SizeBytes counts
	AgeMicros int64  // by the times stamped into commands
}

// DefaultRetention is what a group keeps that was never told otherwise.
func DefaultRetention() Retention {
	return Retention{Entries: 100_000, Bytes: 32 << 20, AgeMicros: 24 * 3600 * 1_000_000}
}

// trimPart is the part of a bound that is dropped at once when it is passed.
const trimPart = 16

// start is the stored beginning of the log.
type start struct {
	floor        uint64            // _seq of the newest change that was dropped
	totals       changefeed.Totals // at that place
	oldestMicros int64             // of the oldest change that is kept; zero when there is none
}

const (
	startFormat byte = 1
	startLen         = 1 + 4*8
)

func (s start) encode() []byte {
	value := append(make([]byte, 0, startLen), startFormat)
	value = binary.BigEndian.AppendUint64(value, s.floor)
	value = binary.BigEndian.AppendUint64(value, s.totals.Entries)
	value = binary.BigEndian.AppendUint64(value, s.totals.Bytes)
	return binary.BigEndian.AppendUint64(value, uint64(s.oldestMicros)) //nolint:gosec // the bits are kept
}

// readStart returns the beginning of a group's log; found is false when the group never wrote a change.
func readStart(reader storage.Reader, group shard.GroupID) (s start, found bool, err error) {
	value, found, err := reader.Get(keys.Changes(group))
	if err != nil || !found {
		return s, false, err
	}
	if len(value) != startLen || value[0] != startFormat {
		return s, false, fmt.Errorf("%w: beginning of the changes of %s: %d bytes", storage.ErrCorruption, group, len(value))
	}
	number := func(i int) uint64 { return binary.BigEndian.Uint64(value[1+8*i:]) }
	s = start{floor: number(0), totals: changefeed.Totals{Entries: number(1), Bytes: number(2)}}
	s.oldestMicros = int64(number(3)) //nolint:gosec // the bits are kept
	return s, true, nil
}

const (
	retentionFormat byte = 1
	retentionLen         = 1 + 3*8
)

func (r Retention) encode() []byte {
	value := append(make([]byte, 0, retentionLen), retentionFormat)
	value = binary.BigEndian.AppendUint64(value, r.Entries)
	value = binary.BigEndian.AppendUint64(value, r.Bytes)
	return binary.BigEndian.AppendUint64(value, uint64(r.AgeMicros)) //nolint:gosec // the bits are kept
}

// readRetention returns what a group keeps; found is false when it was never told.
func readRetention(reader storage.Reader, group shard.GroupID) (r Retention, found bool, err error) {
	value, found, err := reader.Get(keys.Retention(group))
	if err != nil || !found {
		return r, false, err
	}
	if len(value) != retentionLen || value[0] != retentionFormat {
		return r, false, fmt.Errorf("%w: retention of the changes of %s: %d bytes", storage.ErrCorruption, group, len(value))
	}
	number := func(i int) uint64 { return binary.BigEndian.Uint64(value[1+8*i:]) }
	return Retention{Entries: number(0), Bytes: number(1), AgeMicros: int64(number(2))}, true, nil //nolint:gosec // the bits are kept
}

// Writer appends to the log of one group.
type Writer struct {
	group     shard.GroupID
	standard  Retention // of a group that was never told otherwise
	retention Retention
	start     start
	started   bool // the beginning is stored
	totals    changefeed.Totals
	value     []byte        // reused between records
	later     storage.Later // records that are not in the batch yet
}

// NewWriter returns the writer of a group's log; Restore must be called before Append. The retention is that of a group
// that was never told otherwise.
func NewWriter(group shard.GroupID, retention Retention) *Writer {
	return &Writer{group: group, standard: retention, retention: retention}
}

// Retention is what the log is bounded by.
func (w *Writer) Retention() Retention { return w.retention }

// Retain changes the bounds and drops what the new ones no longer allow at a time. The newest change stays.
func (w *Writer) Retain(batch *storage.Batch, retention Retention, nowMicros int64) error {
	w.retention = retention
	if err := batch.Set(keys.Retention(w.group), retention.encode()); err != nil {
		return err
	}
	if !w.started || w.totals == w.start.totals {
		return nil
	}
	return w.trim(batch, nowMicros)
}

// Restore reads where the log stands.
func (w *Writer) Restore(reader storage.Reader) error {
	var err error
	w.later.Drop()
	if w.start, w.started, err = readStart(reader, w.group); err != nil {
		return fmt.Errorf("restore change log: %w", err)
	}
	kept, told, err := readRetention(reader, w.group)
	if err != nil {
		return fmt.Errorf("restore change log: %w", err)
	}
	if w.retention = w.standard; told {
		w.retention = kept
	}
	w.totals = w.start.totals
	lo, hi := keys.ChangesAfter(w.group, w.start.floor)
	it, err := reader.Scan(lo, hi)
	if err != nil {
		return fmt.Errorf("restore change log: %w", err)
	}
	if it.Last() {
		var record stored
		if record, err = recordAt(it); err == nil {
			w.totals = record.totals
		}
	}
	if closeErr := it.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("restore change log: %w", err)
	}
	return nil
}

// Append takes the changes of one command and drops what the bounds no longer allow. The batch may show them only once Settle was called, as it
// must be before the batch is committed.
func (w *Writer) Append(batch *storage.Batch, changes []changefeed.Change) error {
	if len(changes) == 0 {
		return nil
	}
	if !w.started {
		older, err := hasOlderRows(batch, w.group, command.SeqIndex(changes[0].Seq))
		if err != nil {
			return err
		}
		w.start = start{oldestMicros: changes[0].Micros}
		if older {
			// They left no record, so no cursor before this command can be resumed.
			w.start.floor = changes[0].Seq - 1
		}
		w.started = true
		if err := batch.Set(keys.Changes(w.group), w.start.encode()); err != nil {
			return err
		}
	}
	for i := range changes {
		w.totals.Entries++
		w.totals.Bytes += changes[i].SizeBytes()
		w.value = changefeed.AppendRecord(w.value[:0], &changes[i], w.totals)
		w.later.Set(keys.Change(w.group, changes[i].Seq), w.value)
	}
	return w.trim(batch, changes[len(changes)-1].Micros)
}

// Settle puts the changes into the batch that Append has taken.
func (w *Writer) Settle(batch *storage.Batch) error { return w.later.Into(batch) }

// hasOlderRows reports whether a row of the group was written before a log index. It reads the state alone, so
// all replicas find the same; it is asked once in the life of a group, before its first change is logged.
func hasOlderRows(reader storage.Reader, group shard.GroupID, index uint64) (bool, error) {
	lo, hi := keys.RowSpan(group)
	it, err := reader.Scan(lo, hi)
	if err != nil {
		return false, err
	}
	older := false
	for ok := it.First(); ok && !older; ok = it.Next() {
		var value []byte
		value, err = it.Value()
		if err == nil {
			var seq uint64
			seq, _, _, err = rowvalue.Decode(value)
			older = command.SeqIndex(seq) < index
		}
		if err != nil {
			_ = it.Close() // the first error is the one that matters
			return false, err
		}
	}
	if err = it.Close(); err != nil || older {
		return older, err
	}
	// Rows that were moved into segments were written before they were.
	lo, hi = keys.ManifestsSpan(group)
	err = manifest.Each(reader, lo, hi, func(_ []byte, m *commandv1.Manifest) error {
		older = older || len(m.GetSegments()) > 0
		return nil
	})
	return older, err
}

// trim drops the oldest changes when a bound is passed. It never drops the newest one.
func (w *Writer) trim(batch *storage.Batch, nowMicros int64) error {
	kept := changefeed.Totals{
		Entries: w.totals.Entries - w.start.totals.Entries, Bytes: w.totals.Bytes - w.start.totals.Bytes,
	}
	age := nowMicros - w.start.oldestMicros
	r := w.retention
	if kept.Entries <= r.Entries && kept.Bytes <= r.Bytes && age <= r.AgeMicros+r.AgeMicros/trimPart {
		return nil
	}
	if err := w.Settle(batch); err != nil {
		return err
	}
	lo, hi := keys.ChangesAfter(w.group, w.start.floor)
	it, err := batch.Scan(lo, hi)
	if err != nil {
		return err
	}
	next := w.start
	var dropped [][]byte
	for ok := it.First(); ok; ok = it.Next() {
		record, err := recordAt(it)
		if err != nil {
			_ = it.Close() // the malformed record is the error that matters
			return err
		}
		next.oldestMicros = record.Micros
		entries, size := w.totals.Entries-next.totals.Entries, w.totals.Bytes-next.totals.Bytes
		fits := entries <= r.Entries-r.Entries/trimPart && size <= r.Bytes-r.Bytes/trimPart
		if entries == 1 || fits && nowMicros-record.Micros <= r.AgeMicros {
			break
		}
		next.floor, next.totals = record.Seq, record.totals
		if len(dropped) <= storage.FewKeys {
			dropped = append(dropped, bytes.Clone(it.Key()))
		}
	}
	if err := it.Close(); err != nil {
		return err
	}
	if next.floor != w.start.floor {
		// What was dropped before lies in the store until it is compacted, and is not gone through again.
		span := storage.RangeOf(keys.ChangeSpan(w.group, w.start.floor, next.floor+1))
		if err := batch.DeleteSeen(span, dropped); err != nil {
			return err
		}
	}
	w.start = next
	return batch.Set(keys.Changes(w.group), next.encode())
}

// stored is a record with its running numbers.
type stored struct {
	changefeed.Change
	totals changefeed.Totals
}

// recordAt decodes the record under an iterator; it aliases the iterator's memory.
func recordAt(it *storage.Iterator) (stored, error) {
	_, seq, err := keys.ParseChange(it.Key())
	if err != nil {
		return stored{}, fmt.Errorf("%w: %w", storage.ErrCorruption, err)
	}
	value, err := it.Value()
	if err != nil {
		return stored{}, err
	}
	change, totals, err := changefeed.DecodeRecord(seq, value)
	if err != nil {
		return stored{}, fmt.Errorf("%w: change %d.%d: %w", storage.ErrCorruption, command.SeqIndex(seq), seq&command.MaxOrdinal, err)
	}
	return stored{change, totals}, nil
}
