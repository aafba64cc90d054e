package txn

import (
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// IndexSpans says that spans of an index have as many entries as were read in a snapshot, and the same ones. Index is that
// of the last write into the scope which the snapshot shows.
func IndexSpans(scope *table.Scope, x *schema.Index, spans []table.Span, entries []uint32, index uint64) []*commandv1.IndexSpanUnchanged {
	unchanged := make([]*commandv1.IndexSpanUnchanged, len(spans))
	for i, s := range spans {
		unchanged[i] = &commandv1.IndexSpanUnchanged{
			TableId: uint64(scope.Table.ID), User: string(scope.User), IndexId: x.ID, Low: s.Low, High: s.High, Index: index,
			Entries: entries[i],
		}
	}
	return unchanged
}

// ReadIndex makes the transaction depend on what spans of an index have in its snapshot: nobody else may write a row that
// is, or comes, there before the commit. It reports false, and does nothing, when the transaction depends on too many ranges
// already.
func (t *Transaction) ReadIndex(scope *table.Scope, x *schema.Index, spans []table.Span, entries []uint32) (bool, error) {
	key := keyOf(scope)
	if _, whole := t.scopes[key]; whole {
		return true, nil
	}
	if t.spanCount+len(spans) > maxSpans {
		return false, nil
	}
	size := int64(0)
	for _, s := range spans {
		size += int64(len(s.Low) + len(s.High) + len(scope.User) + overheadBytes)
	}
	if err := t.room(size, 0); err != nil {
		return false, err
	}
	index, err := ScopeIndex(t.snapshot, scope)
	if err != nil {
		return false, err
	}
	t.indexSpans = append(t.indexSpans, IndexSpans(scope, x, spans, entries, index)...)
	t.Revise(scope.Table.ID, scope.Table.Revision)
	t.spanCount += len(spans)
	t.bytes += size
	return true, nil
}
