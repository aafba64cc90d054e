package table

import (
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// bounds are the keys of the entries of a span.
func (s *Span) bounds(scope *Scope, index *schema.Index) (low, high []byte) {
	low, high = keys.UserIndexSpan(scope.Group, scope.Table.ID, index.ID, scope.User)
	low = append(low, s.Low...)
	if s.High != nil {
		high = keys.IndexEntry(scope.Group, scope.Table.ID, index.ID, scope.User, s.High, nil)
	}
	return low, high
}

// WalkIndex gives the primary keys of the rows that an index has within a span, in the order of the index or backwards,
// until visit says that it has enough. What visit is given is valid until it returns; place is where the entry is in a span.
func WalkIndex(
	reader storage.Reader, scope Scope, index *schema.Index, span Span, backwards bool,
	visit func(place, primaryKey []byte) (more bool, err error),
) (err error) {
	low, high := span.bounds(&scope, index)
	before := len(low) - len(span.Low)
	it, err := reader.Scan(low, high)
	if err != nil {
		return fmt.Errorf("read index %s of %s: %w", index.Name, scope.Table.FullName(), err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	first, next := it.First, it.Next
	if backwards {
		first, next = it.Last, it.Prev
	}
	for ok := first(); ok; ok = next() {
		primaryKey, err := it.Value()
		if err != nil {
			return err
		}
		more, err := visit(it.Key()[before:], primaryKey)
		if !more || err != nil {
			return err
		}
	}
	return it.Err()
}
