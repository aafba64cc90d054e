package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
)

// HotRows gives the rows of the row store.
type HotRows struct{}

// Rows implements Rows.
func (HotRows) Rows(ctx context.Context, view storage.Reader, group shard.GroupID, walk Walk) (err error) {
	lo, hi := keys.RowSpan(group)
	it, err := view.Scan(lo, hi)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var record Record
	ok := it.First()
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		to, over, err := walk.skip(Hot)
		if err != nil {
			return err
		}
		if to != nil {
			ok = it.SeekGE(append(keys.Row(group, to.Table, ident.UserID(to.User), to.Key), 0))
		}
		if over || !ok {
			break
		}
		key, err := keys.ParseRow(it.Key())
		if err != nil {
			return err
		}
		value, err := it.Value()
		if err != nil {
			return err
		}
		record.Table, record.User, record.Key = key.Table, key.User, key.PrimaryKey
		if _, record.Deleted, record.Value, err = rowvalue.Decode(value); err != nil {
			return fmt.Errorf("row %x: %w", it.Key(), err)
		}
		if err := walk.Visit(&record); err != nil {
			return err
		}
		ok = it.Next()
	}
	if err := it.Err(); err != nil {
		return err
	}
	return walk.ended(Hot)
}

// AllRows gives the rows of the row store, and of the segments those keys that the row store does not have: a hot version is
// always the newer one. Cold rows come behind the hot ones, in the order of their scopes.
type AllRows struct{ Cold *cold.Store }

// Rows implements Rows.
func (a AllRows) Rows(ctx context.Context, view storage.Reader, group shard.GroupID, walk Walk) error {
	if err := (HotRows{}).Rows(ctx, view, group, walk); err != nil {
		return err
	}
	scopes, err := coldScopes(view, group)
	if err != nil || len(scopes) == 0 {
		return err
	}
	picture, err := catalog.Load(view)
	if err != nil {
		return err
	}
	var from *Place
	for i := 0; i < len(scopes); {
		scope := scopes[i]
		table, exists := picture.TableByID(scope.Table)
		if !exists || from != nil && from.in(scope) < 0 {
			i++ // it was dropped, or is left out
			continue
		}
		to, over, err := a.scope(ctx, view, scope, table, from, walk)
		if err != nil {
			return fmt.Errorf("cold rows of %s: %w", table.FullName(), err)
		}
		if over {
			break
		}
		if from = to; to == nil {
			i++
		}
	}
	return walk.ended(Cold)
}

// in compares a scope with the one that a place is in.
func (p *Place) in(scope keys.RowKey) int {
	return cmp.Or(cmp.Compare(scope.Table, p.Table), cmp.Compare(string(scope.User), string(p.User)))
}

// coldScopes lists the scopes of a group that have a manifest. Each takes a hundred bytes or so.
func coldScopes(view storage.Reader, group shard.GroupID) (scopes []keys.RowKey, err error) {
	it, err := view.Scan(keys.ManifestsSpan(group))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		scope, parseErr := keys.ParseManifest(it.Key())
		if parseErr != nil {
			return nil, parseErr
		}
		scopes = append(scopes, scope)
	}
	return scopes, it.Err()
}

// scope visits the rows of a scope behind a place, or all for nil. It stops where rows are to be left out: to is then where reading goes on.
func (a AllRows) scope(
	ctx context.Context, view storage.Reader, scope keys.RowKey, table *schema.Table, from *Place, walk Walk,
) (to *Place, over bool, err error) {
	part, err := a.Cold.View(view, scope.Group, table, scope.User)
	if err != nil || part == nil {
		return nil, false, err
	}
	positions := make([]int, len(table.Columns))
	for i := range positions {
		positions[i] = i
	}
	var low []byte
	if from != nil && from.in(scope) == 0 {
		low = append(slices.Clone(from.Key), 0)
	}
	cursor := part.Cursor(low, nil, positions)
	defer func() { err = errors.Join(err, cursor.Close()) }()
	row := make([]datum.Datum, len(table.Columns))
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return nil, false, context.Cause(ctx)
		}
		if to, over, err = walk.skip(Cold); err != nil || over || to != nil {
			return to, over, err
		}
		record, err := nextCold(view, scope, table, cursor, row)
		if err != nil || record == nil {
			return nil, false, err
		}
		if err = walk.Visit(record); err != nil {
			return nil, false, err
		}
	}
}

// nextCold is the next row of a scope that no hot one hides; nil at the end.
func nextCold(view storage.Reader, scope keys.RowKey, table *schema.Table, cursor *cold.Cursor, row []datum.Datum) (*Record, error) {
	for {
		found, err := cursor.Next(nil)
		if err != nil || !found {
			return nil, err
		}
		record := &Record{Table: scope.Table, User: scope.User}
		if record.Key, err = cursor.Key(); err != nil {
			return nil, err
		}
		_, hot, err := view.Get(keys.Row(scope.Group, scope.Table, scope.User, record.Key))
		if err != nil {
			return nil, err
		}
		if hot {
			continue
		}
		if record.Deleted, err = cursor.Deleted(); err != nil {
			return nil, err
		}
		if err = cursor.Fill(row); err != nil {
			return nil, err
		}
		record.Value = schema.EncodeRow(table, row)
		return record, nil
	}
}
