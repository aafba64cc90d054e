package live

import (
	"context"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/schema"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// changelogReader is a consistent view of the store.
type changelogReader = storage.Reader

// Subscription is one live query of one connection. Its methods belong to the goroutine of that connection.
type Subscription struct {
	// What every change needs lies together in front.
	conn *streamConn // guarded by stream.mu
	Tag  []byte      // as in the Request
	// Owned by the connection until the subscription is live, then guarded by stream.mu.
	query    *query
	position uint64           // everything up to here was given or does not concern the subscription
	checked  *catalog.Catalog // guarded by stream.mu: under which caller and table were found good

	ID      string
	sql     string
	options string // as they were asked for, in JSON; empty for none
	caller  session.Session
	sink    Sink
	service *Service
	stream  *stream
	schema  *Projection // as it was when the subscription was made
	number  uint64      // among the subscriptions of this node

	connection uint64
	created    int64    // microseconds since 1970 UTC
	since      int64    // when the caller's account was made
	initial    *initial // nil once there are no more initial batches
	cut        *Cut     // nil when the subscription began alone
	boundary   uint64   // where the initial rows stand

	// Guarded by stream.mu.
	live    bool
	closed  bool
	left    bool // the view is no longer held
	places  []place
	seen    uint64 // the last change that was tested for it where it may stand twice
	failure *Error
	// given and lastMicros are of what was given to it alone, or in places that it has left; see account.
	given      uint64
	lastMicros int64

	// Of a query whose result is kept.
	view *view   // nil for others
	had  *result // what the client was given; nil once the subscription is live
}

// Whole reports whether initial rows always are the whole result, so that a client that resumes drops what it has.
func (sub *Subscription) Whole() bool { return sub.view != nil }

// Schema lists the columns that the subscriber sees.
func (sub *Subscription) Schema() []schema.Column { return sub.schema.Columns() }

func (sub *Subscription) key() scopeKey {
	return scopeKey{sub.query.scope.Table.ID, sub.query.scope.User}
}

// classify says what a change is for the query, with the meaning of SQL: a row that enters the condition is
// inserted, one that leaves it is deleted.
func (q *query) classify(r *rows) (kind changefeed.Kind, sees bool, err error) {
	var before, after bool
	if r.before != nil {
		if before, err = q.matches(r.before); err != nil {
			return 0, false, err
		}
	}
	if r.after != nil {
		if after, err = q.matches(r.after); err != nil {
			return 0, false, err
		}
	}
	switch {
	case before && after:
		return changefeed.Update, true, nil
	case after:
		return changefeed.Insert, true, nil
	case before:
		return changefeed.Delete, true, nil
	}
	return 0, false, nil
}

// decodeRows reads the rows of a change into reused memory.
func decodeRows(decoder *scopeIndex, change *changefeed.Change, before, after *[]datum.Datum) (*rows, error) {
	r := &rows{change: change}
	var err error
	if change.Kind != changefeed.Insert {
		if r.before, err = decoder.row(change.Old, change.OldSeq, before); err != nil {
			return nil, err
		}
	}
	if change.Kind != changefeed.Delete {
		if r.after, err = decoder.row(change.New, change.Seq, after); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// row decodes one row with its system columns.
func (x *scopeIndex) row(encoded []byte, seq uint64, reused *[]datum.Datum) ([]datum.Datum, error) {
	declared := len(x.table.Columns)
	if cap(*reused) < declared+2 {
		*reused = make([]datum.Datum, declared+2)
	}
	row := (*reused)[:declared+2]
	if err := x.decoder.Decode(encoded, row); err != nil {
		return nil, err
	}
	row[declared] = datum.NewBigInt(int64(seq)) //nolint:gosec // a log index takes 47 bits for ages to come
	row[declared+1] = datum.NewBool(false)
	return row, nil
}

// Follow gives the subscription everything after its initial rows and makes it live. It may wait in pace, which
// is called between deliveries and returns when the receiver has room, or an error to give up. The error is an
// *Error, or that of pace.
func (sub *Subscription) Follow(ctx context.Context, pace func(context.Context) error) error {
	sub.initial = nil
	if sub.view != nil {
		return sub.followView(ctx)
	}
	return follow(ctx, []*Subscription{sub}, pace)
}

// changes gives the changes after a cursor, up to a boundary, that the query sees.
func (sub *Subscription) changes(
	snapshot changelogReader, after, boundary uint64, give func(*rows, changefeed.Kind) (bool, error),
) error {
	q := sub.query
	group, found, user := sub.stream.group, q.scope.Table, q.scope.User
	if err := changelog.CheckScope(snapshot, group, found.ID, user, after); err != nil {
		return judge(err, CodeFailed)
	}
	decoder := newScopeIndex(found)
	var before, after2 []datum.Datum
	var failed error
	only := &changelog.Interest{Table: found.ID, User: user}
	err := changelog.Read(snapshot, group, after, only, func(change changefeed.Change) bool {
		if change.Seq > boundary {
			return false
		}
		var r *rows
		if r, failed = decodeRows(decoder, &change, &before, &after2); failed != nil {
			failed = refuse(CodeConversion, "a changed row could not be read")
			return false
		}
		var kind changefeed.Kind
		var sees, more bool
		if kind, sees, failed = q.classify(r); failed != nil {
			failed = conditionFailed(failed)
			return false
		}
		if !sees {
			return true
		}
		more, failed = give(r, kind)
		return more && failed == nil
	})
	if err != nil {
		return judge(err, CodeFailed)
	}
	return failed
}

// Ended reports whether the subscription was ended, by its client or because it could not go on.
func (sub *Subscription) Ended() bool {
	sub.stream.mu.Lock()
	defer sub.stream.mu.Unlock()
	return sub.closed
}

// Close ends the subscription. Its sink gets nothing more for it once Close has returned.
func (sub *Subscription) Close() {
	sub.stream.mu.Lock()
	closed := sub.closed
	sub.closed = true
	sub.stream.detach(sub)
	sub.stream.leaveView(sub)
	sub.stream.mu.Unlock()
	if !closed {
		sub.service.release(sub)
	}
}
