package exec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/table"
	"github.com/kalamdb/kalamdb-go/internal/txn"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// The waiting time before a statement that met a conflict is run again: doubled from the first to the
// longest, and then drawn between half and all of it.
const (
	firstConflictWait   = 500 * time.Microsecond
	longestConflictWait = 50 * time.Millisecond
)

// change runs INSERT, UPDATE or DELETE. When another statement was faster it is run again, a bounded
// number of times; the conflict is then returned, and nothing was written.
func (e *Engine) change(
	ctx context.Context, current *catalog.Catalog, caller session.Session, params []datum.Datum, statement plan.Statement,
) (outcome, error) {
	wait := firstConflictWait
	for attempt := 1; ; attempt++ {
		result, err := e.changeOnce(onAttempt(ctx, attempt), nil, attempt, current, caller, params, statement)
		if _, sent := errors.AsType[sentError](err); sent {
			wasAltered(ctx, attempt, err)
		}
		if !runsAgain(statement, err) || attempt >= e.deps.Limits.ConflictAttempts {
			return result, err
		}
		if err := e.pause(ctx, wait); err != nil {
			return outcome{}, err
		}
		wait = min(2*wait, longestConflictWait)
	}
}

// runsAgain reports whether a change failed because another one was faster. An INSERT with ON CONFLICT then
// finds the row that took its key.
func runsAgain(statement plan.Statement, err error) bool {
	kind := fault.KindOf(err)
	if errors.Is(err, errTaken) {
		return false
	}
	return kind == fault.Conflict || kind == fault.DuplicateKey && resolvesConflicts(statement)
}

// resolvesConflicts reports whether a statement, or a part of it, has ON CONFLICT.
func resolvesConflicts(statement plan.Statement) bool {
	switch s := statement.(type) {
	case *plan.Insert:
		return s.Conflict != nil
	case *plan.WithChanges:
		return resolvesConflicts(s.Main) || slices.ContainsFunc(s.Parts, func(part plan.ChangingPart) bool { return resolvesConflicts(part.Change) })
	}
	return false
}

// pause waits between half and all of a duration.
func (e *Engine) pause(ctx context.Context, wait time.Duration) error {
	var drawn [2]byte
	if _, err := io.ReadFull(e.deps.Random, drawn[:]); err != nil {
		return fmt.Errorf("draw a waiting time: %w", err)
	}
	wait = wait/2 + wait/2*time.Duration(binary.BigEndian.Uint16(drawn[:]))/(1<<16)
	return clock.Pause(ctx, e.deps.Clock, wait)
}

// changeOnce computes a write set and applies it, or, inside a transaction, leaves it to the commit.
func (e *Engine) changeOnce(
	ctx context.Context, tx *txn.Transaction, attempt int, current *catalog.Catalog, caller session.Session, params []datum.Datum, statement plan.Statement,
) (result outcome, err error) {
	r := e.newRun(current, caller, params)
	r.state.ctx, r.state.attempt, r.tx = ctx, attempt, tx
	defer r.budget.lease.giveBack()
	defer func() { err = errors.Join(err, r.close()) }()
	if s, ok := statement.(*plan.WithChanges); ok {
		return r.changeTogether(ctx, s)
	}
	kind, set, err := r.changeSet(ctx, statement)
	repeats := mayRepeat(ctx) && tx == nil
	if err != nil && repeats {
		set, err = r.refusalSet(statement, err)
	}
	if err != nil {
		return outcome{}, err
	}
	if len(set.body.GetRows()) == 0 && !repeats {
		return r.changed(kind, set, 0), nil
	}
	if tx != nil {
		rows := set.body.GetRows()
		tx.Revise(set.scope.Table.ID, set.scope.Table.Revision)
		if err = tx.Write(rows); err != nil {
			return outcome{}, err
		}
		e.transactions.Note(tx)
		return r.changed(kind, set, len(rows)), nil
	}
	if err = set.record(repeats); err != nil {
		return outcome{}, err
	}
	// The snapshot is not needed while the command is on its way.
	if err = r.close(); err != nil {
		return outcome{}, err
	}
	response, err := r.send(ctx, set.scope.Group, set.body)
	if err != nil {
		return outcome{}, err
	}
	if err = set.recall(response); err != nil {
		return outcome{}, err
	}
	return r.changed(kind, set, int(response.GetAffected())), nil
}

// changeSet computes what a change writes.
func (r *run) changeSet(ctx context.Context, statement plan.Statement) (kind changeKind, set *writeSet, err error) {
	switch s := statement.(type) {
	case *plan.Insert:
		set, err = r.insertSet(ctx, s)
		return inserted, set, err
	case *plan.Update:
		set, err = r.updateSet(ctx, s)
		return updated, set, err
	case *plan.Delete:
		set, err = r.deleteSet(ctx, s)
		return deleted, set, err
	}
	return noChange, nil, fmt.Errorf("statement %T changes no rows", statement)
}

// send has a command with rows applied.
func (r *run) send(ctx context.Context, group shard.GroupID, body *commandv1.WriteRows) (*commandv1.Response, error) {
	response, err := r.engine.deps.Executor.Execute(ctx, group, &commandv1.Command{
		Header: &commandv1.Header{Actor: string(r.session.User)},
		Body:   &commandv1.Command_WriteRows{WriteRows: body},
	})
	if err != nil {
		return nil, sentError{err}
	}
	return response, nil
}

// changed is the outcome of a change: the rows of RETURNING, or a sentence.
func (r *run) changed(kind changeKind, set *writeSet, affected int) outcome {
	if set.returning == nil {
		return outcome{change: kind, Result: changeResult(kind, affected, r.session.User)}
	}
	return outcome{Result: Result{
		Columns: set.returning.Columns, Rows: set.returned, HasRows: true, RowCount: len(set.returned), AsUser: r.session.User,
	}}
}

// writeSet collects the rows of one command and the expectations under which they are right.
type writeSet struct {
	run   *run
	scope table.Scope
	key   int   // position of the primary key; -1 when rows have generated keys
	ttl   int64 // microseconds that rows exist; zero is for ever
	body  *commandv1.WriteRows

	indexes []maintained
	cold    coldFacts

	returning *plan.Returning // nil when no rows are given back
	returned  [][]datum.Datum
}

func (r *run) newWriteSet(scope table.Scope) (*writeSet, error) {
	key := scope.Table.PrimaryKey()
	if key < 0 && scope.Table.Kind != schema.KindStream {
		return nil, fault.New(fault.Unsupported, "table '%s' has no primary key and cannot be changed", scope.Table.FullName())
	}
	set := &writeSet{run: r, scope: scope, key: key, body: &commandv1.WriteRows{
		Revisions: []*commandv1.TableRevision{{TableId: uint64(scope.Table.ID), Revision: scope.Table.Revision}},
	}}
	if scope.Table.Kind != schema.KindStream {
		return set, set.maintain()
	}
	seconds, err := strconv.ParseInt(scope.Table.Options[schema.TTLOption], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("option %s of %s: %w", schema.TTLOption, scope.Table.FullName(), err)
	}
	set.ttl = seconds * 1_000_000
	return set, nil
}

// give computes what RETURNING says about a row.
func (s *writeSet) give(row []datum.Datum) error {
	if s.returning == nil {
		return nil
	}
	result, err := s.returning.Compute(s.run.eval, row)
	if err != nil {
		return err
	}
	if !s.run.inner {
		mask(s.returning.Columns, s.run.maskedColumns(s.returning.Columns), result)
	}
	if err = s.run.budget.take(result); err != nil {
		return err
	}
	s.returned, err = keepIn(s.run.budget, s.returned, result)
	return err
}

// add puts a row version into the command. old is the live version that the expectation speaks of, nil when there is
// none.
func (s *writeSet) add(
	row, old []datum.Datum, deleted bool, expect commandv1.Expect, expectSeq uint64,
) (*commandv1.RowWrite, error) {
	if len(s.body.GetRows()) == command.MaxRows {
		return nil, fault.New(fault.LimitExceeded, "one statement may change %d rows; split it", command.MaxRows)
	}
	var key []byte
	if s.key >= 0 {
		key = datum.AppendKey(nil, row[s.key])
	} else {
		// Nobody asks for these keys; they only have to differ, on all nodes.
		key = datum.AppendKey(nil, datum.NewText(s.run.drawn(s.run.engine.ids.uuidV7())))
	}
	return s.addAt(key, row, old, deleted, expect, expectSeq)
}

// addAt is add for a row whose encoded key is known.
func (s *writeSet) addAt(
	key []byte, row, old []datum.Datum, deleted bool, expect commandv1.Expect, expectSeq uint64,
) (*commandv1.RowWrite, error) {
	declared := row[:len(s.scope.Table.Columns)]
	write := &commandv1.RowWrite{
		TableId: uint64(s.scope.Table.ID), User: string(s.scope.User), PrimaryKey: key, Deleted: deleted, Expect: expect, ExpectSeq: expectSeq,
	}
	if s.ttl > 0 {
		write.Row = schema.AppendExpiringRow(nil, s.scope.Table, declared, s.run.eval.Env.NowMicros+s.ttl)
	} else {
		write.Row = schema.EncodeRow(s.scope.Table, declared)
	}
	if err := s.lookCold(write, old); err != nil {
		return nil, err
	}
	s.body.Rows = append(s.body.Rows, write)
	if err := s.index(write, row, old); err != nil {
		return nil, err
	}
	if err := s.give(row); err != nil {
		return nil, err
	}
	return write, s.run.budget.takeBytes(int64(len(write.GetRow()) + len(write.GetColdRow()) + len(write.GetPrimaryKey()) + groupBytes))
}

// expectUnchanged makes the command fail when the rows of a scope change before it is applied. It must be
// called with the snapshot that the rows were read from.
func (s *writeSet) expectUnchanged(scope table.Scope) error {
	if s.run.tx != nil {
		return nil // the transaction depends on whatever its scans read
	}
	index, err := txn.ScopeIndex(s.run.openSnapshot(), &scope)
	if err != nil {
		return err
	}
	s.body.Scopes = append(s.body.Scopes, &commandv1.ScopeUnchanged{
		TableId: uint64(scope.Table.ID), User: string(scope.User), Index: index,
	})
	return nil
}
