package live

import (
	"errors"
	"fmt"

	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/fault"
)

// Code is what clients branch on when a subscription fails.
type Code string

// The codes of failed and ended subscriptions.
const (
	CodeInvalidID    Code = "INVALID_SUBSCRIPTION_ID"
	CodeLimit        Code = "SUBSCRIPTION_LIMIT_EXCEEDED"
	CodeUnauthorized Code = "UNAUTHORIZED"
	CodeNotFound     Code = "NOT_FOUND"
	CodeInvalidSQL   Code = "INVALID_SQL"
	CodeUnsupported  Code = "UNSUPPORTED"
	CodeFailed       Code = "SUBSCRIPTION_FAILED"
	CodeConversion   Code = "CONVERSION_ERROR"
	CodeBatchFetch   Code = "BATCH_FETCH_FAILED"
	CodeKilled       Code = "LIVE_QUERY_KILLED"
	CodeTooLarge     Code = "RESULT_TOO_LARGE" // the whole result is kept, and there is too much of it
	CodeAltered      Code = "SCHEMA_CHANGED"   // the table was altered before the first rows were sent; subscribe again
	CodeCursorTooOld Code = "CURSOR_TOO_OLD"   // changes after the cursor are no longer kept; start again without it
)

// Error is why a subscription could not start or go on. Message is one sentence for the client.
type Error struct {
	Code    Code
	Message string
	// Final says that beginning again where the subscription was fails again, whenever and wherever: there is a row for which the query has no
	// value. Codes alone do not tell that from a server that cannot now.
	Final bool
	cause error
}

// Error implements error.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap returns what caused the failure, if anything did.
func (e *Error) Unwrap() error { return e.cause }

func refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// judge gives an error of a lower layer its code; fallback is for those that have none.
func judge(err error, fallback Code) *Error {
	var known *Error
	var f *fault.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, changelog.ErrTooOld):
		return &Error{
			Code: CodeCursorTooOld, cause: err,
			Message: "the changes since the cursor are no longer kept; start again without a cursor",
		}
	case !errors.As(err, &f):
		return &Error{Code: fallback, Message: "the server failed to run the live query", cause: err}
	}
	code, final := fallback, false
	switch f.Kind { //nolint:exhaustive // every other kind has the caller's code
	case fault.TableNotFound, fault.NotFound:
		code = CodeNotFound
	case fault.PermissionDenied:
		code = CodeUnauthorized
	case fault.Syntax, fault.InvalidStatement, fault.InvalidParameter:
		code = CodeInvalidSQL
	case fault.Altered:
		code = CodeAltered
	case fault.Unsupported:
		code = CodeInvalidSQL
	case fault.OutOfRange, fault.LimitExceeded:
		final = true
	}
	return &Error{Code: code, Message: f.Message, Final: final, cause: err}
}

// conditionFailed is for a condition that has no value for a row that was changed. It depends on nothing but the row, so it never has one.
func conditionFailed(err error) *Error {
	return &Error{
		Code: CodeFailed, Message: fmt.Sprintf("the condition of the live query failed for a changed row: %v", err), Final: true, cause: err,
	}
}
