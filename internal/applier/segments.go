package applier

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/invariant"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// commitSegment makes a file part of a scope, and removes the hot rows that are in it.
func (d *Data) commitSegment(
	batch *storage.Batch, header *commandv1.Header, body *commandv1.CommitSegment,
) (*commandv1.Response, error) {
	scope := coldScope{ident.TableID(body.GetTableId()), ident.UserID(body.GetUser())}
	m, refusal, err := d.admitCold(batch, scope, body.GetRevision(), body.GetExpectVersion())
	if refusal != nil || err != nil {
		return refusal, err
	}
	segment := body.GetSegment()
	switch {
	case len(m.GetSegments()) >= manifest.MaxSegments:
		return command.Refuse(fault.LimitExceeded, "the scope has %d segments; compact the table first", len(m.GetSegments())), nil
	case segment.GetNumber() < m.GetNextNumber() || bytes.Compare(segment.GetMinKey(), segment.GetMaxKey()) > 0:
		return command.Refuse(fault.Internal, "the segment cannot be part of the table"), nil
	}
	if refusal, err = d.removeFlushed(batch, scope, segment, body.GetUptoIndex(), header.GetLogFormat()); refusal != nil || err != nil {
		return refusal, err
	}
	segment.Added = m.GetVersion() + 1
	m.Segments = append(m.Segments, segment)
	m.NextNumber = segment.GetNumber() + 1
	return done("Segment %d added", segment.GetNumber()), d.putManifest(batch, scope, m, header.GetNowMicros())
}

// maxKept is how many rows may stay in a range that is deleted as one; with more of them each row that goes is deleted by
// itself.
const maxKept = 1024

// removeFlushed removes the hot rows within the keys of a segment that were written up to an index. Exactly those are in
// the file: of each key the newest version is stored, so a row that was changed since is of a later index.
func (d *Data) removeFlushed(
	batch *storage.Batch, scope coldScope, segment *commandv1.Segment, uptoIndex uint64, logFormat uint32,
) (*commandv1.Response, error) {
	low := keys.Row(d.group, scope.table, scope.user, segment.GetMinKey())
	high := append(keys.Row(d.group, scope.table, scope.user, segment.GetMaxKey()), 0)
	last, err := d.lastWrite(batch, uint64(scope.table), string(scope.user))
	if err != nil {
		return nil, err
	}
	if last == 0 { // the user was purged; the account that has the name now must not see what was read before
		return command.Refuse(fault.Conflict, "the rows were removed meanwhile; run the job again"), nil
	}
	if last <= uptoIndex && !invariant.Enabled {
		return nil, batch.DeleteRange(low, high)
	}
	var kept, values [][]byte
	removed, found := uint64(0), uint64(0)
	err = d.eachFlushed(batch, low, high, uptoIndex, func(key, value []byte, gone bool) error {
		found++
		switch {
		case gone:
			removed++
		case len(kept) <= maxKept:
			kept, values = append(kept, bytes.Clone(key)), append(values, bytes.Clone(value))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if removed > segment.GetRows() {
		return command.Refuse(fault.Internal, "the segment has %d rows and would replace %d", segment.GetRows(), removed), nil
	}
	// A row that is there since before the index shows that the scope was not purged since. Without one, what is hot may be of another account of the
	// name, which must not see what is in the file; or all of the file is old.
	if last > uptoIndex && removed == 0 && logFormat >= command.FlushFormat {
		return command.Refuse(fault.NotFound, "all rows of the segment were changed or removed meanwhile"), nil
	}
	if last > uptoIndex && found < segment.GetRows() { // each row of the file is still there, or a newer version of it
		return command.Refuse(fault.Conflict, "the rows were removed meanwhile; run the job again"), nil
	}
	if len(kept) > maxKept {
		return nil, d.eachFlushed(batch, low, high, uptoIndex, func(key, _ []byte, gone bool) error {
			if !gone {
				return nil
			}
			return batch.Delete(key)
		})
	}
	if err := batch.DeleteRange(low, high); err != nil {
		return nil, err
	}
	for i := range kept {
		if err := batch.Set(kept[i], values[i]); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// eachFlushed visits the hot rows of a range and says of each whether it was written up to an index.
func (d *Data) eachFlushed(
	batch *storage.Batch, low, high []byte, uptoIndex uint64, visit func(key, value []byte, gone bool) error,
) error {
	it, err := batch.Scan(low, high)
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		var seq uint64
		if err == nil {
			seq, _, _, err = rowvalue.Decode(value)
		}
		if err == nil {
			err = visit(it.Key(), value, command.SeqIndex(seq) <= uptoIndex)
		}
		if err != nil {
			_ = it.Close() // the first error is the one that matters
			return fmt.Errorf("move rows: row %x: %w", it.Key(), err)
		}
	}
	return it.Close()
}

// replaceSegments puts segments in the place of others that hold the same rows.
func (d *Data) replaceSegments(
	batch *storage.Batch, nowMicros int64, body *commandv1.ReplaceSegments,
) (*commandv1.Response, error) {
	scope := coldScope{ident.TableID(body.GetTableId()), ident.UserID(body.GetUser())}
	m, refusal, err := d.admitCold(batch, scope, body.GetRevision(), body.GetExpectVersion())
	if refusal != nil || err != nil {
		return refusal, err
	}
	added := uint64(0)
	var left, gone []*commandv1.Segment
	for _, s := range m.GetSegments() {
		if slices.Contains(body.GetNumbers(), s.GetNumber()) {
			added, gone = max(added, s.GetAdded()), append(gone, s)
		} else {
			left = append(left, s)
		}
	}
	if len(left)+len(body.GetNumbers()) != len(m.GetSegments()) {
		return command.Refuse(fault.Internal, "a segment that would be replaced is not there"), nil
	}
	for _, s := range body.GetSegments() {
		// Its number may be lower than the next one: a flush may have taken a later one while these were written.
		if numbered(left, s.GetNumber()) || numbered(gone, s.GetNumber()) || bytes.Compare(s.GetMinKey(), s.GetMaxKey()) > 0 {
			return command.Refuse(fault.Internal, "the segment cannot be part of the table"), nil
		}
		// What is known of its rows was known before: no statement has to look again.
		s.Added, m.NextNumber = added, max(m.GetNextNumber(), s.GetNumber()+1)
		left = append(left, s)
	}
	m.Segments, m.Replaced = left, remember(m.GetReplaced(), gone)
	return done("%d segments replaced", len(body.GetNumbers())), d.putManifest(batch, scope, m, nowMicros)
}

func numbered(segments []*commandv1.Segment, number uint64) bool {
	return slices.ContainsFunc(segments, func(s *commandv1.Segment) bool { return s.GetNumber() == number })
}

// remember adds segments to what is remembered of those that were replaced.
func remember(replaced *commandv1.ReplacedSegments, gone []*commandv1.Segment) *commandv1.ReplacedSegments {
	for _, s := range gone {
		if replaced == nil {
			replaced = &commandv1.ReplacedSegments{MinKey: s.GetMinKey(), MaxKey: s.GetMaxKey()}
		}
		if bytes.Compare(s.GetMinKey(), replaced.GetMinKey()) < 0 {
			replaced.MinKey = s.GetMinKey()
		}
		if bytes.Compare(s.GetMaxKey(), replaced.GetMaxKey()) > 0 {
			replaced.MaxKey = s.GetMaxKey()
		}
		replaced.Added, replaced.MaxSeq = max(replaced.GetAdded(), s.GetAdded()), max(replaced.GetMaxSeq(), s.GetMaxSeq())
	}
	return replaced
}
