package exec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/txn"
)

// request parses, checks and runs the statements of a request.
func (b *batchRun) request(ctx context.Context, request Request) (*Response, error) {
	key, cacheable := keyOf(&request)
	if cacheable {
		if response, hit, err := b.cached(ctx, key); hit || err != nil {
			return response, err
		}
	}
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
		b.sink = nil
		for i := range batch {
			if batch[i].Parameters > 0 {
				return nil, refuse(CodeInvalidParameter, fault.New(fault.InvalidParameter, "statement %d uses parameters but none were given", i+1))
			}
		}
	}
	if cacheable && len(batch) == 1 {
		b.key = &key
	}
	b.onlyQueries = !slices.ContainsFunc(batch, func(p parse.Parsed) bool {
		_, ok := p.Statement.(*parse.Query)
		return !ok
	})
	ctx = b.reading(ctx)
	if err = b.prepare(ctx, batch); err != nil {
		err = ended(err)
		return nil, refuse(CodeOf(err), err)
	}
	response, at, err := b.execute(ctx, batch)
	if err != nil {
		return nil, failed(at+1, showable(&batch[at]), err)
	}
	return response, nil
}

// showable returns the text of a statement, or nothing when it may hold a secret.
func showable(parsed *parse.Parsed) string {
	switch parsed.Statement.(type) {
	case *parse.CreateUser, *parse.AlterUser, *parse.CreateStorage, *parse.AlterStorage:
		return ""
	}
	return parsed.Text
}

// failed makes the error of a statement that failed while it ran.
func failed(statement int, sql string, err error) error {
	err = ended(err)
	return &Error{
		Code: CodeOf(err), Statement: statement, SQL: sql,
		message: fmt.Sprintf("Statement %d failed: %s", statement, describe(err)), cause: err,
	}
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
	tx      *txn.Transaction        // the open one; nil outside
	sink    RowSink                 // takes the rows of the only statement; nil for several
	mayStay bool                    // whether the transaction may outlive the request
	cancel  context.CancelCauseFunc // ends the request
	running *runningRequest         // its row in system.sessions
	lease   memoryLease             // of the results, which stay until the request has run, and of the query that runs
	totals  changeTotals
	before  changeTotals // what totals were when the transaction began; a rollback goes back to them
	marks   []totalsAt   // of the savepoints that the request has set in the open transaction
	// committing is set while a commit is on its way: its outcome is unknown when the request ends then.
	committing bool
	key        *planKey    // under which the plan of the only statement may be kept; nil when it may not
	repeat     *repeatable // nil when the request will not be repeated
	// onlyQueries is set when no statement of the request changes anything.
	onlyQueries bool
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
			return b.refused(ctx, batch[i].Statement, err)
		}
	}
	return nil
}

// refused writes the refusal to act as another user into the audit log.
func (b *batchRun) refused(ctx context.Context, statement parse.Statement, err error) error {
	as, ok := statement.(*parse.ExecuteAsUser)
	if !ok || fault.KindOf(err) != fault.PermissionDenied {
		return err
	}
	if failure := b.engine.recordUse(ctx, b.session, ident.UserID(as.User.Name), as.Statement, true); failure != nil {
		b.engine.deps.Logger.Warn("a refusal is missing in the audit log", slog.String("actor", string(b.session.User)),
			slog.Any("error", failure))
	}
	return err
}

// catalog returns the catalog with everything that was acknowledged before this request, as long as the caller is in it
// what he was when he was let in.
func (b *batchRun) catalog(ctx context.Context) (*catalog.Catalog, error) {
	if b.stale {
		if _, err := b.engine.deps.Executor.Barrier(ctx, shard.Meta); err != nil {
			return nil, err
		}
		b.stale = false
	}
	current := b.engine.deps.Catalog.Current()
	if caller := &b.session; caller.Account {
		account, ok := current.User(caller.User)
		if !ok || account.Deleted() || account.Role != caller.Role || caller.Password != "" && account.PasswordHash != string(caller.Password) {
			return nil, fault.New(fault.PermissionDenied, "the account '%s' was changed meanwhile; sign in again", caller.User)
		}
	}
	return current, nil
}

func (b *batchRun) environment(current *catalog.Catalog, caller session.Session) *plan.Environment {
	limits := b.engine.deps.Limits
	return &plan.Environment{
		Catalog: current, Views: b.engine.views, Caller: caller.Viewpoint(), Params: b.params,
		DefaultRows: limits.DefaultRows, MaxRows: limits.MaxRows, NowMicros: b.engine.deps.Clock.Now().UnixMicro(),
	}
}

// execute runs the statements; on an error it also returns the position of the one that failed.
func (b *batchRun) execute(ctx context.Context, batch []parse.Parsed) (response *Response, at int, err error) {
	response = &Response{}
	totals := &b.totals
	totals.user = b.session.User
	for i := range batch {
		result, err := b.statement(b.repeat.statement(ctx, i), &batch[i])
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

// cached runs a request whose plan is known and still valid. The catalog that it was made for is the
// current one, so the permissions that were checked then are those of now.
func (b *batchRun) cached(ctx context.Context, key planKey) (response *Response, hit bool, err error) {
	found, ok := b.engine.plans.find(key, b.session.User)
	if !ok {
		return nil, false, nil
	}
	b.stale = found.needsCatalog
	_, b.onlyQueries = found.bound.(*plan.Query)
	ctx = b.reading(ctx)
	current, err := b.catalog(ctx)
	if err != nil {
		err = ended(err)
		return nil, false, refuse(CodeOf(err), err)
	}
	if current != found.catalog || !found.until.IsZero() && b.engine.deps.Clock.Now().After(found.until) {
		return nil, false, nil
	}
	b.engine.plans.hits.Add(1)
	b.engine.running.reaches(b.running, key.sql, b.tx)
	result, err := b.bound(b.repeat.statement(ctx, 0), current, b.session, found.bound)
	if fault.KindOf(err) == fault.Altered {
		return nil, false, nil // a new plan may succeed
	}
	if err != nil {
		return nil, false, failed(1, strings.TrimSpace(key.sql), err)
	}
	return &Response{Results: []Result{result.Result}, SingleRows: result.HasRows}, true, nil
}

// maxPlans bounds how often a statement is planned anew because a table was altered while it ran.
const maxPlans = 8

// statement plans and runs one statement. When a table was altered meanwhile it is planned again: nothing was
// written.
func (b *batchRun) statement(ctx context.Context, parsed *parse.Parsed) (outcome, error) {
	b.engine.running.reaches(b.running, parsed.Text, b.tx)
	for plans := 1; ; plans++ {
		result, err := b.statementOnce(ctx, parsed)
		if fault.KindOf(err) != fault.Altered || plans == maxPlans {
			return result, err
		}
		b.stale = true
	}
}

func (b *batchRun) statementOnce(ctx context.Context, parsed *parse.Parsed) (outcome, error) {
	current, err := b.catalog(ctx)
	if err != nil {
		return outcome{}, err
	}
	build := plan.BuildAuthorized
	if current != b.authorized {
		build = plan.Build // the catalog has changed since
	}
	env, sizes := b.environment(current, b.session), &tableSizes{engine: b.engine, catalog: current}
	env.Sizes = sizes
	bound, err := build(env, parsed.Statement)
	if err != nil {
		return outcome{}, err
	}
	if b.key != nil {
		var until time.Time
		if sizes.asked {
			until = b.engine.deps.Clock.Now().Add(sampleAge)
		}
		key := *b.key
		if env.Caller.ToldUser() {
			key = key.ownedBy(b.session.User)
		}
		b.engine.plans.keep(key, current, parsed, bound, until)
	}
	return b.bound(ctx, current, b.session, bound)
}

// reading lets a request that only queries, outside a transaction, read at the level that it or the setting asks for.
// One that changes something sees at least that.
func (b *batchRun) reading(ctx context.Context) context.Context {
	if b.onlyQueries && b.tx == nil {
		return executor.AsQuery(ctx)
	}
	return ctx
}

func (b *batchRun) bound(ctx context.Context, current *catalog.Catalog, caller session.Session, bound plan.Statement) (outcome, error) {
	ctx, done, err := b.inside(ctx, bound)
	if err != nil {
		return outcome{}, err
	}
	defer done()
	switch s := bound.(type) {
	case *plan.Transact:
		result, err := b.transact(ctx, s)
		return outcome{Result: result}, err
	case *plan.Kill:
		result, err := b.engine.kill(s.Node)
		result.AsUser = caller.User
		return outcome{Result: result}, err
	case *plan.Query:
		r := b.engine.newRun(current, caller, b.params)
		r.tx, r.budget.lease = b.tx, &b.lease
		r.budget.usedBytes = b.keptBytes
		r.sink = b.sink
		result, err := r.query(ctx, s)
		b.keptBytes += result.keptBytes
		return result, err
	case *plan.Analyze:
		r := b.engine.newRun(current, caller, b.params)
		r.tx, r.budget.lease = b.tx, &b.lease
		r.budget.usedBytes = b.keptBytes
		result, err := r.analyze(ctx, s)
		return outcome{Result: result}, err
	case *plan.Describe:
		return outcome{Result: Result{
			Columns: s.Columns, Rows: s.Rows, HasRows: true, RowCount: len(s.Rows), AsUser: caller.User,
		}}, nil
	case *plan.Insert, *plan.Update, *plan.Delete, *plan.WithChanges:
		if b.tx != nil {
			return b.engine.changeOnce(ctx, b.tx, 1, current, caller, b.params, s)
		}
		return b.engine.change(ctx, current, caller, b.params, s)
	case *plan.Meta:
		b.stale = true
		result, err := b.engine.meta(ctx, caller, s)
		return outcome{Result: result}, err
	case *plan.Done:
		return outcome{Result: Result{Message: s.Message, AsUser: caller.User}}, nil
	case *plan.SetNamespace:
		b.session.Namespace = s.Namespace
		return outcome{Result: Result{Message: "Using namespace '" + s.Namespace + "'", AsUser: caller.User}}, nil
	case *plan.Cluster:
		result, err := b.engine.cluster(ctx, caller, s.Order)
		return outcome{Result: result}, err
	case *plan.Subscribe:
		result, err := b.engine.subscribe(ctx, caller, s)
		return outcome{Result: result}, err
	case *plan.KillLive:
		result, err := b.engine.killLive(ctx, caller, s)
		return outcome{Result: result}, err
	case *plan.StartJob:
		return b.engine.startJob(ctx, caller, s)
	case *plan.StorageCheck, *plan.StorageFlush:
		result, err := b.engine.aboutStorage(ctx, caller, s)
		return outcome{Result: result}, err
	case *plan.Notice:
		return outcome{Result: Result{Message: s.Message, AsUser: caller.User}}, nil
	case *plan.Impersonate:
		return b.impersonated(ctx, current, caller, s)
	}
	return outcome{}, fmt.Errorf("statement %T cannot be run", bound)
}

// impersonated runs a statement as another user, once that is written down.
func (b *batchRun) impersonated(ctx context.Context, current *catalog.Catalog, caller session.Session, s *plan.Impersonate) (outcome, error) {
	if err := b.engine.recordUse(ctx, caller, s.Target, s.Source, false); err != nil {
		return outcome{}, err
	}
	caller.User, caller.Role = s.Target, s.Role
	return b.bound(ctx, current, caller, s.Statement)
}
