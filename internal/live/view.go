package live

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	"github.com/kalamdb/kalamdb-go/internal/sql/parse"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// Engine runs queries over a picture of the store. *exec.Engine implements it.
type Engine interface {
	// Look gives the whole result, or refuses one of more than maxRows rows with fault.LimitExceeded.
	Look(ctx context.Context, caller session.Session, query *parse.Query, snapshot *storage.Snapshot, maxRows int) (exec.Result, error)
}

// view is a query whose result is kept as a whole, for all subscriptions of a stream that ask for the same. A change
// of its rows makes it dirty; then it is run again over a picture of the store, and what became different is
// delivered. Changes that come while it runs, or before it may run again, are answered by one run.
type view struct {
	service *Service
	stream  *stream
	key     viewKey
	turn    chan struct{} // whoever runs the query holds its place

	// Guarded by stream.mu.
	query   *query
	users   int             // subscriptions that hold the view, live or not
	subs    []*Subscription // those that are live: they have been given result
	result  *result         // nil before the first run
	failure *Error          // of the newest run
	dirty   bool
	running bool // a goroutine sees to it
	next    time.Time
}

type viewKey struct {
	scope scopeKey
	text  string
	user  ident.UserID // when the result depends on who asks
	role  session.Role // what one role may not read any more, or is not shown, another may
}

// Bounds of the work for one view.
const (
	viewPause    = 20 * time.Millisecond // between two runs at least
	viewShare    = 9                     // and as many times as long as the run before took: a tenth of a processor
	viewPatience = 10 * time.Second      // for one run
)

// openView finds or makes the view of a query and holds it for one subscription.
func (s *stream) openView(q *query, caller session.Session) (*view, error) {
	key := viewKey{scope: scopeKey{q.scope.Table.ID, q.scope.User}, text: q.view.text, role: caller.Role}
	if q.view.byUser {
		key.user = caller.User
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.views[key.scope] {
		if v.key == key {
			v.users++
			return v, nil
		}
	}
	if !s.service.countView() {
		return nil, refuse(CodeLimit, "this node keeps %d results of live queries already", maxViews)
	}
	v := &view{service: s.service, stream: s, key: key, turn: make(chan struct{}, 1), query: q, users: 1}
	s.views[key.scope] = append(s.views[key.scope], v)
	return v, nil
}

// leaveView gives up a subscription's hold. It may be called again.
func (s *stream) leaveView(sub *Subscription) {
	v := sub.view
	if v == nil || sub.left {
		return
	}
	sub.left = true
	if v.users--; v.users > 0 {
		return
	}
	list := slices.DeleteFunc(s.views[v.key.scope], func(other *view) bool { return other == v })
	if s.views[v.key.scope] = list; len(list) == 0 {
		delete(s.views, v.key.scope)
	}
	s.service.uncountView()
}

// touch makes a view dirty when a change may concern its rows.
func (v *view) touch(current *catalog.Catalog, change *changefeed.Change) {
	if v.dirty || v.result != nil && change.Seq <= v.result.cursor {
		return
	}
	q := v.query
	if found, ok := current.TableByID(change.Table); q.condition != nil && ok && found == q.scope.Table {
		r, err := decodeRows(newScopeIndex(found), change, new([]datum.Datum), new([]datum.Datum))
		if err == nil {
			if _, sees, failed := q.classify(r); failed == nil && !sees {
				return
			}
		}
	}
	v.soil()
}

// soil sees to it that the view is run.
func (v *view) soil() {
	v.dirty = true
	if !v.running {
		v.running = v.service.spawn(v.run)
	}
}

// run runs the query until nothing is dirty.
func (v *view) run() {
	st := v.stream
	for {
		st.mu.Lock()
		if !v.dirty || v.users == 0 {
			v.running = false
			st.mu.Unlock()
			return
		}
		wait := v.next.Sub(v.service.config.Clock.Now())
		st.mu.Unlock()
		if !v.service.pause(st.stop, wait) {
			return
		}
		_, _ = v.refresh(v.service.stopping) // its subscriptions are told of a failure
	}
}

// pause waits; it reports false when the stream is stopped.
func (s *Service) pause(stop <-chan struct{}, wait time.Duration) bool {
	if wait <= 0 {
		select {
		case <-stop:
			return false
		default:
			return true
		}
	}
	timer := s.config.Clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-stop:
		return false
	case <-timer.C():
		return true
	}
}

// refresh runs the query if the store has changes that the result does not know, and gives the differences to
// whoever follows. It returns the result, which includes everything that was applied when it was called. When it is given up by whoever asked,
// the others are told nothing: the query is run again for them.
func (v *view) refresh(asked context.Context) (*result, error) {
	ctx, cancel := context.WithTimeout(asked, viewPatience)
	defer cancel()
	select {
	case v.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, refuse(CodeFailed, "the live query waited too long to be run")
	}
	defer func() { <-v.turn }()
	st := v.stream
	st.mu.Lock()
	v.dirty = false
	known, q, caller := v.result, v.query, v.query.view.caller
	if len(v.subs) > 0 {
		caller = v.subs[0].caller
	}
	st.mu.Unlock()
	begun := v.service.config.Clock.Now()
	snapshot := v.service.config.Store.NewSnapshot()
	fresh, err := v.service.look(ctx, st, q, caller, snapshot, known)
	err = errors.Join(err, snapshot.Close())
	st.mu.Lock()
	defer st.mu.Unlock()
	ended := v.service.config.Clock.Now()
	v.next = ended.Add(max(viewPause, viewShare*ended.Sub(begun)))
	if err != nil && asked.Err() != nil {
		if len(v.subs) > 0 {
			v.soil()
		}
		return nil, refuse(CodeFailed, "the request was given up")
	}
	if err != nil {
		v.fail(judgeView(err))
		return nil, v.failure
	}
	v.failure = nil
	if fresh != known {
		v.install(fresh)
	}
	return fresh, nil
}

// look runs a query over a picture of the store. It returns known when nothing of its group was written since.
func (s *Service) look(
	ctx context.Context, st *stream, q *query, caller session.Session, snapshot *storage.Snapshot, known *result,
) (*result, error) {
	cursor, err := changelog.Last(snapshot, st.group)
	if err != nil {
		return nil, err
	}
	if known != nil && known.cursor == cursor {
		return known, nil
	}
	select {
	case s.looks <- struct{}{}:
	case <-ctx.Done():
		return nil, refuse(CodeFailed, "the live query waited too long to be run")
	}
	defer func() { <-s.looks }()
	rows, err := s.config.Engine.Look(ctx, caller, q.view.node, snapshot, maxViewRows)
	if err != nil {
		return nil, err
	}
	return newResult(q, &rows, cursor)
}

// judgeView tells a result that is too large apart.
func judgeView(err error) *Error {
	if fault.KindOf(err) == fault.LimitExceeded {
		return &Error{Code: CodeTooLarge, Message: "the result of the live query is too large: " + judge(err, CodeFailed).Message, cause: err}
	}
	return judge(err, CodeFailed)
}

// fail ends everybody who follows.
func (v *view) fail(why *Error) {
	v.failure = why
	for _, sub := range slices.Clone(v.subs) {
		v.stream.end(sub, why)
	}
}

// install makes a result the newest one and gives those who follow what became different.
func (v *view) install(fresh *result) {
	known := v.result
	v.result = fresh
	if known == nil || len(v.subs) == 0 {
		return
	}
	if !known.sameColumns(fresh) {
		v.fail(refuse(CodeAltered, "the table was altered; subscribe again"))
		v.failure = nil
		return
	}
	events := fresh.since(known)
	current := v.service.config.Catalog.Current()
	for _, sub := range slices.Clone(v.subs) {
		if why := v.recheck(current, sub); why != nil {
			v.stream.end(sub, why)
			continue
		}
		v.stream.give(sub, events)
	}
	v.stream.flush()
}

// recheck looks the caller and the table up again when the catalog has changed.
func (v *view) recheck(current *catalog.Catalog, sub *Subscription) *Error {
	if sub.checked == current {
		return nil
	}
	if !sub.sameAccount(current) {
		return accountChanged()
	}
	if found, ok := current.TableByID(sub.query.scope.Table.ID); !ok || found != sub.query.scope.Table {
		q, err := bind(current, sub.caller, sub.sql, v.service.config.Clock.Now().UnixMicro(), v.service.config.Cold)
		if err != nil {
			return judge(err, CodeFailed)
		}
		sub.query, v.query = q, q
	}
	sub.checked = current
	return nil
}

// give notes events for a subscription; they are handed over with the next flush.
func (s *stream) give(sub *Subscription, events []*Event) {
	if len(events) == 0 {
		return
	}
	if len(sub.conn.pending) == 0 {
		s.touched = append(s.touched, sub.conn)
	}
	for _, event := range events {
		sub.conn.pending = append(sub.conn.pending, Notification{sub, event})
	}
	sub.given += uint64(len(events))
	sub.lastMicros = s.service.config.Clock.Now().UnixMicro()
}

// beginView finds the view and makes its result what the subscription begins with: the newest one, or that of a picture.
func (sub *Subscription) beginView(ctx context.Context, options *Initial, snapshot *storage.Snapshot) error {
	if options != nil && options.LastRows != nil && options.From == nil {
		return refuse(CodeUnsupported, "last_rows needs rows that stand for themselves; use ORDER BY and LIMIT")
	}
	v, err := sub.stream.openView(sub.query, sub.caller)
	if err != nil {
		return err
	}
	sub.view = v
	if snapshot == nil {
		sub.had, err = v.refresh(ctx)
	} else {
		sub.had, err = sub.service.look(ctx, sub.stream, sub.query, sub.caller, snapshot, nil)
	}
	if err != nil {
		sub.stream.mu.Lock()
		defer sub.stream.mu.Unlock()
		sub.stream.leaveView(sub)
		return err
	}
	sub.boundary = sub.had.cursor
	sub.schema = &Projection{Table: sub.query.scope.Table, result: sub.had.columns}
	if options != nil {
		sub.initial = &initial{options: *options, boundary: sub.had.cursor}
	}
	return nil
}

// viewBatch is the whole result, in one batch.
func (sub *Subscription) viewBatch() Batch {
	batch := Batch{Rows: []byte{'['}, Count: len(sub.had.rows), LastSeq: sub.had.cursor}
	for i := range sub.had.rows {
		if i > 0 {
			batch.Rows = append(batch.Rows, ',')
		}
		batch.Rows = sub.had.appendRow(batch.Rows, i, sub.had.cursor, everyColumn)
	}
	batch.Rows = append(batch.Rows, ']')
	return batch
}

// followView makes a subscription live, giving it what changed since the result it was given.
func (sub *Subscription) followView(ctx context.Context) error {
	if err := sub.standing(); err != nil {
		return err
	}
	st, v := sub.stream, sub.view
	st.mu.Lock()
	over := sub.closed || sub.live
	behind := !over && (v.result == nil || v.result.cursor < sub.had.cursor)
	st.mu.Unlock()
	if behind {
		// What was given is of a picture that the view has not seen yet.
		if _, err := v.refresh(ctx); err != nil {
			return judgeView(err)
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case sub.closed || sub.live:
		return nil
	case v.failure != nil:
		return v.failure
	case v.result == nil || !v.result.sameColumns(sub.had):
		return refuse(CodeAltered, "the table was altered; subscribe again")
	}
	sub.conn, sub.live = st.connOf(sub.sink), true
	v.subs = append(v.subs, sub)
	st.give(sub, v.result.since(sub.had))
	sub.had = nil
	st.flush()
	return nil
}
