package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// liveQuery is a live query, in SQL for the server and as a function for the judge.
type liveQuery struct {
	private bool
	local   bool // its rows are not replicated
	caller  int  // which of the users asks
	sql     string
	sees    func(liveRow) bool
}

func liveQueries() []liveQuery {
	all := func(liveRow) bool { return true }
	some := func(r liveRow) bool { return (r.room == "a" || r.room == "c") && r.n < 8 }
	return []liveQuery{
		{sql: `SELECT * FROM "default".rooms`, sees: all},
		{caller: 1, sql: `SELECT * FROM "default".rooms WHERE room = 'a'`, sees: func(r liveRow) bool { return r.room == "a" }},
		{sql: `SELECT id, n FROM "default".rooms WHERE n > 4 AND room <> 'b'`, sees: func(r liveRow) bool { return r.n > 4 && r.room != "b" }},
		{private: true, sql: `SELECT * FROM "default".mine WHERE room IN ('a', 'c') AND n < 8`, sees: some},
		{private: true, caller: 1, sql: `SELECT * FROM "default".mine WHERE room IN ('a', 'c') AND n < 8`, sees: some},
		{private: true, caller: 1, sql: `SELECT * FROM "default".mine`, sees: all},
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

	replica ident.ReplicaID // whose rows it was told, where they are not replicated

	n    *simNode // where it is; nil for nowhere
	life int
	sub  *live.Subscription

	cursor uint64            // the largest _seq that it was given; zero starts again
	at     int               // of the log's changes: all before it were told, or do not concern the query
	ready  bool              // the initial rows are there
	full   bool              // it had no room: it takes nothing more and will be closed
	rows   map[string]stored // what is there as far as it was told
	state  logState          // what the log says of the query
	seen   uint64            // the index up to which its node had given it what there was
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
	if q.local {
		w.table, w.user, w.group = c.live.here, string(w.caller), shard.Local
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

func (w *watcher) changes() []change {
	if w.q.local {
		return w.c.w.oracle.local(w.replica).model.changes
	}
	return w.c.w.oracle.groups[w.group].model.changes
}

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
	if w.q.local && !w.settle(s) {
		return
	}
	caller := w.session()
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
	w.ready, w.seen = true, 0
	if err := sub.Follow(s, func(context.Context) error { return nil }); err != nil {
		w.ended(err)
	}
}

// acknowledged is the newest change of its table that a client knows to be written. To delete what is not there is none.
func (w *watcher) acknowledged() uint64 {
	known := uint64(0)
	for c, v := range w.c.w.store.floor {
		if c.table == w.table && c.user == w.user && c.at == w.replica {
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
		// What its node's stream had not come to may be dropped before it is known to be none of this query's.
		cursor = max(cursor, min(w.told(), w.seen<<16|0xffff))
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

var _ live.Sink = (*watcher)(nil)
