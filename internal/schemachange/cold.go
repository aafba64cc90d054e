package schemachange

import (
	"context"
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/cold"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/manifest"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// Behind the fence no row of an unfinished table is moved: flush and compaction leave such tables alone, and what they had
// begun before is refused. So a cold row stays where it is while the table is gone through.

// eachCold visits the live cold rows of a table in a group, until visit returns false. The values at positions are read.
func (w *Worker) eachCold(
	group shard.GroupID, t *schema.Table, positions []int, visit func(*storedRow) (bool, error),
) (err error) {
	snapshot := w.Storage.NewSnapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	var users []ident.UserID
	lo, hi := keys.ManifestSpan(group, t.ID)
	err = manifest.Each(snapshot, lo, hi, func(key []byte, _ *commandv1.Manifest) error {
		scope, failure := keys.ParseManifest(key)
		users = append(users, scope.User)
		return failure
	})
	if err != nil {
		return err
	}
	for _, user := range users {
		more, err := w.eachColdOf(snapshot, group, t, user, positions, visit)
		if errors.Is(err, schema.ErrAltered) {
			return fault.New(fault.Altered, "table '%s' was altered meanwhile", t.FullName())
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// eachColdOf is eachCold for one scope; more is false when visit has seen enough.
func (w *Worker) eachColdOf(
	snapshot *storage.Snapshot, group shard.GroupID, t *schema.Table, user ident.UserID, positions []int,
	visit func(*storedRow) (bool, error),
) (more bool, err error) {
	view, err := w.Cold.View(snapshot, group, t, user)
	if err != nil || view == nil {
		return true, err
	}
	cursor := view.Cursor(nil, nil, positions)
	defer func() { err = errors.Join(err, cursor.Close()) }()
	row := storedRow{key: keys.RowKey{Group: group, Table: t.ID, User: user}, values: make([]datum.Datum, len(t.Columns))}
	for {
		ok, err := cursor.Next(nil)
		if !ok || err != nil {
			return err == nil, err
		}
		visible, err := row.readCold(cursor, snapshot)
		if err != nil {
			return false, err
		}
		if !visible {
			continue
		}
		if more, err := visit(&row); !more || err != nil {
			return false, err
		}
	}
}

// readCold takes the version under a cursor apart; visible is false when it is a deletion, or a hot version counts.
func (r *storedRow) readCold(cursor *cold.Cursor, snapshot *storage.Snapshot) (visible bool, err error) {
	deleted, err := cursor.Deleted()
	if err != nil || deleted {
		return false, err
	}
	if r.key.PrimaryKey, err = cursor.Key(); err != nil {
		return false, err
	}
	_, hot, err := snapshot.Get(keys.Row(r.key.Group, r.key.Table, r.key.User, r.key.PrimaryKey))
	if err != nil || hot {
		return false, err
	}
	if r.seq, err = cursor.Seq(); err != nil {
		return false, err
	}
	return true, cursor.Fill(r.values)
}

// fillCold adds the entries of the cold rows of a group to an index.
func (w *Worker) fillCold(ctx context.Context, group shard.GroupID, t *schema.Table, x *schema.Index, positions []int) error {
	body, size := &commandv1.IndexRows{TableId: uint64(t.ID)}, 0
	err := w.eachCold(group, t, positions, func(row *storedRow) (bool, error) {
		size += addEntry(body, t, x, positions, row, true)
		if len(body.GetRows()) < chunkRows && size < chunkBytes {
			return true, nil
		}
		err := w.addEntries(ctx, group, body)
		body, size = &commandv1.IndexRows{TableId: uint64(t.ID)}, 0
		return err == nil, err
	})
	if err != nil {
		return err
	}
	return w.addEntries(ctx, group, body)
}
