package exec

import (
	"context"
	"errors"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	"github.com/kalamdb/kalamdb-go/internal/txn"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// NewTransaction is the Request.Transaction that allows the request to leave a transaction open for later ones.
const NewTransaction = "new"

// maxTransactionID bounds the id that a caller names.
const maxTransactionID = 64

// Execute runs a request. Every statement is parsed and its permissions are checked before the first one
// runs. Outside a transaction each commits by itself; the first failure ends the request, rolls back the
// open transaction, and what was committed before it stays. The error is an *Error, which unwraps to the
// *fault.Error behind it.
func (e *Engine) Execute(ctx context.Context, request Request) (*Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := &batchRun{
		engine: e, session: request.Session, params: request.Params, repeat: nameRequest(&request),
		cancel: cancel, mayStay: request.Transaction != "", sink: request.Rows,
	}
	if len(request.Transaction) > maxTransactionID {
		return nil, refuse(CodeNoTransaction, fault.New(fault.InvalidStatement, "a transaction id has at most %d bytes", maxTransactionID))
	}
	if b.mayStay && b.repeat != nil {
		return nil, refuse(CodeInvalidParameter, errRepeatedTransaction())
	}
	if b.mayStay && request.Transaction != NewTransaction {
		tx, err := e.transactions.Acquire(request.Transaction, request.Session.User, cancel)
		if err != nil {
			return nil, refuse(codeOfAcquire(err), e.located(err))
		}
		b.tx = tx
	}
	b.lease.node = &e.memory
	defer b.lease.giveBack()
	b.running = e.running.add(request.Session, e.deps.Clock.Now(), cancel)
	defer e.running.remove(b.running)
	returned := false
	defer func() {
		if !returned && b.tx != nil {
			_ = e.transactions.End(b.tx) // the request panicked, which is what matters
		}
	}()
	response, err := e.tellLeader(ctx, b, request)
	returned = true
	if err != nil {
		return nil, b.abandon(ctx, err)
	}
	if b.tx == nil {
		return response, nil
	}
	return b.passOn(response)
}

func codeOfAcquire(err error) Code {
	switch {
	case errors.Is(err, txn.ErrUnknown):
		return CodeNoTransaction
	case errors.Is(err, txn.ErrBusy):
		return CodeTransactionBusy
	}
	return codeOfKind(fault.KindOf(err))
}

// errRepeatedTransaction refuses a promise that would not be kept: a repeat sees the rows that the first one wrote,
// and comes to other statements' errors before it comes to COMMIT.
func errRepeatedTransaction() error {
	return fault.New(fault.InvalidParameter,
		"a transaction cannot be sent with an Idempotency-Key; when its answer is lost, look whether it took effect")
}

// passOn leaves the open transaction to a later request, if the caller asked for that.
func (b *batchRun) passOn(response *Response) (*Response, error) {
	tx := b.tx
	if !b.mayStay {
		open := fault.New(fault.InvalidStatement,
			"the request ended with an open transaction, which was rolled back; end it with COMMIT, or send the header X-Transaction-ID: new to go on in later requests")
		return nil, refuse(CodeExecution, errors.Join(open, b.engine.transactions.End(tx)))
	}
	if !b.engine.transactions.Release(tx) {
		return nil, refuse(CodeNoTransaction, errors.Join(txn.ErrKilled, b.engine.transactions.End(tx)))
	}
	response.Transaction = tx.ID
	return response, nil
}

// abandon ends what a failed request leaves: its transaction is rolled back, unless there is a savepoint to go
// back to and the caller can come again.
func (b *batchRun) abandon(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(err, context.Canceled) && cause != nil && fault.KindOf(cause) != fault.Internal && !b.committing {
		err = &Error{Code: codeOfKind(fault.KindOf(cause)), message: describe(cause), cause: cause}
	}
	tx := b.tx
	if tx == nil {
		return err
	}
	if b.mayStay && tx.HasSavepoints() {
		tx.Failed = true
		if b.engine.transactions.Release(tx) {
			if failed, ok := errors.AsType[*Error](err); ok {
				failed.Transaction = tx.ID
			}
			return err
		}
	}
	if failure := b.engine.transactions.End(tx); failure != nil {
		return errors.Join(err, failure)
	}
	return err
}

// inside checks that a statement may run in the open transaction, and bounds its time.
func (b *batchRun) inside(ctx context.Context, bound plan.Statement) (context.Context, context.CancelFunc, error) {
	none := func() {}
	if b.tx == nil {
		return ctx, none, nil
	}
	if b.tx.Failed && !endsFailure(bound) {
		return ctx, none, fault.New(fault.InvalidStatement,
			"a statement of this transaction failed; only ROLLBACK and ROLLBACK TO SAVEPOINT may follow")
	}
	switch bound.(type) {
	case *plan.Meta, *plan.Cluster:
		return ctx, none, fault.New(fault.Unsupported, "only statements about rows may run inside a transaction; COMMIT or ROLLBACK first")
	case *plan.Insert, *plan.Update, *plan.Delete, *plan.WithChanges:
		if b.tx.ReadOnly {
			return ctx, none, fault.New(fault.InvalidStatement, "the transaction is READ ONLY: it cannot change rows")
		}
	}
	remaining := b.engine.transactions.Remaining(b.tx)
	if remaining <= 0 {
		return ctx, none, fault.New(fault.LimitExceeded, "the time of the transaction is over; it was rolled back")
	}
	bounded, cancel := context.WithTimeout(ctx, remaining)
	return bounded, cancel, nil
}

func endsFailure(bound plan.Statement) bool {
	s, ok := bound.(*plan.Transact)
	if !ok {
		return false
	}
	switch s.Node.(type) {
	case *parse.Rollback, *parse.RollbackTo:
		return true
	}
	return false
}

// transact runs a statement about transactions.
func (b *batchRun) transact(ctx context.Context, s *plan.Transact) (Result, error) {
	if begin, ok := s.Node.(*parse.Begin); ok {
		return b.begin(begin)
	}
	if b.tx == nil {
		return Result{}, fault.New(fault.InvalidStatement, "%s: there is no transaction in progress; start one with BEGIN", parse.Print(s.Node))
	}
	message := ""
	var err error
	switch node := s.Node.(type) {
	case *parse.Commit:
		return b.commit(ctx)
	case *parse.Rollback:
		return b.rollback()
	case *parse.Savepoint:
		message, err = "Savepoint "+node.Name.Name+" set", b.tx.Savepoint(node.Name.Name)
	case *parse.RollbackTo:
		message, err = "Rolled back to savepoint "+node.Name.Name, b.tx.RollbackTo(node.Name.Name)
	case *parse.ReleaseSavepoint:
		message, err = "Savepoint "+node.Name.Name+" released", b.tx.Release(node.Name.Name)
	case *parse.SetTransaction:
		if _, begun := b.tx.Begun(); begun {
			return Result{}, fault.New(fault.InvalidStatement, "SET TRANSACTION must come before the first statement that touches a table")
		}
		message, b.tx.ReadOnly = "Transaction changed", node.Modes.Access == parse.ReadOnly
	}
	if err != nil {
		return Result{}, err
	}
	b.countFrom(s.Node)
	b.engine.transactions.Note(b.tx)
	return b.said(message), nil
}

// totalsAt is what the totals were when the request set a savepoint.
type totalsAt struct {
	name   string
	totals changeTotals
}

// countFrom keeps the totals in step with the savepoints. Of one that an earlier request has set only the name is known here: whatever
// this request has counted in the transaction came after it.
func (b *batchRun) countFrom(node parse.Statement) {
	find := func(name string) int {
		for i, mark := range slices.Backward(b.marks) {
			if mark.name == name {
				return i
			}
		}
		return -1
	}
	switch node := node.(type) {
	case *parse.Savepoint:
		b.marks = append(b.marks, totalsAt{node.Name.Name, b.totals})
	case *parse.ReleaseSavepoint:
		b.marks = b.marks[:max(0, find(node.Name.Name))]
	case *parse.RollbackTo:
		found := find(node.Name.Name)
		b.marks = b.marks[:found+1]
		if b.totals = b.before; found >= 0 {
			b.totals = b.marks[found].totals
		}
	}
}

func (b *batchRun) said(message string) Result {
	return Result{Message: message, AsUser: b.session.User}
}

func (b *batchRun) begin(node *parse.Begin) (Result, error) {
	switch {
	case b.repeat != nil:
		return Result{}, errRepeatedTransaction()
	case b.tx != nil:
		return Result{}, fault.New(fault.InvalidStatement, "a transaction is in progress already; transactions do not nest, use SAVEPOINT")
	}
	tx, err := b.engine.transactions.Begin(b.session.User, b.mayStay, b.cancel)
	if err != nil {
		return Result{}, err
	}
	tx.ReadOnly = node.Modes.Access == parse.ReadOnly
	b.tx, b.before, b.marks = tx, b.totals, nil
	b.engine.transactions.Note(tx)
	return b.said("Transaction started (" + tx.ID + ")"), nil
}

func (b *batchRun) rollback() (Result, error) {
	tx := b.tx
	b.tx, b.totals = nil, b.before
	return b.said("Transaction rolled back (" + tx.ID + ")"), b.engine.transactions.End(tx)
}

// commit writes everything the transaction wants as one command. It ends whatever the outcome is.
func (b *batchRun) commit(ctx context.Context) (Result, error) {
	tx := b.tx
	group, _ := tx.Begun()
	body := tx.Command()
	b.tx = nil
	// The snapshot is not needed while the command is on its way.
	if err := b.engine.transactions.End(tx); err != nil {
		return Result{}, err
	}
	if body != nil {
		b.committing = true
		_, err := b.engine.deps.Executor.Execute(ctx, group, &commandv1.Command{
			Header: &commandv1.Header{Actor: string(b.session.User)},
			Body:   &commandv1.Command_WriteRows{WriteRows: body},
		})
		if err != nil {
			return Result{}, conflicted(tx, err)
		}
		b.committing = false
	}
	return b.said("Transaction committed (" + tx.ID + ")"), nil
}

// conflicted gives a conflict of a commit its own code. A primary key that was free in the snapshot and is taken
// now is one as well: the transaction, run again, sees the row. So is another unique value, if ON CONFLICT has looked for some. What else must be
// unique was not looked at before.
func conflicted(tx *txn.Transaction, err error) error {
	kind := fault.KindOf(err)
	taken := kind == fault.DuplicateKey && (tx.Arbitrated || fault.ConstraintOf(err) == fault.PrimaryKey)
	if kind == fault.Conflict || kind == fault.Altered || taken {
		conflict := fault.New(fault.Conflict, "the transaction was rolled back, run it again from its start: %w", err)
		return &Error{Code: CodeTransactionConflict, message: conflict.Message, cause: conflict}
	}
	return err
}
