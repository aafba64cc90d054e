package exec

import (
	"context"
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// withinStatement names the savepoint that a statement of several parts goes back to when one of them fails. No statement can name it.
const withinStatement = "\x00statement"

// rememberedBytes is what the memory of one row takes that the transaction wrote before the statement: a pointer, its place and its turn.
const rememberedBytes = pointerBytes + entryBytes + 16

// changeTogether runs the changes of a WITH in the order in which they are written, and then the statement behind it. All parts see what
// was there before; of two that change one row, the first does, and the other leaves it alone. What they write becomes one command, under
// everything that they read as expectations: outside of a transaction they are one of their own.
func (r *run) changeTogether(ctx context.Context, s *plan.WithChanges) (result outcome, err error) {
	tx, own := r.tx, r.tx == nil
	if own {
		tx = r.engine.transactions.Single(r.session.User)
		defer func() { err = errors.Join(err, tx.Discard()) }()
		r.tx = tx
	} else if err = tx.Savepoint(withinStatement); err != nil {
		return outcome{}, err
	}
	result, err = r.parts(ctx, s)
	if err == nil && own && r.state.attempt > 1 {
		err = r.refuseDuplicates()
	}
	if own {
		return r.sendTogether(ctx, s, result, err)
	}
	if err != nil {
		err = errors.Join(err, tx.RollbackTo(withinStatement))
	}
	if err = errors.Join(err, tx.Release(withinStatement)); err != nil {
		return outcome{}, err
	}
	r.engine.transactions.Note(tx)
	return result, nil
}

// parts runs all parts.
func (r *run) parts(ctx context.Context, s *plan.WithChanges) (outcome, error) {
	if err := r.barrier(ctx, s.Scans); err != nil {
		return outcome{}, err
	}
	if err := r.budget.takeBytes(int64(len(r.tx.All())) * rememberedBytes); err != nil {
		return outcome{}, err
	}
	r.before = r.tx.AsOfNow()
	r.state.work = map[*plan.WorkTable][][]datum.Datum{}
	for i := range s.Parts {
		r.inner = true
		_, set, err := r.part(ctx, s.Parts[i].Change)
		r.inner = false
		if err != nil {
			return outcome{}, err
		}
		if rows := s.Parts[i].Rows; rows != nil {
			r.state.work[rows] = set.returned
		}
	}
	if query, ok := s.Main.(*plan.Query); ok {
		return r.query(ctx, query)
	}
	kind, set, err := r.part(ctx, s.Main)
	if err != nil {
		return outcome{}, err
	}
	return r.changed(kind, set, len(set.body.GetRows())), nil
}

// part runs one change and lays what it writes over what the transaction has written.
func (r *run) part(ctx context.Context, change plan.Statement) (changeKind, *writeSet, error) {
	kind, set, err := r.changeSet(ctx, change)
	r.changes = nil
	if err != nil || len(set.body.GetRows()) == 0 {
		return kind, set, err
	}
	r.tx.Revise(set.scope.Table.ID, set.scope.Table.Revision)
	return kind, set, r.tx.Write(set.body.GetRows())
}

// changedBefore reports whether an earlier part of the statement has changed a row.
func (r *run) changedBefore(set *writeSet, row []datum.Datum) bool {
	return r.before != nil && r.wroteBefore(set, datum.AppendKey(nil, row[set.key]))
}

// wroteBefore is changedBefore for the key of a row.
func (r *run) wroteBefore(set *writeSet, key []byte) bool {
	if r.before == nil {
		return false
	}
	if _, same := r.same[set.place(key)]; same {
		return true
	}
	now, written := r.tx.Written(&set.scope, key)
	old, _ := r.before.Written(&set.scope, key)
	return written && now != old
}

// leave notes that a part has changed a row into what it was: no later one changes it.
func (r *run) leave(set *writeSet, row []datum.Datum) error {
	if r.before == nil {
		return nil
	}
	if r.same == nil {
		r.same = map[string]struct{}{}
	}
	place := set.place(datum.AppendKey(nil, row[set.key]))
	r.same[place] = struct{}{}
	return r.budget.takeBytes(int64(len(place)) + entryBytes)
}

// place is where the store has the row of a key.
func (s *writeSet) place(key []byte) string {
	return string(keys.Row(s.scope.Group, s.scope.Table.ID, s.scope.User, key))
}

// sendTogether sends what the parts have written, and what the statement answers if its request may be repeated.
func (r *run) sendTogether(ctx context.Context, s *plan.WithChanges, result outcome, failure error) (outcome, error) {
	repeats := mayRepeat(ctx)
	group, _ := r.tx.Begun()
	body := r.tx.Command()
	switch {
	case failure != nil && !repeats:
		return outcome{}, failure
	case failure != nil:
		refused, err := r.refusalSet(s, failure)
		if err != nil {
			return outcome{}, err
		}
		// An earlier copy may have succeeded: then this is answered as that one was.
		group, body, result = refused.scope.Group, refused.body, r.shapeOf(s.Main)
	case body == nil && !repeats:
		return result, nil
	case body == nil:
		body = &commandv1.WriteRows{}
	}
	reply := r.replyOf(result, body)
	if err := reply.record(repeats && failure == nil); err != nil {
		return outcome{}, err
	}
	// The snapshot is not needed while the command is on its way.
	if err := r.tx.Discard(); err != nil {
		return outcome{}, err
	}
	response, err := r.send(ctx, group, body)
	if err == nil {
		err = reply.recall(response)
	}
	switch {
	case err != nil:
		return outcome{}, err
	case !repeats:
	case result.HasRows:
		result.Rows, result.RowCount = reply.returned, len(reply.returned)
	default:
		result.Result = changeResult(result.change, int(reply.returned[0][0].Int()), r.session.User)
	}
	return result, nil
}

// shapeOf is what a statement answers before anything is known of its rows.
func (r *run) shapeOf(statement plan.Statement) outcome {
	var kind changeKind
	var returning *plan.Returning
	switch s := statement.(type) {
	case *plan.Query:
		returning = &plan.Returning{Columns: s.Columns}
	case *plan.Insert:
		kind, returning = inserted, s.Returning
	case *plan.Update:
		kind, returning = updated, s.Returning
	case *plan.Delete:
		kind, returning = deleted, s.Returning
	}
	return r.changed(kind, &writeSet{returning: returning}, 0)
}

// replyOf is what a statement answers as rows that go with a command: its own, or one with the number of those that it changed.
func (r *run) replyOf(result outcome, body *commandv1.WriteRows) *writeSet {
	if result.HasRows {
		return &writeSet{run: r, body: body, returning: &plan.Returning{Columns: result.Columns}, returned: result.Rows}
	}
	return &writeSet{
		run: r, body: body, returning: &plan.Returning{Columns: make([]Column, 1)},
		returned: [][]datum.Datum{{datum.NewBigInt(int64(result.RowCount))}},
	}
}
