package exec

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/txn"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// maxKeyText bounds how much of a key an error message repeats.
const maxKeyText = 128

// insertSet computes the rows of an INSERT. Whether a key is taken is decided when the command is applied.
func (r *run) insertSet(ctx context.Context, s *plan.Insert) (*writeSet, error) {
	scope, err := r.scopeOf(s.Table)
	if err != nil {
		return nil, err
	}
	set, err := r.newWriteSet(scope)
	if err != nil {
		return nil, err
	}
	set.returning = s.Returning
	switch {
	case r.tx != nil:
		if err = r.join(ctx, scope.Group); err != nil {
			return nil, err
		}
	case s.Conflict != nil, r.state.attempt > 1:
		// The rows that are there are read; or those that were, because they were cold, are not those of now.
		if _, err = r.engine.deps.Executor.Barrier(ctx, scope.Group); err != nil {
			return nil, err
		}
	}
	if len(s.Scans) > 0 {
		if err = r.barrier(ctx, s.Scans); err != nil {
			return nil, err
		}
		if err = set.expectSources(s.Scans); err != nil {
			return nil, err
		}
	}
	builder := r.newRowBuilder(s, set)
	if s.Source == nil {
		for _, values := range s.Values {
			if err = builder.add(values, nil); err != nil {
				return nil, err
			}
		}
		return set, errors.Join(r.idError, builder.finish())
	}
	err = r.each(ctx, s.Source, func(row []datum.Datum) error { return builder.add(s.Casts, row) })
	if err == nil {
		err = builder.finish()
	}
	return set, err
}

// expectSources makes the command fail when what the statement read changes before it is applied. What
// another group does meanwhile cannot be seen from here.
func (s *writeSet) expectSources(scans []*plan.Scan) error {
	for _, scan := range scans {
		source, err := s.run.scopeOf(scan.Table)
		if err != nil {
			return err
		}
		if source.Group != s.scope.Group {
			continue
		}
		if err = s.expectUnchanged(source); err != nil {
			return err
		}
	}
	return nil
}

// rowBuilder makes whole rows out of the values that an INSERT gives.
type rowBuilder struct {
	run      *run
	set      *writeSet
	columns  []schema.Column
	targets  []int
	omitted  []int             // positions without a value
	defaults *expr.EvalContext // nil until a column takes its default
	row      []datum.Datum
	keys     keySet

	conflict *plan.Conflict
	found    []datum.Datum     // the row that has the key, followed by the one to be inserted
	unique   map[string][]byte // keys of unique indexes that the transaction and the statement take, and their rows
	freed    map[string]bool   // keys of unique indexes that rows of the snapshot have and the transaction gave up
	skipped  bool              // a row was left out because of what is there
}

func (r *run) newRowBuilder(s *plan.Insert, set *writeSet) *rowBuilder {
	b := &rowBuilder{
		run: r, set: set, columns: s.Table.Columns, targets: s.Targets,
		row: make([]datum.Datum, len(s.Table.Columns)), conflict: s.Conflict,
	}
	given := make([]bool, len(b.columns))
	for _, position := range s.Targets {
		given[position] = true
	}
	for i := range b.columns {
		if !given[i] {
			b.omitted = append(b.omitted, i)
		}
	}
	return b
}

// byDefault computes the default of a column.
func (b *rowBuilder) byDefault(position int) (datum.Datum, error) {
	if b.defaults == nil {
		// Ids of column defaults count from another epoch than those of the function.
		env, ids := *b.run.eval.Env, b.run.engine.ids
		env.Snowflake = func() int64 { return ids.snowflake(defaultEpochMillis) }
		b.defaults = expr.NewEvalContext(&env)
	}
	return expr.EvalDefault(&b.columns[position], b.defaults)
}

// keySet is keys of rows. A single one, as of most statements, needs no map.
type keySet struct {
	first string
	some  bool
	more  map[string]struct{}
}

func (k *keySet) has(key []byte) bool {
	if k.some && k.first == string(key) {
		return true
	}
	_, found := k.more[string(key)]
	return found
}

func (k *keySet) add(key []byte) {
	switch {
	case !k.some:
		k.first, k.some = string(key), true
	case k.more == nil:
		k.more = map[string]struct{}{string(key): {}}
	default:
		k.more[string(key)] = struct{}{}
	}
}

// add computes one row; values read the source's row, and a nil one stands for the column's default.
func (b *rowBuilder) add(values []expr.Expr, source []datum.Datum) (err error) {
	held := int64(0)
	defer func() { b.run.budget.usedBytes -= held }() // what is kept is accounted for where it is kept
	for i, position := range b.targets {
		if values[i] == nil {
			b.row[position], err = b.byDefault(position)
		} else {
			b.row[position], err = values[i].Eval(b.run.eval, source)
		}
		if size := int64(valueBytes(b.row[position])); err == nil && size > largeValueBytes {
			held += size
			err = b.run.budget.takeBytes(size)
		}
		if err != nil {
			return inColumn(err, b.columns[position].Name)
		}
	}
	for _, position := range b.omitted {
		if b.row[position], err = b.byDefault(position); err != nil {
			return inColumn(err, b.columns[position].Name)
		}
	}
	if err = checkNotNull(b.columns, b.row); err != nil {
		return err
	}
	if b.conflict != nil {
		done, failure := b.resolve()
		if done || failure != nil {
			return failure
		}
	} else if b.run.tx != nil {
		if err = b.checkFree(); err != nil {
			return err
		}
	}
	write, err := b.set.add(b.row, nil, false, commandv1.Expect_EXPECT_ABSENT, 0)
	if err != nil {
		return err
	}
	if b.set.key < 0 {
		return nil
	}
	write.KeyText = keyText(b.row[b.set.key])
	if b.keys.has(write.GetPrimaryKey()) {
		return fault.Taken(fault.PrimaryKey, "the statement has key %s twice%w", write.GetKeyText(), silent{errTaken})
	}
	b.keys.add(write.GetPrimaryKey())
	return nil
}

// inColumn names the column that a value was meant for.
func inColumn(err error, name string) error {
	if kind := fault.KindOf(err); kind != fault.Internal {
		return fault.New(kind, "column '%s': %w", name, err)
	}
	return fmt.Errorf("column '%s': %w", name, err)
}

func checkNotNull(columns []schema.Column, row []datum.Datum) error {
	for i := range columns {
		if row[i].IsNull() && columns[i].Required() {
			return fault.New(fault.NotNull, "NOT NULL violation: column '%s' must have a value", columns[i].Name)
		}
	}
	return nil
}

func keyText(key datum.Datum) string {
	text := key.String()
	if len(text) > maxKeyText {
		text = text[:maxKeyText] + "…"
	}
	return strings.ToValidUTF8(text, "") // cut in the middle of a character, or bytes
}

// changedScan locates the rows of an UPDATE or DELETE and starts the write set over them. All but a single key depend on
// every row of the scope, or of the ranges in which the rows were found: one that is added meanwhile might match.
func (r *run) changedScan(ctx context.Context, scan *plan.Scan, sources []*plan.Scan) (*writeSet, *location, error) {
	if err := r.barrier(ctx, append([]*plan.Scan{scan}, sources...)); err != nil {
		return nil, nil, err
	}
	r.changes = scan
	at, err := r.locate(scan)
	if err != nil {
		return nil, nil, err
	}
	set, err := r.newWriteSet(at.scope)
	if err != nil {
		return nil, nil, err
	}
	if err = set.expectSources(sources); err != nil {
		return nil, nil, err
	}
	return set, at, set.expectLocation(at)
}

// expectLocation makes the command fail when other rows would be found where those of an UPDATE or DELETE were.
func (s *writeSet) expectLocation(at *location) error {
	switch {
	case s.run.tx != nil || at.byIndex == nil && at.bounds.IsPoint():
		return nil // the transaction depends on whatever its scans read; the one row has its own expectation
	case at.byIndex == nil:
		return s.expectUnchanged(at.scope)
	}
	index, err := txn.ScopeIndex(s.run.openSnapshot(), &at.scope)
	if err != nil {
		return err
	}
	s.body.IndexSpans = txn.IndexSpans(&at.scope, at.byIndex.index, at.byIndex.spans, at.byIndex.entries, index)
	return nil
}

// eachAt runs a located scan and hands every row to visit, which must not keep it.
func (r *run) eachAt(ctx context.Context, scan *plan.Scan, at *location, visit func(row []datum.Datum) error) error {
	op, err := r.openAt(scan, at)
	if err != nil {
		return err
	}
	return r.drain(ctx, op, visit)
}

// updateSet computes the new versions of the rows that an UPDATE changes.
func (r *run) updateSet(ctx context.Context, s *plan.Update) (*writeSet, error) {
	set, each, err := r.changedRows(ctx, s.Scan, s.Joined, s.Sources)
	if err != nil {
		return nil, err
	}
	set.returning = s.Returning
	columns := s.Scan.Table.Columns
	values := make([]expr.Expr, len(s.Assignments))
	for i, assignment := range s.Assignments {
		values[i] = expr.Prepare(assignment.Value, r.eval)
	}
	changed := make([]datum.Datum, len(columns))
	return set, each(func(row []datum.Datum) error {
		if r.changedBefore(set, row) {
			return nil
		}
		changed = append(changed[:0], row...)
		differs, err := r.assign(s.Assignments, values, columns, row, changed)
		if err != nil {
			return err
		}
		if !differs {
			return errors.Join(r.leave(set, row), set.give(row))
		}
		if err = checkNotNull(columns, changed); err != nil {
			return err
		}
		_, err = set.add(changed, row, false, commandv1.Expect_EXPECT_SEQ, set.seqOf(row))
		return err
	})
}

// assign computes the changed version of a row in its copy and reports whether it differs.
func (r *run) assign(
	assignments []plan.Assignment, values []expr.Expr, columns []schema.Column, row, changed []datum.Datum,
) (differs bool, failure error) {
	for i, assignment := range assignments {
		value, err := values[i].Eval(r.eval, row)
		if err != nil {
			return false, inColumn(err, columns[assignment.Position].Name)
		}
		changed[assignment.Position] = value
		old := row[assignment.Position]
		differs = differs || value.IsNull() != old.IsNull() || !datum.Equal(value, old)
	}
	return differs, nil
}

// deleteSet computes the tombstones of the rows that a DELETE removes.
func (r *run) deleteSet(ctx context.Context, s *plan.Delete) (*writeSet, error) {
	if s.Scan.Table.Kind != schema.KindStream {
		set, each, err := r.changedRows(ctx, s.Scan, s.Joined, s.Sources)
		if err != nil {
			return nil, err
		}
		set.returning = s.Returning
		return set, each(func(row []datum.Datum) error {
			if r.changedBefore(set, row) {
				return nil
			}
			_, failed := set.add(row, row, true, commandv1.Expect_EXPECT_SEQ, set.seqOf(row))
			return failed
		})
	}
	set, at, err := r.changedScan(ctx, s.Scan, s.Sources)
	if err != nil {
		return nil, err
	}
	set.returning = s.Returning
	op, err := r.openAt(s.Scan, at)
	if err != nil {
		return nil, err
	}
	scan := op.(*scanOperator) //nolint:errcheck // outside of transactions a scan reads the store
	scan.byRows = true         // the cursor says their keys
	return set, errors.Join(r.deleteScanned(ctx, set, scan), scan.close())
}

// deleteScanned removes the rows of a stream table under the keys that they have in the store.
func (r *run) deleteScanned(ctx context.Context, set *writeSet, scan *scanOperator) error {
	for {
		row, err := scan.next(ctx)
		if row == nil || err != nil {
			return errors.Join(err, r.idError)
		}
		key, err := scan.cursor.PrimaryKey()
		if err != nil {
			return err
		}
		if _, err = set.addAt(key, row, row, true, commandv1.Expect_EXPECT_SEQ, set.seqOf(row)); err != nil {
			return err
		}
	}
}

// seqOf returns the _seq of a row of the changed table, whatever follows it.
func (s *writeSet) seqOf(row []datum.Datum) uint64 {
	return uint64(row[len(s.scope.Table.Columns)].Int()) //nolint:gosec // it was stored as such
}
