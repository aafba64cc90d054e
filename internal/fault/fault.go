// Package fault is the vocabulary of failures that a caller can act on.
//
// A lower layer that knows what went wrong for the user returns an *Error (possibly wrapped with %w); the
// API layer turns its Kind into a status and a stable code, in one table. Everything else is an ordinary
// Go error and reaches users as an internal error.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what a caller can do about a failure.
type Kind uint8

// The kinds of failures.
const (
	Internal         Kind = iota // a fault of the server; nothing the caller can change
	Syntax                       // the SQL text cannot be parsed; Line and Column are set
	InvalidStatement             // parsed, but means nothing: unknown column, type mismatch, wrong clause
	InvalidParameter             // a $n value is missing, surplus or unusable
	TableNotFound                // the table or namespace does not exist or must not be seen
	NotFound                     // any other named object does not exist
	AlreadyExists                // an object of that name exists
	DuplicateKey                 // primary key or unique violation
	NotNull                      // a NULL where none may be
	OutOfRange                   // numeric overflow, division by zero, value too long
	PermissionDenied             // the caller's role does not allow it
	Unsupported                  // valid SQL that this server does not run
	Conflict                     // a concurrent change won; running the statement again may succeed
	NotLeader                    // this replica cannot decide and knows no better one; retry elsewhere
	Unavailable                  // no quorum or shutting down; retry later
	Overloaded                   // a bound was reached; retry after RetryAfter
	Timeout                      // the deadline passed; the outcome is unknown
	LimitExceeded                // a documented size limit; retrying cannot help
	Altered                      // the table was altered while the statement ran; running it again may succeed
	DiskFull                     // hardly any room is left on the server's disk; retry once rows are deleted or there is more room
)

// String prints the kind for logs.
func (k Kind) String() string {
	names := [...]string{
		"internal", "syntax", "invalid_statement", "invalid_parameter", "table_not_found", "not_found",
		"already_exists", "duplicate_key", "not_null", "out_of_range", "permission_denied", "unsupported",
		"conflict", "not_leader", "unavailable", "overloaded", "timeout", "limit_exceeded", "altered",
		"disk_full",
	}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// Retryable reports whether the same request may succeed if sent again, without risk of running twice:
// nothing of it was, or will be, applied.
func (k Kind) Retryable() bool {
	return k == Conflict || k == Altered || k == NotLeader || k == Unavailable || k == Overloaded || k == DiskFull
}

// Error is a failure with a kind. Message is one sentence for the caller: what was wrong, where, what to do.
type Error struct {
	Kind       Kind
	Message    string
	Line       int           // 1-based line in the SQL text; zero when unknown
	Column     int           // 1-based column in characters; zero when unknown
	RetryAfter time.Duration // hint for Overloaded, Unavailable and DiskFull; zero when unknown
	Leader     string        // API address of the leader for NotLeader, "" when unknown
	Constraint Constraint    // what a DuplicateKey violates
	cause      error
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Unwrap returns what caused the failure, if anything did.
func (e *Error) Unwrap() error { return e.cause }

// New makes an error of a kind with a formatted message; %w in the format keeps the cause.
func New(kind Kind, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: wrapped.Error(), cause: errors.Unwrap(wrapped)}
}

// At returns a copy of the error that points to a position in the SQL text.
func (e *Error) At(line, column int) *Error {
	positioned := *e
	positioned.Line, positioned.Column = line, column
	return &positioned
}

// ConstraintOf returns what err, or what caused it, violates.
func ConstraintOf(err error) Constraint {
	for e, ok := errors.AsType[*Error](err); ok; e, ok = errors.AsType[*Error](e.cause) {
		if e.Constraint != UnknownConstraint {
			return e.Constraint
		}
	}
	return UnknownConstraint
}

// KindOf returns the kind of err, or Internal when it carries none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
