package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/live"
	callers "github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// liveQuery is a live query, in SQL for the server and as a function for the judge.
type liveQuery struct {
	private bool
	caller  int // which of the users asks
	sql     string
	sees    func(liveRow) bool
}

func liveQueries() []liveQuery {
	all := func(liveRow) bool { return true }
	some := func(r liveRow) bool { return (r.room == "a" || r.room == "c") && r.n < 8 }
	return []liveQuery{
		{false, 0, `SELECT * FROM "default".rooms`, all},
		{false, 1, `SELECT * FROM "default".rooms WHERE room = 'a'`, func(r liveRow) bool { return r.room == "a" }},
		{false, 0, `SELECT id, n FROM "default".rooms WHERE n > 4 AND room <> 'b'`, func(r liveRow) bool { return r.n > 4 && r.room != "b" }},
		{true, 0, `SELECT * FROM "default".mine WHERE room IN ('a', 'c') AND n < 8`, some},
		{true, 1, `SELECT * FROM "default".mine WHERE room IN ('a', 'c') AND n < 8`, some},
		{true, 1, `SELECT * FROM "default".mine`, all},
	}
}

// watcher is a client that follows one live query, goes from node to node with its cursor, and knows from the log what it
// must be told: all of it, once, in order, commands whole.
type watcher struct {
	c      *clients
	q      liveQuery
	caller ident.UserID
	group  shard.GroupID
	table  uint64
	user   string // whose rows; empty for a shared table
	slow   bool   // it has no room at times

	n    *simNode // where it is; nil for nowhere
	life int
	sub  *live.Subscription

	cursor uint64            // the largest _seq that it was given; zero starts again
	at     int               // of the log's changes: all before it were told, or do not concern the query
	ready  bool              // the initial rows are there
	full   bool              // it had no room: it takes nothing more and will be closed
	rows   map[string]stored // what is there as far as it was told
	state  logState          // what the log says of the query
}

type stored struct {
	row liveRow
	seq uint64
}

// due is what a change is for a query.
type due struct {
	kind changefeed.Kind
	stored
}

func (c *clients) newWatcher(q liveQuery) *watcher {
	w := &watcher{c: c, q: q, table: c.live.shared, rows: make(map[string]stored), caller: ident.UserID(c.liveUsers()[q.caller])}
	w.group = c.w.shards.RouteTable(ident.TableID(w.table))
	if q.private {
		w.table, w.user, w.group = c.live.private, string(w.caller), c.w.shards.RouteUser(w.caller)
	}
	return w
}

// watch is the loop of a watcher.
func (c *clients) watch(a *actor, q liveQuery) {
	w := c.newWatcher(q)
	w.slow = c.w.rng.IntN(2) == 0
	for ; c.busy; a.rest() {
		if w.sub == nil {
			a.request(w.begin)
		}
		for range 1 + c.w.rng.IntN(3) {
			a.sleep(time.Duration(20+c.w.rng.IntN(100)) * stepTime)
			w.judge()
		}
		if w.full || c.w.rng.IntN(2) == 0 {
			w.leave()
		}
		if w.sub == nil && c.w.rng.IntN(4) == 0 {
			w.forget()
		}
	}
	w.leave()
}

func (w *watcher) fail(format string, args ...any) {
	w.c.w.fail("live query %s with cursor %d: %s", w.q.sql, w.cursor, fmt.Sprintf(format, args...))
}

func (w *watcher) changes() []change { return w.c.w.oracle.groups[w.group].model.changes }

// forget throws away what it was told, to start again.
func (w *watcher) forget() {
	w.cursor, w.at = 0, 0
	clear(w.rows)
}

// here reports whether the node that it is connected to still lives.
func (w *watcher) here() bool { return w.n != nil && w.n.up && w.n.life == w.life }

// leave closes the subscription. A node that is gone takes it along.
func (w *watcher) leave() {
	if w.sub != nil && w.here() {
		w.sub.Close()
	}
	w.sub, w.n, w.ready, w.full = nil, nil, false, false
}

// of says what a change is for the query, by the meaning of SQL.
func (w *watcher) of(c *change) (due, bool) {
	if c.name.table != w.table || c.name.user != w.user {
		return due{}, false
	}
	before, after := w.c.live.rows[c.old], w.c.live.rows[c.value]
	had, has := c.kind != changefeed.Insert && w.q.sees(before), c.kind != changefeed.Delete && w.q.sees(after)
	switch {
	case had && has:
		return due{changefeed.Update, stored{after, c.seq}}, true
	case has:
		return due{changefeed.Insert, stored{after, c.seq}}, true
	case had:
		return due{changefeed.Delete, stored{before, c.seq}}, true
	}
	return due{}, false
}

// next is what it must be told next; false when the log has nothing more for it.
func (w *watcher) next() (due, bool) {
	for log := w.changes(); w.at < len(log); w.at++ {
		if d, ok := w.of(&log[w.at]); ok {
			return d, true
		}
	}
	return due{}, false
}

// logState is what the log says of a query up to a position, which mostly moves forward.
type logState struct {
	rows map[string]stored
	read int    // changes of the log
	seq  uint64 // the position
}

// stateAt is what the query gives at a position of the log. The next call makes another of it.
func (w *watcher) stateAt(seq uint64) map[string]stored {
	s := &w.state
	if s.rows == nil || seq < s.seq {
		*s = logState{rows: make(map[string]stored)}
	}
	s.seq = seq
	for log := w.changes(); s.read < len(log) && log[s.read].seq <= seq; s.read++ {
		if d, ok := w.of(&log[s.read]); ok && d.kind == changefeed.Delete {
			delete(s.rows, d.row.id)
		} else if ok {
			s.rows[d.row.id] = d.stored
		}
	}
	return s.rows
}

// begin subscribes at the node of a session and fetches what was there before.
func (w *watcher) begin(s *session) {
	if !s.barrier(shard.Meta) { // as who authenticates does
		return
	}
	caller := callers.Session{User: w.caller, Role: callers.RoleUser, Namespace: "default"}
	known := w.acknowledged()
	request := live.Request{ID: "w", SQL: w.q.sql, Initial: &live.Initial{BatchSize: 1 + w.c.w.rng.IntN(4)}}
	if w.cursor > 0 {
		request.Initial.From = &w.cursor
	}
	sub, err := s.n.live.serve().Subscribe(s, caller, w, request)
	if err != nil || s.gone() {
		w.refused(s, err)
		return
	}
	w.n, w.life, w.sub = s.n, s.n.life, sub
	if _, position := sub.Position(); position < known {
		w.fail("node %d begins at %d, but %d was acknowledged before", s.n.id, position, known)
	}
	w.c.w.stats.liveBegun++
	resumed := w.cursor > 0
	if resumed {
		w.c.w.stats.liveResumed++
		w.c.w.saw(ruleLiveResumed)
		w.at = 0
		for log := w.changes(); w.at < len(log) && log[w.at].seq <= w.cursor; {
			w.at++
		}
	}
	for {
		batch, err := sub.NextBatch(s)
		if err != nil {
			w.ended(err)
			return
		}
		w.take(batch.Rows, resumed)
		if !batch.HasMore {
			break
		}
		if !s.give() || !w.here() || w.sub == nil {
			w.leave()
			return
		}
	}
	if !resumed {
		w.wholeAt()
	}
	w.ready = true
	if err := sub.Follow(s, func(context.Context) error { return nil }); err != nil {
		w.ended(err)
	}
}

// acknowledged is the newest change of its table that a client knows to be written. To delete what is not there is none.
func (w *watcher) acknowledged() uint64 {
	known := uint64(0)
	for c, v := range w.c.w.store.floor {
		if c.table == w.table && c.user == w.user {
			known = max(known, v.seq)
		}
	}
	for _, c := range slices.Backward(w.changes()) {
		if c.seq <= known {
			return c.seq
		}
	}
	return 0
}

// refused judges a subscription that did not come about.
func (w *watcher) refused(s *session, err error) {
	var known *live.Error
	switch {
	case s.gone(), s.err != nil:
	case !errors.As(err, &known):
		w.fail("node %d answers with %v", s.n.id, err)
	case known.Code == live.CodeCursorTooOld:
		w.tooOld()
	case known.Code != live.CodeFailed: // the barrier could not be had
		w.fail("node %d refuses: %v", s.n.id, err)
	}
}

// ended judges why a subscription that was there does not go on.
func (w *watcher) ended(err error) {
	var known *live.Error
	switch {
	case !w.here():
	case errors.As(err, &known) && known.Code == live.CodeCursorTooOld:
		w.tooOld()
	case errors.As(err, &known) && known.Code == live.CodeBatchFetch && w.n.manager == nil:
	default:
		w.fail("node %d ends it: %v", w.n.id, err)
	}
	w.leave()
}

// tooOld starts again, if the cursor can be too old at all.
func (w *watcher) tooOld() {
	cursor := w.cursor
	if w.sub != nil && w.ready {
		cursor = w.told()
	}
	if !w.c.w.dropped(w.group, cursor) {
		w.fail("it is told that the cursor is too old, and every change since is kept")
	}
	w.c.w.stats.liveTooOld++
	w.c.w.saw(ruleLiveTooOld)
	w.forget()
}

// told is the position up to which the log had nothing that it was not told.
func (w *watcher) told() uint64 {
	if log := w.changes(); w.at > 0 && w.at <= len(log) {
		return max(w.cursor, log[w.at-1].seq)
	}
	return w.cursor
}

// take adds a batch of initial rows: those that are there, in order of _seq, or the changes since the cursor.
func (w *watcher) take(text []byte, resumed bool) {
	var rows []map[string]any
	if err := json.Unmarshal(text, &rows); err != nil {
		w.fail("%s: %v", text, err)
	}
	_, boundary := w.sub.Position()
	for _, row := range rows {
		got := w.read(row)
		if got.seq <= w.cursor || got.seq > boundary {
			w.fail("initial row %v between the cursor and %d", row, boundary)
		}
		w.cursor = got.seq
		if !resumed {
			w.rows[got.row.id] = got
			continue
		}
		d, ok := w.next()
		if !ok || d.kind == changefeed.Delete || !w.equal(d.stored, got) {
			w.fail("node %d resumes with %+v; the log says %+v", w.n.id, got, d)
		}
		w.at++
		w.rows[got.row.id] = got
	}
}

// wholeAt checks initial rows that are all there: those of the position, but for rows that became others since.
func (w *watcher) wholeAt() {
	_, boundary := w.sub.Position()
	state := maps.Clone(w.stateAt(boundary))
	changed := make(map[string]bool)
	w.at = 0
	for log := w.changes(); w.at < len(log) && log[w.at].seq <= boundary; {
		w.at++
	}
	for _, c := range w.changes()[w.at:] {
		if c.name.table == w.table && c.name.user == w.user {
			changed[w.c.live.rows[c.old].id] = true
		}
	}
	for id, row := range w.rows {
		w.c.w.saw(ruleLiveRows)
		if want, ok := state[id]; !ok || !w.equal(want, row) {
			w.fail("node %d begins with %+v at %d; the log says %+v", w.n.id, row, boundary, want)
		}
		delete(state, id)
	}
	for id, row := range state {
		if !changed[id] {
			w.fail("node %d begins at %d without %+v", w.n.id, boundary, row)
		}
	}
}

// read reads a row of a message.
func (w *watcher) read(row map[string]any) stored {
	text := func(name string) string {
		value, _ := row[name].(string)
		return value
	}
	seq, err := strconv.ParseUint(text("_seq"), 10, 64)
	n, failed := strconv.Atoi(text("n"))
	if err != nil || failed != nil {
		w.fail("row %v: %v %v", row, err, failed)
	}
	return stored{liveRow{text("id"), text("room"), n}, seq}
}

// equal compares what both have: a projection leaves columns out.
func (w *watcher) equal(want, got stored) bool {
	if got.row.room == "" {
		want.row.room = ""
	}
	return want == got
}

// Deliver implements live.Sink. One that is slow has no room at times: it takes nothing, then or later, and comes back with its
// cursor, as a connection does whose queue is full.
func (w *watcher) Deliver(notifications []live.Notification) {
	if w.slow && w.ready && w.c.w.rng.IntN(30) == 0 {
		w.full = true
	}
	if w.full {
		w.c.w.stats.liveFull++
		w.c.w.saw(ruleLiveFull)
		return
	}
	w.c.w.mutant.deliver(w, notifications)
}

// hear takes what belongs together.
func (w *watcher) hear(notifications []live.Notification) {
	if !w.ready || w.sub == nil {
		w.fail("it is told of a change before all of its initial rows, or after it was closed")
	}
	for _, n := range notifications {
		var message struct {
			Kind string           `json:"change_type"`
			Rows []map[string]any `json:"rows"`
			Old  []map[string]any `json:"old_values"`
		}
		if err := json.Unmarshal(append([]byte{'{'}, n.Event.JSON...), &message); err != nil {
			w.fail("%s: %v", n.Event.JSON, err)
		}
		rows := message.Rows
		if message.Kind == "delete" {
			rows = message.Old
		}
		got := w.read(rows[0])
		d, ok := w.next()
		if !ok || d.kind.String() != message.Kind || !w.equal(d.stored, got) {
			w.fail("node %d tells %s %+v; the log says %+v", w.n.id, message.Kind, got, d)
		}
		w.at, w.cursor = w.at+1, got.seq
		if message.Kind == "delete" {
			delete(w.rows, got.row.id)
		} else {
			w.rows[got.row.id] = got
		}
		w.c.w.stats.liveTold++
		w.c.w.saw(ruleLiveChanges)
	}
	if d, ok := w.next(); ok && d.seq>>16 == w.cursor>>16 {
		w.fail("node %d tells a part of a command; %+v is missing", w.n.id, d)
	}
}

// Ended implements live.Sink.
func (w *watcher) Ended(_ *live.Subscription, why *live.Error) {
	n := w.n
	w.n = nil // it is closed already
	if why.Code != live.CodeCursorTooOld {
		w.fail("node %d ends it: %v", n.id, why)
	}
	w.tooOld()
	w.sub, w.ready = nil, false
}

// judge compares what it was told with what its node has applied.
func (w *watcher) judge() {
	if w.sub == nil {
		return
	}
	if !w.here() {
		w.leave()
		return
	}
	if w.n.paused || w.n.manager == nil || !w.ready {
		return
	}
	w.n.live.step()
	if w.sub == nil || w.full {
		return // it was ended just now, or has no room
	}
	applied := w.n.manager.Applied(w.group)
	if d, ok := w.next(); ok && d.seq>>16 <= applied {
		w.fail("node %d has applied %d and does not tell of %+v", w.n.id, applied, d)
	}
	want := w.stateAt(w.told())
	for id, row := range want {
		if got, ok := w.rows[id]; !ok || !w.equal(row, got) {
			w.fail("at %d it has %+v; the log says %+v", w.told(), got, row)
		}
	}
	if len(want) != len(w.rows) {
		w.fail("at %d it has %d rows; the log says %d", w.told(), len(w.rows), len(want))
	}
}

var _ live.Sink = (*watcher)(nil)
