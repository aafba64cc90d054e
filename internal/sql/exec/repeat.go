package exec

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/sql/plan"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// This file is what lets a client send a change again when it does not know whether it ran. Each attempt at each
// statement of such a request has an id that follows from who sends it, his key, the text and the values; the log
// decides which copy is the first, and its result is what every copy is answered with. So that there is a
// result to find, the statement is recorded whatever comes of it: also when it changes no row, and when it is
// wrong. What is said of a moment (no leader, too busy, out of time) is not recorded.

// maxReplyBytes bounds what RETURNING may give in a request that can be repeated: its group remembers it.
const maxReplyBytes = 64 << 10

// repeatable names a request that may be repeated.
type repeatable struct {
	digest [sha256.Size]byte
	age    time.Duration
	// altered counts, by statement, the commands that were refused because a table was altered. The statement is then
	// planned and numbered from one again.
	altered map[int]int
}

// nameRequest returns nil for a request without a key.
func nameRequest(request *Request) *repeatable {
	if request.RepeatKey == "" {
		return nil
	}
	text := []byte("kalamdb request 1")
	for _, part := range []string{string(request.Session.User), request.RepeatKey, request.Session.Namespace, request.SQL} {
		text = binary.AppendUvarint(text, uint64(len(part)))
		text = append(text, part...)
	}
	for _, value := range request.Params {
		text = datum.AppendValue(text, value)
	}
	return &repeatable{digest: sha256.Sum256(text), age: request.RepeatAge}
}

type repeatKey struct{}

// repeatedStatement is one statement of a repeatable request.
type repeatedStatement struct {
	request *repeatable
	ordinal int
}

// statement says which statement of the request runs under the context.
func (r *repeatable) statement(ctx context.Context, ordinal int) context.Context {
	if r == nil {
		return ctx
	}
	return context.WithValue(ctx, repeatKey{}, repeatedStatement{r, ordinal})
}

// mayRepeat reports whether the statement belongs to a repeatable request.
func mayRepeat(ctx context.Context) bool {
	_, ok := ctx.Value(repeatKey{}).(repeatedStatement)
	return ok
}

// onAttempt gives the command of one attempt its id. A statement that met a conflict runs again with the next
// number, and so does its repeat, which finds the same conflict recorded.
func onAttempt(ctx context.Context, attempt int) context.Context {
	s, ok := ctx.Value(repeatKey{}).(repeatedStatement)
	if !ok {
		return ctx
	}
	text := binary.AppendUvarint(s.request.digest[:], uint64(s.ordinal)) //nolint:gosec // not negative
	attempt += s.request.altered[s.ordinal]
	text = binary.AppendUvarint(text, uint64(attempt)) //nolint:gosec // not negative
	sum := sha256.Sum256(text)
	var id ident.RequestID
	copy(id[:], sum[:])
	return executor.WithOrigin(ctx, executor.Origin{ID: id, Age: s.request.age})
}

// wasAltered remembers that the command of an attempt was refused because a table was altered.
func wasAltered(ctx context.Context, attempt int, err error) {
	s, ok := ctx.Value(repeatKey{}).(repeatedStatement)
	if !ok || fault.KindOf(err) != fault.Altered {
		return
	}
	if s.request.altered == nil {
		s.request.altered = map[int]int{}
	}
	s.request.altered[s.ordinal] += attempt
}

// sentError is the failure of a command, as opposed to that of the statement that makes it.
type sentError struct{ error }

// Unwrap returns the failure.
func (e sentError) Unwrap() error { return e.error }

// refusalSet makes the command that records why a statement is refused, or returns the error when it says
// nothing lasting.
func (r *run) refusalSet(statement plan.Statement, failure error) (*writeSet, error) {
	kind := fault.KindOf(failure)
	switch kind {
	case fault.Internal, fault.Conflict, fault.NotLeader, fault.Unavailable, fault.Overloaded, fault.Timeout, fault.LimitExceeded,
		fault.Altered, fault.DiskFull:
		return nil, failure
	case fault.Syntax, fault.InvalidStatement, fault.InvalidParameter, fault.TableNotFound, fault.NotFound, fault.AlreadyExists,
		fault.DuplicateKey, fault.NotNull, fault.OutOfRange, fault.PermissionDenied, fault.Unsupported:
	}
	var set writeSet
	var err error
	switch s := statement.(type) {
	case *plan.Insert:
		set.returning = s.Returning
		set.scope, err = r.scopeOf(s.Table)
	case *plan.Update:
		set.returning = s.Returning
		set.scope, err = r.scopeOf(s.Scan.Table)
	case *plan.Delete:
		set.returning = s.Returning
		set.scope, err = r.scopeOf(s.Scan.Table)
	case *plan.WithChanges:
		return r.refusalSet(s.Parts[0].Change, failure)
	default:
		return nil, failure
	}
	if err != nil {
		return nil, failure
	}
	set.run, set.body = r, &commandv1.WriteRows{Refusal: &commandv1.Failure{Kind: uint32(kind), Message: describe(failure)}}
	return &set, nil
}

// record puts what RETURNING gives into the command of a repeatable request.
func (s *writeSet) record(repeats bool) error {
	if !repeats || s.returning == nil || s.body.GetRefusal() != nil {
		return nil
	}
	reply := binary.AppendUvarint(nil, uint64(len(s.returned)))
	for _, row := range s.returned {
		for _, value := range row {
			reply = datum.AppendValue(reply, value)
		}
		if len(reply) > maxReplyBytes {
			return fault.New(fault.LimitExceeded,
				"RETURNING gives more than %d bytes, too much for a request with an Idempotency-Key", maxReplyBytes)
		}
	}
	s.body.Reply = reply
	return nil
}

// recall takes what RETURNING gave from the response, which may be that of an earlier copy: one that succeeded, too, where this one was refused
// because of what that one wrote.
func (s *writeSet) recall(response *commandv1.Response) error {
	if s.returning == nil || len(response.GetReply()) == 0 {
		return nil
	}
	count, n := binary.Uvarint(response.GetReply())
	if n <= 0 || count > maxReplyBytes {
		return fmt.Errorf("recorded reply of %d bytes is malformed", len(response.GetReply()))
	}
	rest := response.GetReply()[n:]
	s.returned = s.returned[:0]
	for range count {
		row := make([]datum.Datum, len(s.returning.Columns))
		for i := range row {
			var err error
			if row[i], rest, err = datum.DecodeValue(rest); err != nil {
				return fmt.Errorf("recorded reply: %w", err)
			}
		}
		s.returned = append(s.returned, row)
	}
	return nil
}
