package live

import (
	"slices"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// A run of changes is matched under one lock and handed over at once. It ends where a command ends, as soon as it has so many changes or bytes.
const (
	runLength = 256
	runBytes  = 256 << 10
)

// run is how far a run has come.
type run struct {
	changes int
	bytes   uint64
	last    uint64 // the entry of the newest change
}

// full reports whether a run ends before a change, and counts the change else.
func (r *run) full(change *changefeed.Change) bool {
	index := command.SeqIndex(change.Seq)
	if (r.changes >= runLength || r.bytes >= runBytes) && index != r.last {
		return true
	}
	r.changes, r.bytes, r.last = r.changes+1, r.bytes+change.SizeBytes(), index
	return false
}

// stream follows the changes of one group and gives them to the subscriptions that are live.
type stream struct {
	service *Service
	group   shard.GroupID
	reader  *changefeed.Reader
	stop    chan struct{}

	mu       sync.Mutex // guards everything below, and the fields of subscriptions that say so
	position uint64     // every live subscription has been given everything up to here
	scopes   map[scopeKey]*scopeIndex
	views    map[scopeKey][]*view
	conns    map[Sink]*streamConn
	touched  []*streamConn   // with notifications to be flushed
	events   []encoded       // of the change at hand
	failed   []*Subscription // by the change at hand
	before   []datum.Datum   // reused between changes
	after    []datum.Datum
	key      []byte
}

// streamConn collects what one connection is to be told.
type streamConn struct {
	sink    Sink
	subs    int
	pending []Notification
}

// encoded is one form in which the change at hand is seen.
type encoded struct {
	projection *Projection
	kind       changefeed.Kind
	event      *Event
	err        error
}

// newStream watches the group first and then asks the store where it stands, so that nothing falls between.
func newStream(s *Service, group shard.GroupID) (*stream, error) {
	st := &stream{
		service: s, group: group, reader: s.config.Feed.Watch(group), stop: make(chan struct{}),
		scopes: make(map[scopeKey]*scopeIndex), views: make(map[scopeKey][]*view), conns: make(map[Sink]*streamConn),
	}
	var err error
	if st.position, err = changelog.Last(s.config.Store, group); err != nil {
		st.reader.Close()
		return nil, err
	}
	return st, nil
}

// run is the stream's goroutine.
func (s *stream) run() {
	defer s.reader.Close()
	for {
		select {
		case <-s.stop:
			return
		case <-s.reader.Wake():
		}
		for s.step() {
		}
	}
}

// step gives what was published and reports whether there was something.
func (s *stream) step() bool {
	s.mu.Lock()
	position := s.position
	s.mu.Unlock()
	changes, behind := s.reader.Next(position)
	if behind {
		if err := s.reread(position); err != nil {
			s.abandon(err)
		}
		return true
	}
	for len(changes) > 0 {
		n := runEnd(changes)
		s.process(changes[:n])
		changes = changes[n:]
	}
	return false
}

// runEnd returns the length of the first run.
func runEnd(changes []changefeed.Change) int {
	var r run
	for i := range changes {
		if r.full(&changes[i]) {
			return i
		}
	}
	return len(changes)
}

// process matches changes and hands over what came of them.
func (s *stream) process(changes []changefeed.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current := s.service.config.Catalog.Current()
	for i := range changes {
		change := &changes[i]
		if change.Seq <= s.position && change.Kind != changefeed.Purge {
			continue
		}
		if change.Kind == changefeed.Purge {
			// A purge is not in the change log, so it is no position.
			s.endTable(change.Table)
			continue
		}
		s.position = max(s.position, change.Seq)
		for _, v := range s.views[scopeKey{change.Table, change.User}] {
			v.touch(current, change)
		}
		if index := s.scopes[scopeKey{change.Table, change.User}]; index != nil {
			s.match(current, index, change)
		}
	}
	s.flush()
}

// match gives one change to the subscriptions of its scope.
func (s *stream) match(current *catalog.Catalog, index *scopeIndex, change *changefeed.Change) {
	if index = s.refresh(current, index, change); index == nil {
		return
	}
	r, err := s.decode(index, change)
	if err != nil {
		for _, sub := range index.all() {
			s.end(sub, refuse(CodeConversion, "a changed row could not be read; start again"))
		}
		return
	}
	s.events = s.events[:0]
	s.failed = s.failed[:0]
	index.find(r, &s.key, func(b *bucket, entries []*Subscription, v visit) {
		if v == certain && b.alike(change.Seq) && b.allGood(current) {
			s.giveAll(b, entries, r)
			return
		}
		for _, sub := range entries {
			s.offer(current, sub, v, r)
		}
	})
	for _, sub := range s.failed {
		s.end(sub, sub.failure)
	}
}

// refresh follows changes of the table's definition. It returns the scope's index, nil when there is none any more.
func (s *stream) refresh(current *catalog.Catalog, index *scopeIndex, change *changefeed.Change) *scopeIndex {
	if index.catalog == current {
		return index
	}
	found, ok := current.TableByID(change.Table)
	if !ok {
		// Its purge ends the subscriptions; what is written before that is seen by nobody.
		return nil
	}
	index.catalog = current
	if found == index.table && !index.mixed {
		return index
	}
	fresh := newScopeIndex(found)
	fresh.catalog = current
	now := s.service.config.Clock.Now().UnixMicro()
	for _, sub := range index.all() {
		q, err := bind(current, sub.caller, sub.sql, now, sub.service.config.Cold)
		if err != nil {
			s.end(sub, judge(err, CodeFailed))
			continue
		}
		sub.leavePlaces()
		sub.query = q
		fresh.add(sub)
	}
	if fresh.count == 0 {
		return nil
	}
	s.scopes[scopeKey{change.Table, change.User}] = fresh
	return fresh
}

// decode reads the rows of a change.
func (s *stream) decode(index *scopeIndex, change *changefeed.Change) (*rows, error) {
	return decodeRows(index, change, &s.before, &s.after)
}

// giveAll notes what everybody in a bucket is to be told.
func (s *stream) giveAll(b *bucket, entries []*Subscription, r *rows) {
	event, err := s.event(b.projection, r, r.change.Kind)
	if err != nil {
		for _, sub := range entries {
			s.fail(sub, cannotSend(err))
		}
		return
	}
	for _, sub := range entries {
		s.tell(sub, event)
	}
	b.given++
	b.lastMicros = r.change.Micros
}

// tell notes an event for a subscription.
func (s *stream) tell(sub *Subscription, event *Event) {
	if len(sub.conn.pending) == 0 {
		s.touched = append(s.touched, sub.conn)
	}
	sub.conn.pending = append(sub.conn.pending, Notification{sub, event})
}

func cannotSend(err error) *Error {
	return refuse(CodeConversion, "a changed row could not be sent: %v", err)
}

// offer tests a subscription and notes what it is to be told. One that cannot go on is noted as failed.
func (s *stream) offer(current *catalog.Catalog, sub *Subscription, v visit, r *rows) {
	if r.change.Seq <= sub.position {
		return
	}
	if !sub.good(current) {
		s.fail(sub, accountChanged())
		return
	}
	kind := r.change.Kind
	if v == tested || !sub.query.exact {
		var sees bool
		if kind, sees = s.classify(sub, v, r); !sees {
			return
		}
	}
	event, err := s.event(sub.query.projection, r, kind)
	if err != nil {
		s.fail(sub, cannotSend(err))
		return
	}
	s.tell(sub, event)
	sub.given++
	sub.lastMicros = r.change.Micros
}

// classify says what a change is for a subscription whose condition has to be tested.
func (s *stream) classify(sub *Subscription, v visit, r *rows) (kind changefeed.Kind, sees bool) {
	if v == tested {
		// It may stand in the bucket of the value before and in that of the value after.
		if sub.seen == r.change.Seq {
			return 0, false
		}
		sub.seen = r.change.Seq
	}
	kind, sees, err := sub.query.classify(r)
	if err != nil {
		s.fail(sub, conditionFailed(err))
		return 0, false
	}
	return kind, sees
}

// fail notes a subscription that is to be ended when the change at hand is done.
func (s *stream) fail(sub *Subscription, why *Error) {
	sub.failure = why
	s.failed = append(s.failed, sub)
}

// event encodes the change at hand once for each way to see it.
func (s *stream) event(p *Projection, r *rows, kind changefeed.Kind) (*Event, error) {
	for i := range s.events {
		if s.events[i].projection == p && s.events[i].kind == kind {
			return s.events[i].event, s.events[i].err
		}
	}
	event, err := p.event(r, kind)
	s.events = append(s.events, encoded{p, kind, event, err})
	return event, err
}

// flush hands over by connection.
func (s *stream) flush() {
	for i, conn := range s.touched {
		conn.sink.Deliver(conn.pending)
		clear(conn.pending)
		conn.pending = conn.pending[:0]
		if cap(conn.pending) > runLength {
			conn.pending = nil
		}
		s.touched[i] = nil
	}
	s.touched = s.touched[:0]
}

// attach makes a subscription live.
func (s *stream) attach(sub *Subscription) {
	key := sub.key()
	index := s.scopes[key]
	if index == nil {
		index = newScopeIndex(sub.query.scope.Table)
		s.scopes[key] = index
	}
	sub.conn, sub.live = s.connOf(sub.sink), true
	index.add(sub)
}

// connOf finds or makes what collects for a sink, for one more subscription.
func (s *stream) connOf(sink Sink) *streamConn {
	conn := s.conns[sink]
	if conn == nil {
		conn = &streamConn{sink: sink}
		s.conns[sink] = conn
	}
	conn.subs++
	return conn
}

// detach ends the subscription's life in the stream, if it has one.
func (s *stream) detach(sub *Subscription) {
	if !sub.live {
		return
	}
	sub.live = false
	key := sub.key()
	if sub.view != nil {
		sub.view.subs = slices.DeleteFunc(sub.view.subs, func(other *Subscription) bool { return other == sub })
	} else if index := s.scopes[key]; index != nil {
		index.remove(sub)
		if index.count == 0 {
			delete(s.scopes, key)
		}
	}
	if sub.conn.subs--; sub.conn.subs == 0 {
		delete(s.conns, sub.sink)
	}
}

// end detaches a subscription and tells its sink. What it was given before is handed over first.
func (s *stream) end(sub *Subscription, why *Error) {
	if !sub.live {
		return
	}
	s.finish(sub, why)
}

// finish is end for a subscription that may not be live yet.
func (s *stream) finish(sub *Subscription, why *Error) {
	s.flush()
	s.detach(sub)
	s.leaveView(sub)
	sub.closed = true
	s.service.release(sub)
	sub.sink.Ended(sub, why)
}
