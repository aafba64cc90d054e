package exec

import (
	"context"
	"errors"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/expr"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/storage"
	"github.com/kalamdb/kalamdb-go/internal/table"
	"github.com/kalamdb/kalamdb-go/internal/txn"
)

// run is one execution of one planned statement: what its operators share. A statement that meets a
// conflict is run again with a new run.
type run struct {
	engine   *Engine
	catalog  *catalog.Catalog
	session  session.Session
	eval     *expr.EvalContext
	budget   *budget
	tx       *txn.Transaction    // whose snapshot and writes are read; nil outside
	before   *txn.Writes         // what tx had written before a statement whose parts do not see each other's changes; nil for others
	same     map[string]struct{} // places of rows that parts of such a statement have changed into what they were
	inner    bool                // a part of a statement is run: what it gives back is for other parts, and not masked
	snapshot *storage.Snapshot   // opened by the first operator that needs it; nil inside a transaction
	idError  error               // of a generator, which cannot return one
	changes  *plan.Scan          // of the rows that the statement changes; nil for others
	sink     RowSink             // takes the rows of the query; nil when they are collected
	// state is shared by a statement and its subqueries, and so is profile.
	state   *runState
	profile *profile // what the nodes do; nil when nobody asked
}

// runState is what one execution has computed so far. Its maps are made when something is put into them.
type runState struct {
	ctx        context.Context //nolint:containedctx // expressions, which have no context, run subqueries
	held       bool            // the snapshot is the caller's, who took it at some time
	subqueries map[*plan.Subquery]*subqueryState
	shared     map[*plan.Shared][][]datum.Datum
	work       map[*plan.WorkTable][][]datum.Datum
	keptBytes  int64          // memory of shared rows and of what subqueries gave
	attempt    int            // of a change; zero and one are the first
	objects    *table.Objects // nil until an expression asks for one
	// newest is the catalog as it was after the snapshot was taken; nil until an index is read.
	newest *catalog.Catalog
}

func (e *Engine) newRun(current *catalog.Catalog, caller session.Session, params []datum.Datum) *run {
	parts := &runParts{lease: memoryLease{node: &e.memory}}
	parts.budget = budget{limitBytes: e.deps.Limits.QueryMemoryBytes, lease: &parts.lease}
	r := &parts.run
	r.engine, r.catalog, r.session, r.budget, r.state = e, current, caller, &parts.budget, &parts.state
	parts.env = expr.Env{
		NowMicros: e.deps.Clock.Now().UnixMicro(), User: caller.User, Role: caller.Role, Params: params,
		Namespace: caller.Namespace,
		Snowflake: e.snowflake,
		UUIDv7:    func() string { return r.drawn(e.ids.uuidV7()) },
		ULID:      func() string { return r.drawn(e.ids.newULID()) },
		Subquery:  r.subquery,
		Stopped:   r.stopped,
		Objects:   r,
	}
	r.eval = expr.NewEvalContext(&parts.env)
	return r
}

// runParts is what every run has, as one piece of memory: a statement is over in microseconds.
type runParts struct {
	run    run
	budget budget
	lease  memoryLease
	state  runState
	env    expr.Env
}

// drawn keeps the first failure of a generator until the statement ends.
func (r *run) drawn(id string, err error) string {
	if err != nil && r.idError == nil {
		r.idError = err
	}
	return id
}

// close releases the snapshot.
func (r *run) close() error {
	if r.snapshot == nil {
		return nil
	}
	err := r.snapshot.Close()
	r.snapshot = nil
	return err
}

// openSnapshot returns the statement's one picture of the store.
func (r *run) openSnapshot() *storage.Snapshot {
	if r.tx != nil {
		return r.tx.Snapshot()
	}
	if r.snapshot == nil {
		r.snapshot = r.engine.deps.Storage.NewSnapshot()
	}
	return r.snapshot
}

// scopeOf finds where the rows of a table are that exist for the caller. This is where a plan, which serves many, is bound to one: the
// owner of private rows comes from the session and from nowhere else.
func (r *run) scopeOf(found *schema.Table) (table.Scope, error) {
	if r.tx != nil && found.Kind == schema.KindStream {
		if r.tx.ID == "" {
			return table.Scope{}, fault.New(fault.Unsupported, "STREAM tables cannot be used in a statement that changes rows within WITH")
		}
		return table.Scope{}, fault.New(fault.Unsupported, "STREAM tables cannot be used in a transaction")
	}
	if found.Kind == schema.KindShared {
		scope := table.SharedScope(found)
		scope.Cold = r.engine.deps.Cold
		return scope, nil
	}
	cluster := r.catalog.Cluster()
	if cluster == nil {
		return table.Scope{}, fault.New(fault.Unavailable, "the cluster is not founded yet; try again")
	}
	scope := table.UserScope(found, cluster.Shards, r.session.User)
	scope.Cold = r.engine.deps.Cold
	return scope, nil
}

// barrier waits until this node has everything that was acknowledged in the groups of the scans. It must
// be called before anything is read. A query over tables of two groups reads the state of each as of some
// moment after the query began; the two moments may differ, because groups have no common order.
func (r *run) barrier(ctx context.Context, scans []*plan.Scan) error {
	r.state.ctx = ctx
	var few [4]shard.GroupID
	waited := few[:0]
	for _, scan := range scans {
		scope, err := r.scopeOf(scan.Table)
		if err != nil {
			return err
		}
		if slices.Contains(waited, scope.Group) {
			continue
		}
		if r.tx != nil {
			if err = r.join(ctx, scope.Group); err != nil {
				return err
			}
			continue
		}
		waited = append(waited, scope.Group)
		if _, err := r.engine.deps.Executor.Barrier(ctx, scope.Group); err != nil {
			return err
		}
	}
	if len(scans) > 1 && r.tx == nil {
		r.openSnapshot() // all of them read the same picture of the store
	}
	return nil
}

// each runs a node and hands every row to visit, which must not keep it.
func (r *run) each(ctx context.Context, node plan.Node, visit func(row []datum.Datum) error) error {
	op, err := r.open(ctx, node)
	if err != nil {
		return err
	}
	return r.drain(ctx, op, visit)
}

// drain hands every row of an operator to visit, which must not keep it, and closes it.
func (r *run) drain(ctx context.Context, op operator, visit func(row []datum.Datum) error) (err error) {
	defer func() { err = errors.Join(err, op.close()) }()
	for {
		row, err := op.next(ctx)
		if err != nil {
			return err
		}
		if row == nil {
			return r.idError
		}
		if err := visit(row); err != nil {
			return err
		}
	}
}

// query runs a statement that gives rows.
func (r *run) query(ctx context.Context, query *plan.Query) (result outcome, err error) {
	if err = r.barrier(ctx, query.Scans); err != nil {
		return outcome{}, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	result.Result = Result{Columns: query.Columns, HasRows: true, Rows: [][]datum.Datum{}, AsUser: r.session.User}
	masked := r.maskedColumns(query.Columns)
	if r.sink != nil {
		result.Rows, result.Streamed = nil, true
		result.RowCount, err = r.stream(ctx, query, masked)
		return result, err
	}
	var arena rowArena
	err = r.each(ctx, query.Root, func(row []datum.Datum) error {
		if full := r.budget.take(row); full != nil {
			return full
		}
		result.keptBytes += rowBytes(row)
		kept := arena.copy(row)
		mask(query.Columns, masked, kept)
		var full error
		result.Rows, full = keepIn(r.budget, result.Rows, kept)
		return full
	})
	result.keptBytes += int64(cap(result.Rows)) * sliceBytes
	result.RowCount = len(result.Rows)
	return result, err
}

// stream hands the rows of a query to the sink and counts them. Nothing of them is kept.
func (r *run) stream(ctx context.Context, query *plan.Query, masked []int) (rows int, err error) {
	if err = r.sink.Begin(query.Columns, r.session.User); err != nil {
		return 0, err
	}
	shown := make([]datum.Datum, len(query.Columns))
	err = r.each(ctx, query.Root, func(row []datum.Datum) error {
		if rows++; rows%cancelInterval == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if len(masked) == 0 {
			return r.sink.Row(row)
		}
		copy(shown, row)
		mask(query.Columns, masked, shown)
		return r.sink.Row(shown)
	})
	return rows, err
}

// Mask is shown in the place of a value that only administrators see.
const Mask = "***"

// Masks reports whether values of columns of a name are hidden from a role.
func Masks(role session.Role, name string) bool {
	return !role.IsAdmin() && (name == "password_hash" || name == "credentials")
}

// maskedColumns finds the columns whose values only administrators see.
func (r *run) maskedColumns(columns []Column) []int {
	var masked []int
	for i := range columns {
		if Masks(r.session.Role, columns[i].Name) {
			masked = append(masked, i)
		}
	}
	return masked
}

// mask hides the values of masked columns.
func mask(columns []Column, masked []int, row []datum.Datum) {
	for _, i := range masked {
		row[i] = Masked(columns[i].Type)
	}
}

// Masked is what is shown instead of a value of a type. It is of that type: where that can be no text it is NULL.
func Masked(t datum.Type) datum.Datum {
	switch t.Kind { //nolint:exhaustive // the others hold no text of any kind
	case datum.Text:
		return datum.NewText(Mask)
	case datum.JSON:
		return datum.NewString(datum.JSON, `"`+Mask+`"`)
	}
	return datum.Datum{}
}

// rowArena copies rows into few large pieces of memory.
type rowArena struct {
	free []datum.Datum
	next int // rows in the next piece
}

const maxArenaRows = 256

func (a *rowArena) copy(row []datum.Datum) []datum.Datum { return a.copyWide(row, len(row)) }

// copyWide makes a row with room for more values; they are NULL.
func (a *rowArena) copyWide(row []datum.Datum, width int) []datum.Datum {
	if len(a.free) < width || width == 0 {
		a.next = min(max(1, 2*a.next), maxArenaRows)
		a.free = make([]datum.Datum, a.next*width)
	}
	kept := a.free[:width:width]
	a.free = a.free[width:]
	copy(kept, row)
	return kept
}
