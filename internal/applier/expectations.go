package applier

import (
	"bytes"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// maxSpanRows bounds the rows that are looked at for all spans of one command, because nothing else is applied
// meanwhile. What would need more counts as changed.
const maxSpanRows = 8192

// checkRead refuses the command when something that its statements read has changed since.
func (d *Data) checkRead(batch *storage.Batch, body *commandv1.WriteRows, word *coldWord) (*commandv1.Response, error) {
	if refusal, err := d.checkScopes(batch, body.GetScopes()); refusal != nil || err != nil {
		return refusal, err
	}
	if refusal, err := d.checkReads(batch, body.GetReads(), word); refusal != nil || err != nil {
		return refusal, err
	}
	left := maxSpanRows
	if refusal, err := d.checkSpans(batch, body.GetSpans(), &left); refusal != nil || err != nil {
		return refusal, err
	}
	return d.checkIndexSpans(batch, body.GetIndexSpans(), &left)
}

// checkScopes refuses the command when something it depends on was written since the statement read it.
func (d *Data) checkScopes(batch *storage.Batch, scopes []*commandv1.ScopeUnchanged) (*commandv1.Response, error) {
	for _, scope := range scopes {
		last, err := d.lastWrite(batch, scope.GetTableId(), scope.GetUser())
		if err != nil {
			return nil, err
		}
		if last > scope.GetIndex() {
			return command.Refuse(fault.Conflict, "the table was changed by another statement; run the statement again"), nil
		}
	}
	return nil, nil
}

// checkReads refuses the command when a row that it depends on is no longer the one that was read.
func (d *Data) checkReads(batch *storage.Batch, reads []*commandv1.RowRead, word *coldWord) (*commandv1.Response, error) {
	for _, read := range reads {
		current, hot, err := readHot(batch, keys.Row(d.group, ident.TableID(read.GetTableId()), ident.UserID(read.GetUser()), read.GetPrimaryKey()))
		if err != nil {
			return nil, err
		}
		if !hot && word != nil && d.hasCold(read.GetTableId(), read.GetUser()) {
			if !word.holds(read.GetTableId(), read.GetUser(), read.GetPrimaryKey()) {
				return coldMoved(), nil
			}
			continue // it is cold, or nowhere, as it was when it was read
		}
		seq := uint64(0)
		if current.live {
			seq = current.seq
		}
		if seq != read.GetSeq() {
			return command.Refuse(fault.Conflict, "a row that was read was changed by another statement; run the transaction again"), nil
		}
	}
	return nil, nil
}

// checkSpans refuses the command when a row within a range of keys was written since the range was read, rows
// that were deleted since included: their tombstones are rows too.
func (d *Data) checkSpans(batch *storage.Batch, spans []*commandv1.SpanUnchanged, left *int) (*commandv1.Response, error) {
	for _, span := range spans {
		last, err := d.lastWrite(batch, span.GetTableId(), span.GetUser())
		if err != nil {
			return nil, err
		}
		if last <= span.GetIndex() {
			continue // nothing of the scope was written
		}
		if d.coldSince(span) {
			return coldMoved(), nil
		}
		changed, err := d.spanChanged(batch, span, left)
		if err != nil {
			return nil, err
		}
		if changed {
			return command.Refuse(fault.Conflict, "rows that were read were changed by another statement; run the transaction again"), nil
		}
	}
	return nil, nil
}

// spanChanged looks at the rows of a span, and takes them from what may be looked at.
func (d *Data) spanChanged(batch *storage.Batch, span *commandv1.SpanUnchanged, left *int) (changed bool, err error) {
	table, user := ident.TableID(span.GetTableId()), ident.UserID(span.GetUser())
	low, high := keys.UserTableSpan(d.group, table, user)
	if len(span.GetLow()) > 0 {
		low = keys.Row(d.group, table, user, span.GetLow())
	}
	if len(span.GetHigh()) > 0 {
		high = keys.Row(d.group, table, user, span.GetHigh())
	}
	if bytes.Compare(low, high) >= 0 {
		return false, nil // an empty range holds nothing that could change
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
	for ok := it.First(); ok; ok = it.Next() {
		if *left == 0 {
			return true, nil
		}
		*left--
		value, err := it.Value()
		if err != nil {
			return false, err
		}
		seq, _, _, err := rowvalue.Decode(value)
		if err != nil {
			return false, fmt.Errorf("%w: row %x: %w", storage.ErrCorruption, it.Key(), err)
		}
		if command.SeqIndex(seq) > span.GetIndex() {
			return true, nil
		}
	}
	return false, nil
}
