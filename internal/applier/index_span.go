package applier

import (
	"bytes"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// checkIndexSpans refuses the command when the entries of an index within a range are no longer those that were read. As
// many entries as then, all of rows that were not written since, are the same entries: a row that came, or changed, was
// written since, and one that went left one entry less.
func (d *Data) checkIndexSpans(batch *storage.Batch, spans []*commandv1.IndexSpanUnchanged, left *int) (*commandv1.Response, error) {
	for _, span := range spans {
		last, err := d.lastWrite(batch, span.GetTableId(), span.GetUser())
		if err != nil {
			return nil, err
		}
		if last <= span.GetIndex() {
			continue // nothing of the scope was written
		}
		changed, err := d.indexSpanChanged(batch, span, left)
		if err != nil {
			return nil, err
		}
		if changed {
			return command.Refuse(fault.Conflict, "rows that were read by an index were changed by another statement; run the statement again"), nil
		}
	}
	return nil, nil
}

// indexSpanChanged looks at the entries of a span and their rows, and takes them from what may be looked at.
func (d *Data) indexSpanChanged(batch *storage.Batch, span *commandv1.IndexSpanUnchanged, left *int) (changed bool, err error) {
	table, user := ident.TableID(span.GetTableId()), ident.UserID(span.GetUser())
	low, high := keys.UserIndexSpan(d.group, table, span.GetIndexId(), user)
	low = append(low, span.GetLow()...)
	if len(span.GetHigh()) > 0 {
		high = keys.IndexEntry(d.group, table, span.GetIndexId(), user, span.GetHigh(), nil)
	}
	if bytes.Compare(low, high) >= 0 {
		return span.GetEntries() != 0, nil
	}
	it, err := batch.Scan(low, high)
	if err != nil {
		return false, err
	}
	defer func() {
		if failure := it.Close(); err == nil {
			err = failure
		}
	}()
	entries := uint32(0)
	for ok := it.First(); ok; ok = it.Next() {
		if entries++; *left == 0 || entries > span.GetEntries() {
			return true, nil
		}
		*left--
		primaryKey, err := it.Value()
		if err != nil {
			return false, err
		}
		row, hot, err := readHot(batch, keys.Row(d.group, table, user, primaryKey))
		if err != nil {
			return false, err
		}
		if !hot && d.hasCold(span.GetTableId(), span.GetUser()) {
			if d.coldKeySince(span.GetTableId(), span.GetUser(), primaryKey, span.GetIndex()) {
				return true, nil
			}
			continue
		}
		if !row.live {
			return false, fmt.Errorf("%w: the entry %x of an index has no row", storage.ErrCorruption, it.Key())
		}
		if command.SeqIndex(row.seq) > span.GetIndex() {
			return true, nil
		}
	}
	return entries != span.GetEntries(), it.Err()
}
