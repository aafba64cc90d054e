package sim

import (
	"bytes"
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// trusted returns how a command ended when the naive model cannot judge that: what SQL writes depends on descriptors,
// ranges and indexes that were read. What it then leaves in the rows is judged as ever.
func (w *world) trusted(cmd *commandv1.Command, got answered) *answered {
	trust := false
	switch body := cmd.GetBody().(type) {
	case *commandv1.Command_WriteRows:
		rows, scopes := body.WriteRows.GetRows(), body.WriteRows.GetScopes()
		trust = len(rows) == 0 && len(scopes) == 0
		for _, row := range rows {
			trust = trust || w.sqlIDs[row.GetTableId()]
		}
		for _, scope := range scopes {
			trust = trust || w.sqlIDs[scope.GetTableId()]
		}
	case *commandv1.Command_IndexRows, *commandv1.Command_PurgeIndex, *commandv1.Command_FenceTable,
		*commandv1.Command_CommitSegment, *commandv1.Command_ReplaceSegments:
		trust = true
	}
	if !trust {
		return nil
	}
	return &got
}

// indexes holds the entries of every index of SQL tables against the rows of a group, at a node that has applied
// everything that anybody has: an index that may be read has exactly the entries of the rows, and no other index has
// an entry without a row.
func (w *world) indexes(n *simNode, g shard.GroupID) {
	for _, group := range []shard.GroupID{shard.Meta, g} {
		if n.manager.Applied(group)+1 != uint64(len(w.oracle.groups[group].committed)) {
			return
		}
	}
	view := n.store.NewSnapshot()
	defer func() { _ = view.Close() }() // it was only read
	for _, t := range n.catalog.Current().Tables() {
		if !w.sqlIDs[uint64(t.ID)] {
			continue
		}
		for i := range t.Indexes {
			if err := w.index(n, g, view, t, &t.Indexes[i]); err != nil && !unreadable(err) {
				w.fail("node %d, index %s of %s in %s: %v", n.id, t.Indexes[i].Name, t.Name, g, err)
			}
		}
	}
}

func (w *world) index(n *simNode, g shard.GroupID, view storage.Reader, t *schema.Table, x *schema.Index) error {
	positions, ok := t.Positions(x)
	if !ok {
		return errors.New("it has no columns")
	}
	want, err := wantedEntries(n, view, g, t, x, positions)
	if err != nil {
		return err
	}
	found := 0
	lo, hi := keys.IndexSpan(g, t.ID, x.ID)
	err = eachPair(view, lo, hi, func(key, value []byte) error {
		found++
		w.stats.indexed++
		w.saw(ruleIndexes)
		if x.Maintained() && !bytes.Equal(want[string(key)], value) {
			w.fail("node %d: index %s (%s) of %s has the entry %x of row %q in %s, and no row like that", n.id, x.Name, x.State, t.Name, key, value, g)
		}
		return nil
	})
	if err == nil && x.State == schema.IndexReady && found != len(want) {
		w.fail("node %d: index %s of %s has %d entries for %d rows in %s", n.id, x.Name, t.Name, found, len(want), g)
	}
	return err
}

// wantedEntries are the entries that the live rows of a table must have, with their primary keys.
func wantedEntries(n *simNode, view storage.Reader, g shard.GroupID, t *schema.Table, x *schema.Index, positions []int) (map[string][]byte, error) {
	want := make(map[string][]byte)
	decoder, values := schema.NewRowDecoder(t, positions), make([]datum.Datum, len(t.Columns))
	hot := make(map[rowName]bool)
	add := func(user ident.UserID, key []byte, values []datum.Datum) {
		entry, unique := schema.AppendIndexKey(nil, x, positions, values)
		below := key
		if unique {
			below = nil
		}
		want[string(keys.IndexEntry(g, t.ID, x.ID, user, entry, below))] = bytes.Clone(key)
	}
	lo, hi := keys.TableSpan(g, t.ID)
	err := eachPair(view, lo, hi, func(key, value []byte) error {
		row, err := keys.ParseRow(key)
		if err != nil {
			return err
		}
		_, deleted, encoded, err := rowvalue.Decode(value)
		hot[rowName{uint64(t.ID), string(row.User), string(row.PrimaryKey)}] = true
		if err != nil || deleted {
			return err
		}
		if err = decoder.Decode(encoded, values); err == nil {
			add(row.User, row.PrimaryKey, values)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return want, n.cold.eachRow(view, g, t, func(row coldRow) error {
		if !row.deleted && !hot[rowName{uint64(t.ID), string(row.user), string(row.key)}] {
			add(row.user, row.key, row.values)
		}
		return nil
	})
}

// eachPair visits what lies in a span.
func eachPair(reader storage.Reader, lo, hi []byte, visit func(key, value []byte) error) error {
	it, err := reader.Scan(lo, hi)
	if err != nil {
		return err
	}
	// A visitor may end the run.
	defer func() { _ = it.Close() }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		if err != nil {
			return err
		}
		if err := visit(it.Key(), value); err != nil {
			return err
		}
	}
	return it.Err()
}
