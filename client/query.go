package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Result is the answer to one statement.
type Result struct {
	Columns  []Column `json:"schema"`
	Rows     [][]any  `json:"rows"` // numbers are json.Number; 64-bit integers, decimals and UUIDs are strings
	RowCount int      `json:"row_count"`
	Message  string   `json:"message"`
	AsUser   string   `json:"as_user"`
}

// Column describes one column of a result.
type Column struct {
	Name     string          `json:"name"`
	DataType json.RawMessage `json:"data_type"`
	Flags    []string        `json:"flags"`
}

// Request is a statement or a batch, and what goes along with it.
type Request struct {
	SQL       string
	Params    []any  // for $1, $2 …: nil, bool, numbers or strings; they need a single statement
	Namespace string // for unqualified names; empty is "default"
}

// Response is the whole answer to a Request.
type Response struct {
	Results    []Result
	TookMillis float64 // what the server needed
	Node       string  // the URL that answered
	Body       []byte  // the answer as the server sent it, JSON

	transaction string // id of the one that is open
	leader      string // URL of the node that leads what was changed, "" when it is this one or unknown
}

// envelope is the whole answer.
type envelope struct {
	Results []Result `json:"results"`
	Took    float64  `json:"took"`
	Error   *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// Exec runs one statement or a batch and returns the results. Parameters stand for $1, $2 … and are nil, bool,
// numbers or strings; they need a single statement. The error is an *Error when the server refused, wraps
// ErrOutcomeUnknown when the statement may have run, and is the context's when that ended.
func (c *Client) Exec(ctx context.Context, sql string, params ...any) ([]Result, error) {
	response, err := c.Do(ctx, Request{SQL: sql, Params: params})
	if err != nil {
		return nil, err
	}
	return response.Results, nil
}

// Do is Exec with everything that goes along with a statement and its answer.
func (c *Client) Do(ctx context.Context, request Request) (*Response, error) {
	reads, named := startsWith(request.SQL, "SELECT", "SHOW", "DESCRIBE", "DESC", "EXPLAIN SELECT"), &once{}
	if startsWith(request.SQL, "INSERT", "UPDATE", "DELETE", "WITH") { // a WITH may hold changes; a key does no harm to one that only reads
		named = newOnce()
		named.target = c.targetOf(request)
	}
	var last error
	for attempt := 1; attempt <= c.config.Attempts; attempt++ {
		base := c.leaderOf(named.target)
		response, err := c.try(ctx, base, request, named)
		var again *retryable
		var lost *unanswered
		if errors.As(err, &lost) && reads {
			err = lost.cause // nothing can have changed
		}
		switch {
		case err == nil:
			c.follow(named.target, response.leader)
			return response, nil
		case ctx.Err() != nil && !reads:
			return nil, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		case ctx.Err() != nil:
			return nil, err
		case errors.As(err, &again):
		case lost != nil && reads:
			again = &retryable{cause: err}
		case lost != nil && named.key != "":
			again = &retryable{cause: err}
			named.unknown = true
		default:
			return nil, err
		}
		last = err
		c.leave(base)
		if err := c.pause(ctx, attempt, again.after); err != nil {
			return nil, errors.Join(err, named.doubt(last))
		}
	}
	return nil, fmt.Errorf("gave up after %d attempts: %w", c.config.Attempts, named.doubt(last))
}

// Query is Exec for a statement that gives rows.
func (c *Client) Query(ctx context.Context, sql string, params ...any) (*Result, error) {
	results, err := c.Exec(ctx, sql, params...)
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, fmt.Errorf("the statement gave %d results, want 1", len(results))
	}
	return &results[0], nil
}

// doubt adds to an error that an earlier copy of the statement may have run.
func (o *once) doubt(err error) error {
	if o.unknown && !errors.Is(err, ErrOutcomeUnknown) {
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return err
}

// unanswered says that a statement was sent, and that the answer does not tell whether it ran.
type unanswered struct{ cause error }

// Error implements error.
func (u *unanswered) Error() string { return ErrOutcomeUnknown.Error() + ": " + u.cause.Error() }

// Unwrap returns ErrOutcomeUnknown, and what came instead of an answer.
func (u *unanswered) Unwrap() []error { return []error{ErrOutcomeUnknown, u.cause} }

// try sends a statement once. A token that ran out is replaced.
func (c *Client) try(ctx context.Context, base string, request Request, named *once) (*Response, error) {
	body := map[string]any{"sql": request.SQL, "params": request.Params}
	if request.Namespace != "" {
		body["namespace_id"] = request.Namespace
	}
	for renewed := false; ; renewed = true {
		token, err := c.login(ctx, base)
		if err != nil {
			return nil, err
		}
		reply, err := c.post(ctx, base+"/v1/api/sql", token, body, named)
		var again *retryable
		switch {
		case errors.As(err, &again):
			return nil, err
		case err != nil:
			return nil, &unanswered{err}
		}
		if reply.status == http.StatusUnauthorized && !renewed && c.forget(token) {
			continue
		}
		return judge(base, reply)
	}
}

// judge turns an answer into a response or the right kind of error.
func judge(base string, a answer) (*Response, error) {
	var body envelope
	decoder := json.NewDecoder(bytes.NewReader(a.body))
	decoder.UseNumber()
	err := decoder.Decode(&body)
	switch {
	case a.status == http.StatusOK && err == nil && body.Error == nil:
		return &Response{Results: body.Results, TookMillis: body.Took, Node: base, Body: a.body, transaction: a.transaction, leader: a.leader}, nil
	case err != nil && a.status < http.StatusInternalServerError:
		return nil, fmt.Errorf("the server answered %d with something else than JSON: %w", a.status, err)
	}
	refused := &Error{Code: "INTERNAL_ERROR", Message: http.StatusText(a.status), Status: a.status}
	if body.Error != nil {
		refused.Code, refused.Message = body.Error.Code, body.Error.Message
	}
	switch {
	case a.retry:
		return nil, &retryable{cause: refused, after: min(a.retryAfter, 5*time.Second)}
	case a.status == http.StatusGatewayTimeout || a.status == http.StatusBadGateway || err != nil:
		return nil, &unanswered{refused}
	}
	return nil, refused
}

// startsWith reports whether a text is one statement that begins with one of the words.
func startsWith(sql string, words ...string) bool {
	text := strings.ToUpper(strings.TrimSpace(sql))
	if strings.Contains(strings.TrimSuffix(text, ";"), ";") {
		return false
	}
	for _, word := range words {
		if strings.HasPrefix(text, word+" ") {
			return true
		}
	}
	return false
}
