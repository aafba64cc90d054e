package exec

import (
	"errors"

	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// Code is the stable name of a failure in the envelope of the SQL route.
type Code string

// The codes that the engine gives. Those of authentication, bodies and files belong to the API layer.
const (
	CodeEmptySQL           Code = "EMPTY_SQL"
	CodeParamsWithBatch    Code = "PARAMS_WITH_BATCH"
	CodeBatchParse         Code = "BATCH_PARSE_ERROR"
	CodeInvalidSQL         Code = "INVALID_SQL"
	CodeInvalidParameter   Code = "INVALID_PARAMETER"
	CodePermissionDenied   Code = "PERMISSION_DENIED"
	CodeNotLeader          Code = "NOT_LEADER"
	CodeClusterUnavailable Code = "CLUSTER_UNAVAILABLE"
	CodeDiskFull           Code = "DISK_FULL"
	CodeExecution          Code = "SQL_EXECUTION_ERROR"
	CodeInternal           Code = "INTERNAL_ERROR"

	// CodeTransactionConflict says that a commit met a change of what the transaction had read or written.
	CodeTransactionConflict Code = "TRANSACTION_CONFLICT"
	// CodeNoTransaction says that the caller has no open transaction of that id.
	CodeNoTransaction Code = "TRANSACTION_NOT_FOUND"
	// CodeTransactionBusy says that another request of the transaction is under way.
	CodeTransactionBusy Code = "TRANSACTION_BUSY"
)

// Error is a failure of a request. It unwraps to the *fault.Error that caused it, when there is one.
type Error struct {
	Code      Code
	Statement int    // 1-based number of the statement that failed while running; zero before the first ran
	SQL       string // the text of that statement, "" when unknown or secret; for administrators only
	// Transaction is the id of the transaction that is still open, failed, for ROLLBACK TO SAVEPOINT; "" for none.
	Transaction string
	message     string
	cause       error
}

// Error implements error: one sentence for the caller.
func (e *Error) Error() string { return e.message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Fault returns the failure that caused e. One of kind Internal is made up when the cause has no kind.
func (e *Error) Fault() *fault.Error {
	if f, ok := errors.AsType[*fault.Error](e.cause); ok {
		return f
	}
	return fault.New(fault.Internal, "%w", e.cause)
}

// CodeOf returns the code of err as the SQL route spells it.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return codeOfKind(fault.KindOf(err))
}

func codeOfKind(kind fault.Kind) Code {
	switch kind {
	case fault.Syntax:
		return CodeBatchParse
	case fault.InvalidParameter:
		return CodeInvalidParameter
	case fault.PermissionDenied:
		return CodePermissionDenied
	case fault.NotLeader:
		return CodeNotLeader
	case fault.Unavailable, fault.Timeout, fault.Overloaded:
		return CodeClusterUnavailable
	case fault.DiskFull:
		return CodeDiskFull
	case fault.Internal:
		return CodeInternal
	case fault.InvalidStatement, fault.TableNotFound, fault.NotFound, fault.AlreadyExists, fault.DuplicateKey, fault.NotNull,
		fault.OutOfRange, fault.Unsupported, fault.Conflict, fault.LimitExceeded, fault.Altered:
		return CodeExecution
	}
	return CodeInternal
}
