package txn

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/scopevalue"
	"github.com/kalamdb/kalamdb-go/internal/table"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// maxReads is how many single keys a transaction remembers; one that reads more depends on the whole scope
// of each further key.
const maxReads = 4096

// maxSpans is how many ranges a transaction remembers; one that reads more depends on the whole scope of each further
// range.
const maxSpans = 64

// span is a range of keys; nil is open.
type span struct{ low, high []byte }

// ReadScope makes the transaction depend on a whole scope: nobody else may write into it before the commit.
func (t *Transaction) ReadScope(scope *table.Scope) error {
	key := keyOf(scope)
	if _, known := t.scopes[key]; known {
		return nil
	}
	index, err := ScopeIndex(t.snapshot, scope)
	if err != nil {
		return err
	}
	t.scopes[key] = index
	return nil
}

// ReadSpan makes the transaction depend on a range of keys: nobody else may write a row into it before the commit.
// A nil bound is open.
func (t *Transaction) ReadSpan(scope *table.Scope, low, high []byte) error {
	key := keyOf(scope)
	if _, whole := t.scopes[key]; whole {
		return nil
	}
	for _, known := range t.spans[key] {
		if bytes.Compare(known.low, low) <= 0 && (known.high == nil || high != nil && bytes.Compare(high, known.high) <= 0) {
			return nil
		}
	}
	if low == nil && high == nil || t.spanCount == maxSpans {
		return t.ReadScope(scope)
	}
	size := int64(len(low) + len(high) + len(scope.User) + overheadBytes)
	if err := t.room(size, 0); err != nil {
		return err
	}
	if _, known := t.indexes[key]; !known {
		index, err := ScopeIndex(t.snapshot, scope)
		if err != nil {
			return err
		}
		t.indexes[key] = index
	}
	t.spans[key] = append(t.spans[key], span{slices.Clone(low), slices.Clone(high)})
	t.spanCount++
	t.bytes += size
	return nil
}

// ScopeIndex returns the index of the last log entry that wrote into a scope, zero for none.
func ScopeIndex(reader storage.Reader, scope *table.Scope) (uint64, error) {
	value, ok, err := reader.Get(keys.Scope(scope.Group, scope.Table.ID, scope.User))
	switch {
	case err != nil:
		return 0, fmt.Errorf("read scope of %s: %w", scope.Table.FullName(), err)
	case !ok:
		return 0, nil
	}
	write, err := scopevalue.Decode(value)
	if err != nil {
		return 0, fmt.Errorf("read scope of %s: %w", scope.Table.FullName(), err)
	}
	return write.Index, nil
}

// ReadKeys makes the transaction depend on what single keys hold, or that they hold nothing.
func (t *Transaction) ReadKeys(scope *table.Scope, points [][]byte) error {
	key := keyOf(scope)
	if _, whole := t.scopes[key]; whole {
		return nil
	}
	if t.readCount+len(points) > maxReads {
		return t.ReadScope(scope)
	}
	for _, point := range points {
		if _, known := t.reads[key][string(point)]; known {
			continue
		}
		seq, err := t.liveSeq(scope, point)
		if err != nil {
			return err
		}
		size := int64(len(point) + len(scope.User) + overheadBytes)
		if err := t.room(size, 0); err != nil {
			return err
		}
		if t.reads[key] == nil {
			t.reads[key] = map[string]uint64{}
		}
		t.reads[key][string(point)] = seq
		t.readCount++
		t.bytes += size
	}
	return nil
}

// liveSeq returns the _seq of the live row under a key in the snapshot, zero for none.
func (t *Transaction) liveSeq(scope *table.Scope, primaryKey []byte) (uint64, error) {
	seq, err := scope.LiveSeq(t.snapshot, primaryKey)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", scope.Table.FullName(), err)
	}
	return seq, t.LookedCold(scope)
}

// LookedCold notes as of when the transaction knows the cold rows of a scope, if it has any.
func (t *Transaction) LookedCold(scope *table.Scope) error {
	key := keyOf(scope)
	if _, known := t.cold[key]; known {
		return nil
	}
	read, err := ColdRead(t.snapshot, scope)
	if err == nil && read != nil {
		t.cold[key] = read
	}
	return err
}

// ColdRead says as of when the cold rows of a scope are known to who reads them from a picture of the store; nil when
// it has none there.
func ColdRead(reader storage.Reader, scope *table.Scope) (*commandv1.ColdRead, error) {
	view, err := scope.View(reader)
	if err != nil || view == nil {
		return nil, err
	}
	index, err := ScopeIndex(reader, scope)
	return &commandv1.ColdRead{
		TableId: uint64(scope.Table.ID), User: string(scope.User), Version: view.Version(), Index: index,
	}, err
}
