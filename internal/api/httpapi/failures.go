package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// Codes of failures that the engine does not know. Those it knows are declared in package exec.
const (
	codeRateLimit         exec.Code = "RATE_LIMIT_EXCEEDED"
	codeInvalidInput      exec.Code = "INVALID_INPUT"
	codeExtraFile         exec.Code = "EXTRA_FILE"
	codeMissingAuth       exec.Code = "MISSING_AUTHORIZATION"
	codeTokenExpired      exec.Code = "TOKEN_EXPIRED"
	codeCredentials       exec.Code = "INVALID_CREDENTIALS" //nolint:gosec // the name of a failure
	codeSetupRequired     exec.Code = "SETUP_REQUIRED"
	codeAuthentication    exec.Code = "AUTHENTICATION_ERROR"
	codePayloadTooLarge   exec.Code = "PAYLOAD_TOO_LARGE"
	codeNotFound          exec.Code = "NOT_FOUND"
	codeMethodNotAllowed  exec.Code = "METHOD_NOT_ALLOWED"
	codeTooManyConnection exec.Code = "TOO_MANY_CONNECTIONS"
)

// rule is what the API says about one kind of failure.
type rule struct {
	kind    fault.Kind
	status  int
	code    exec.Code // unless the engine says more precisely
	hidden  bool      // whether only administrators read the message
	retry   bool      // whether the same request may be sent again: nothing of it was applied
	generic string    // what everyone else reads
}

// rules is the one table from kinds of failures to answers, in the order of the kinds.
func rules() [20]rule {
	const (
		failed   = "The statement could not be executed"
		syntax   = "The SQL text could not be parsed"
		unknown  = "The outcome of the request is unknown: it may or may not have been applied"
		internal = "The server failed to process the request"
		later    = "The cluster cannot answer at the moment; try again later"
	)
	return [20]rule{
		{fault.Internal, http.StatusInternalServerError, exec.CodeInternal, true, false, internal},
		{fault.Syntax, http.StatusBadRequest, exec.CodeBatchParse, true, false, syntax},
		{fault.InvalidStatement, http.StatusBadRequest, exec.CodeExecution, false, false, failed},
		{fault.InvalidParameter, http.StatusBadRequest, exec.CodeInvalidParameter, false, false, failed},
		{fault.TableNotFound, http.StatusBadRequest, exec.CodeExecution, true, false, failed},
		{fault.NotFound, http.StatusBadRequest, exec.CodeExecution, true, false, failed},
		{fault.AlreadyExists, http.StatusBadRequest, exec.CodeExecution, false, false, failed},
		{fault.DuplicateKey, http.StatusBadRequest, exec.CodeExecution, false, false, failed},
		{fault.NotNull, http.StatusBadRequest, exec.CodeExecution, false, false, failed},
		{fault.OutOfRange, http.StatusBadRequest, exec.CodeExecution, false, false, failed},
		{fault.PermissionDenied, http.StatusForbidden, exec.CodePermissionDenied, false, false, failed},
		{fault.Unsupported, http.StatusBadRequest, exec.CodeExecution, false, false, failed},
		{fault.Conflict, http.StatusConflict, exec.CodeExecution, false, true, failed},
		{fault.NotLeader, http.StatusServiceUnavailable, exec.CodeNotLeader, false, true, later},
		{fault.Unavailable, http.StatusServiceUnavailable, exec.CodeClusterUnavailable, false, true, later},
		{fault.Overloaded, http.StatusServiceUnavailable, exec.CodeClusterUnavailable, false, true, later},
		{fault.Timeout, http.StatusGatewayTimeout, exec.CodeClusterUnavailable, false, false, unknown},
		{fault.LimitExceeded, http.StatusBadRequest, exec.CodeExecution, false, false, failed},
		{fault.Altered, http.StatusConflict, exec.CodeExecution, false, true, failed},
		{fault.DiskFull, http.StatusInsufficientStorage, exec.CodeDiskFull, false, true, later},
	}
}

// failure is one refused or failed request, ready to be written in the shape of its route.
type failure struct {
	status     int
	code       exec.Code
	message    string // for administrators, and for everyone when it is not hidden
	generic    string // for everyone else when it is hidden
	hidden     bool
	details    string // for administrators only
	retry      bool
	retryAfter time.Duration

	transaction string // id of the one that is still open; "" for none
}

func refusal(status int, code exec.Code, message string) *failure {
	return &failure{status: status, code: code, message: message, generic: message}
}

func tooMany(message string, retryAfter time.Duration) *failure {
	f := refusal(http.StatusTooManyRequests, codeRateLimit, message)
	f.retry, f.retryAfter = true, retryAfter
	return f
}

// failureOf judges an error once, and logs it when it is a fault of the server.
func (s *Server) failureOf(r *http.Request, err error) *failure {
	known := faultOf(err)
	judged := ruleOf(known.Kind)
	f := &failure{
		status: judged.status, code: judged.code, message: known.Message, generic: judged.generic, hidden: judged.hidden,
		retry: judged.retry, retryAfter: known.RetryAfter,
	}
	if engine, ok := errors.AsType[*exec.Error](err); ok {
		f.message, f.details, f.transaction = engine.Error(), engine.SQL, engine.Transaction
		f.code = preciseCode(engine.Code, f.code)
	}
	if f.code == exec.CodeInvalidSQL { // a text beyond a bound of the parser is hidden like one that it cannot read
		f.hidden, f.generic = true, ruleOf(fault.Syntax).generic
	}
	f.locate(known)
	if known.Kind == fault.Internal {
		s.config.Logger.LogAttrs(r.Context(), slog.LevelError, "request failed",
			slog.String("path", r.URL.Path), slog.String("request_id", requestID(r)), slog.Any("error", err))
	}
	return f
}

// faultOf returns the failure that err carries. A context that ended leaves the outcome unknown.
func faultOf(err error) *fault.Error {
	if known, ok := errors.AsType[*fault.Error](err); ok {
		return known
	}
	var engine *exec.Error
	if errors.As(err, &engine) && engine.Code != exec.CodeInternal && engine.Code != "" {
		return fault.New(kindOfCode(engine.Code), "%w", err)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fault.New(fault.Timeout, "the request took too long; its outcome is unknown: %w", err)
	}
	return fault.New(fault.Internal, "%w", err)
}

// kindOfCode is the kind of a failure that the engine gave a code but no cause.
func kindOfCode(code exec.Code) fault.Kind {
	switch code {
	case exec.CodeBatchParse, exec.CodeInvalidSQL:
		return fault.Syntax
	case exec.CodeInvalidParameter:
		return fault.InvalidParameter
	case exec.CodePermissionDenied:
		return fault.PermissionDenied
	case exec.CodeNotLeader:
		return fault.NotLeader
	case exec.CodeClusterUnavailable:
		return fault.Unavailable
	case exec.CodeDiskFull:
		return fault.DiskFull
	case exec.CodeEmptySQL, exec.CodeParamsWithBatch, exec.CodeExecution, exec.CodeNoTransaction:
		return fault.InvalidStatement
	case exec.CodeTransactionConflict, exec.CodeTransactionBusy:
		return fault.Conflict
	case exec.CodeInternal:
		return fault.Internal
	}
	return fault.Internal
}

func ruleOf(kind fault.Kind) rule {
	table := rules()
	if int(kind) < len(table) {
		return table[kind]
	}
	return table[fault.Internal]
}

// preciseCode lets the engine's code replace the table's where it says more.
func preciseCode(given, fromKind exec.Code) exec.Code {
	switch given {
	case exec.CodeEmptySQL, exec.CodeParamsWithBatch, exec.CodeBatchParse, exec.CodeInvalidSQL, exec.CodeInvalidParameter,
		exec.CodeTransactionConflict, exec.CodeNoTransaction, exec.CodeTransactionBusy:
		return given
	case exec.CodePermissionDenied, exec.CodeNotLeader, exec.CodeClusterUnavailable, exec.CodeDiskFull,
		exec.CodeExecution, exec.CodeInternal:
		return fromKind
	}
	return fromKind
}

// locate adds the position in the SQL text and the leader's address to the messages that lack them.
func (f *failure) locate(known *fault.Error) {
	if known.Line > 0 {
		position := fmt.Sprintf("line %d, column %d", known.Line, known.Column)
		f.generic += " (" + position + ")"
		if !strings.Contains(f.message, position) {
			f.message += " (" + position + ")"
		}
	}
	if known.Kind == fault.NotLeader && known.Leader != "" && !strings.Contains(f.message, "Leader: ") {
		f.message += ". Leader: " + urlOf(known.Leader)
	}
}

// urlOf is the URL of a node whose address members record, with or without its scheme.
func urlOf(address string) string {
	if strings.Contains(address, "://") {
		return address
	}
	return "http://" + address
}

// authFailure judges a refused or failed authentication of a route that answers in the SQL envelope.
func (s *Server) authFailure(r *http.Request, err error) *failure {
	reason, refused := auth.ReasonOf(err)
	if !refused {
		f := s.failureOf(r, err)
		if f.status == http.StatusInternalServerError {
			f.code = codeAuthentication
		}
		return f
	}
	if refused, ok := errors.AsType[*auth.Error](err); ok && refused.AwaitsSetup {
		return refusal(http.StatusUnauthorized, codeSetupRequired, "The server has to be set up first: root has no password")
	}
	code := codeCredentials
	switch reason { //nolint:exhaustive // the others are reasons of logins and of the setup
	case auth.MissingAuthorization:
		code = codeMissingAuth
	case auth.TokenExpired:
		code = codeTokenExpired
	}
	return refusal(http.StatusUnauthorized, code, err.Error())
}

// visible returns the message and details for a caller.
func (f *failure) visible(admin bool) (message, details string) {
	if admin {
		return f.message, f.details
	}
	if f.hidden {
		return f.generic, ""
	}
	return f.message, ""
}

// setRetryAfter tells clients when to come back, in whole seconds, at least one.
func (f *failure) setRetryAfter(w http.ResponseWriter) {
	if !f.retry {
		return
	}
	seconds := max(1, int((f.retryAfter+time.Second-1)/time.Second))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
}
