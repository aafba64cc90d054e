package sim

import (
	"encoding/json"
	"maps"
	"strconv"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/live"
)

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
	applied := w.n.applied(w.group)
	if d, ok := w.next(); ok && d.seq>>16 <= applied {
		w.fail("node %d has applied %d and does not tell of %+v", w.n.id, applied, d)
	}
	w.seen = applied
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
