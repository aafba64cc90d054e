package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// AllRows gives the rows of the row store, and of the segments those keys that the row store does not have: a hot version is
// always the newer one. Cold rows come behind the hot ones, in the order of their scopes.
type AllRows struct{ Cold *cold.Store }

// Rows implements Rows.
func (a AllRows) Rows(ctx context.Context, view storage.Reader, group shard.GroupID, visit func(*Record) error) error {
	if err := (HotRows{}).Rows(ctx, view, group, visit); err != nil {
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
	for _, scope := range scopes {
		table, exists := picture.TableByID(scope.Table)
		if !exists {
			continue // it was dropped
		}
		if err := a.scope(ctx, view, scope, table, visit); err != nil {
			return fmt.Errorf("cold rows of %s: %w", table.FullName(), err)
		}
	}
	return nil
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

func (a AllRows) scope(ctx context.Context, view storage.Reader, scope keys.RowKey, table *schema.Table, visit func(*Record) error) (err error) {
	part, err := a.Cold.View(view, scope.Group, table, scope.User)
	if err != nil || part == nil {
		return err
	}
	positions := make([]int, len(table.Columns))
	for i := range positions {
		positions[i] = i
	}
	cursor := part.Cursor(nil, nil, positions)
	defer func() { err = errors.Join(err, cursor.Close()) }()
	row := make([]datum.Datum, len(table.Columns))
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		found, err := cursor.Next(nil)
		if err != nil || !found {
			return err
		}
		record := &Record{Table: scope.Table, User: scope.User}
		if record.Key, err = cursor.Key(); err != nil {
			return err
		}
		_, hot, err := view.Get(keys.Row(scope.Group, scope.Table, scope.User, record.Key))
		if err != nil {
			return err
		}
		if hot {
			continue
		}
		if record.Deleted, err = cursor.Deleted(); err != nil {
			return err
		}
		if err = cursor.Fill(row); err != nil {
			return err
		}
		record.Value = schema.EncodeRow(table, row)
		if err = visit(record); err != nil {
			return err
		}
	}
}
