package exec

import (
	"context"
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
)

// Execute runs a request. Every statement is parsed and its permissions are checked before the first one
// runs; each then commits by itself, and the first failure ends the request: what ran before it stays.
// The error is an *Error, which unwraps to the *fault.Error behind it.
func (e *Engine) Execute(ctx context.Context, request Request) (*Response, error) {
	batch, err := parse.ParseBatch(request.SQL)
	if err != nil {
		return nil, &Error{Code: codeOfParse(err), message: err.Error(), cause: err}
	}
	switch {
	case len(batch) == 0:
		return nil, refuse(CodeEmptySQL, fault.New(fault.InvalidStatement, "the request holds no SQL statement"))
	case len(batch) > 1 && len(request.Params) > 0:
		return nil, refuse(CodeParamsWithBatch, fault.New(fault.InvalidParameter,
			"parameters can be used with a single statement only, the request has %d", len(batch)))
	case batch[0].Parameters > len(request.Params):
		return nil, refuse(CodeInvalidParameter, fault.New(fault.InvalidParameter,
			"the statement uses parameter $%d but %d were given", batch[0].Parameters, len(request.Params)))
	}
	if len(batch) > 1 {
		for i := range batch {
			if batch[i].Parameters > 0 {
				return nil, refuse(CodeInvalidParameter, fault.New(fault.InvalidParameter, "statement %d uses parameters but none were given", i+1))
			}
		}
	}
	b := &batchRun{engine: e, session: request.Session, params: request.Params}
	if err = b.prepare(ctx, batch); err != nil {
		err = ended(err)
		return nil, refuse(CodeOf(err), err)
	}
	response, at, err := b.execute(ctx, batch)
	if err != nil {
		err = ended(err)
		return nil, &Error{
			Code: codeOfKind(fault.KindOf(err)), Statement: at + 1, SQL: batch[at].Text,
			message: fmt.Sprintf("Statement %d failed: %s", at+1, describe(err)), cause: err,
		}
	}
	return response, nil
}

// refuse makes the error of a request of which nothing ran.
func refuse(code Code, err error) error {
	return &Error{Code: code, message: describe(err), cause: err}
}

// describe is what a caller is told: the sentence of the failure, without the operations it was wrapped in.
func describe(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Message
	}
	return err.Error()
}

// ended turns the end of a context, which has no kind, into a failure that has one.
func ended(err error) error {
	if _, known := errors.AsType[*fault.Error](err); !known && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return fault.New(fault.Timeout, "the statement was stopped: its time is over or the caller left: %w", err)
	}
	return err
}

func codeOfParse(err error) Code {
	if fault.KindOf(err) == fault.LimitExceeded {
		return CodeInvalidSQL
	}
	return CodeBatchParse
}

// batchRun is one request on its way through its statements.
type batchRun struct {
	engine  *Engine
	session session.Session // its namespace follows USE
	params  []datum.Datum
	// stale is set after a change of the catalog, which another node may have applied first.
	stale bool
	// authorized is the catalog under which all statements were authorized.
	authorized *catalog.Catalog
	// keptBytes is the memory of the results so far. The bound of a statement's memory is the bound of
	// the request's results too.
	keptBytes int64
}

// prepare makes the catalog current and checks the permissions of all statements.
func (b *batchRun) prepare(ctx context.Context, batch []parse.Parsed) error {
	for i := range batch {
		b.stale = b.stale || plan.NeedsCatalog(batch[i].Statement)
	}
	current, err := b.catalog(ctx)
	if err != nil {
		return err
	}
	b.authorized = current
	caller := b.session
	for i := range batch {
		if use, ok := batch[i].Statement.(*parse.UseNamespace); ok {
			caller.Namespace = use.Name.Name
		}
		if err := plan.Authorize(b.environment(current, caller), batch[i].Statement); err != nil {
			return err
		}
	}
	return nil
}

// catalog returns the catalog with everything that was acknowledged before this request.
func (b *batchRun) catalog(ctx context.Context) (*catalog.Catalog, error) {
	if b.stale {
		if _, err := b.engine.deps.Executor.Barrier(ctx, shard.Meta); err != nil {
			return nil, err
		}
		b.stale = false
	}
	return b.engine.deps.Catalog.Current(), nil
}

func (b *batchRun) environment(current *catalog.Catalog, caller session.Session) *plan.Environment {
	limits := b.engine.deps.Limits
	return &plan.Environment{
		Catalog: current, Views: b.engine.views, Session: caller, Params: b.params,
		DefaultRows: limits.DefaultRows, MaxRows: limits.MaxRows,
	}
}

// execute runs the statements; on an error it also returns the position of the one that failed.
func (b *batchRun) execute(ctx context.Context, batch []parse.Parsed) (response *Response, at int, err error) {
	response = &Response{}
	totals := changeTotals{user: b.session.User}
	for i := range batch {
		result, err := b.statement(ctx, batch[i].Statement)
		if err != nil {
			return nil, i, err
		}
		if result.change != noChange && len(batch) > 1 {
			totals.rows[result.change] += result.RowCount
			continue
		}
		response.Results = append(response.Results, result.Result)
	}
	response.Results = append(response.Results, totals.results()...)
	response.SingleRows = len(batch) == 1 && len(response.Results) == 1 && response.Results[0].HasRows
	return response, 0, nil
}

// statement plans and runs one statement.
func (b *batchRun) statement(ctx context.Context, statement parse.Statement) (outcome, error) {
	current, err := b.catalog(ctx)
	if err != nil {
		return outcome{}, err
	}
	build := plan.BuildAuthorized
	if current != b.authorized {
		build = plan.Build // the catalog has changed since
	}
	bound, err := build(b.environment(current, b.session), statement)
	if err != nil {
		return outcome{}, err
	}
	return b.bound(ctx, current, b.session, bound)
}

func (b *batchRun) bound(ctx context.Context, current *catalog.Catalog, caller session.Session, bound plan.Statement) (outcome, error) {
	switch s := bound.(type) {
	case *plan.Query:
		r := b.engine.newRun(current, caller, b.params)
		r.budget.usedBytes = b.keptBytes
		result, err := r.query(ctx, s)
		b.keptBytes += result.keptBytes
		return result, err
	case *plan.Describe:
		return outcome{Result: Result{
			Columns: s.Columns, Rows: s.Rows, HasRows: true, RowCount: len(s.Rows), AsUser: caller.User,
		}}, nil
	case *plan.Insert, *plan.Update, *plan.Delete:
		return b.engine.change(ctx, current, caller, b.params, s)
	case *plan.Meta:
		b.stale = true
		result, err := b.engine.meta(ctx, caller, s)
		return outcome{Result: result}, err
	case *plan.SetNamespace:
		b.session.Namespace = s.Namespace
		return outcome{Result: Result{Message: "Using namespace '" + s.Namespace + "'", AsUser: caller.User}}, nil
	case *plan.Impersonate:
		return b.bound(ctx, current, s.Session, s.Statement)
	}
	return outcome{}, fmt.Errorf("statement %T cannot be run", bound)
}
