package live

import (
	"context"
	"errors"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/changefeed"
	"github.com/kalamdb/kalamdb-go/internal/changelog"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/datum"
)

// Bounds of catching up. While a stream is held up, all its live queries wait; a receiver that takes its time, or writers that are quick, leave
// more to be read than that, and then it goes on without holding anybody up.
const (
	catchUpRounds = 4        // how often subscriptions try to catch up with their stream before they hold it up
	heldChanges   = 1024     // of the log that are read while the stream is held up; twice as many each time that is not enough
	mostHeld      = 8 * 1024 // at the end
	heldRowBytes  = 256      // of each of them, as they are sent
)

// errFar says that there is more to catch up with than a stream is held up for.
var errFar = errors.New("the stream is too far ahead")

// follow gives subscriptions of one stream and one connection everything after their initial rows, in the order of
// the group, and makes them live at once.
func follow(ctx context.Context, subs []*Subscription, pace func(context.Context) error) error {
	st := subs[0].stream
	for _, sub := range subs {
		if err := sub.standing(); err != nil {
			return err
		}
	}
	for round, most := 0, heldChanges; ; round++ {
		if st.tryLive(subs) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if round >= catchUpRounds {
			// Writers are too quick for us. What is left is little, and they wait for it.
			if err := st.holdUp(ctx, subs, most); !errors.Is(err, errFar) {
				return err
			}
			most = min(2*most, mostHeld)
		}
		if err := catchUp(ctx, subs, &delivery{stream: st, sink: subs[0].sink, pace: pace}); err != nil {
			return err
		}
	}
}

// holdUp lets subscriptions catch up and makes them live while the stream stands still. When there is more to be read than so many changes it
// is errFar, and they have been given nothing.
func (s *stream) holdUp(ctx context.Context, subs []*Subscription, most int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := catchUp(ctx, subs, &delivery{sink: subs[0].sink, most: most}); err != nil {
		return err
	}
	s.attachAll(subs)
	return nil
}

// tryLive makes subscriptions live if the stream has not passed the position of any.
func (s *stream) tryLive(subs []*Subscription) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range subs {
		if !sub.closed && !sub.live && s.position > sub.position {
			return false
		}
	}
	s.attachAll(subs)
	return true
}

func (s *stream) attachAll(subs []*Subscription) {
	for _, sub := range subs {
		if !sub.closed && !sub.live {
			s.attach(sub)
		}
	}
}

// catchUpBytes is how much is delivered at once while catching up, beside the rest of a command.
const catchUpBytes = 256 << 10

// catching is a subscription that catches up.
type catching struct {
	sub           *Subscription
	decoder       *scopeIndex
	before, after []datum.Datum
}

// catchUp delivers what the change log has after the positions of subscriptions of one stream, and moves the positions
// on. It takes them as far as the log goes, or to a position.
func catchUp(ctx context.Context, subs []*Subscription, d *delivery) error {
	st := subs[0].stream
	snapshot := st.service.config.Store.NewSnapshot()
	defer snapshot.Close() //nolint:errcheck // nothing was written
	last, err := changelog.Last(snapshot, st.group)
	if err != nil {
		return judge(err, CodeFailed)
	}
	if d.upTo > 0 {
		last = min(last, d.upTo)
	}
	from := last
	interest := &changelog.Interest{Table: subs[0].query.scope.Table.ID, User: subs[0].query.scope.User}
	if d.most > 0 {
		interest = nil // what others wrote is read, too
	}
	list := make([]catching, len(subs))
	for i, sub := range subs {
		if err = sub.standing(); err != nil {
			return err
		}
		if err = sub.renew(); err != nil {
			return err
		}
		key := sub.key()
		if err = changelog.CheckScope(snapshot, st.group, key.table, key.user, sub.position); err != nil {
			return judge(err, CodeFailed)
		}
		from = min(from, sub.position)
		list[i] = catching{sub: sub, decoder: newScopeIndex(sub.query.scope.Table)}
		if interest != nil && (key.table != interest.Table || key.user != interest.User) {
			interest = nil // of several scopes
		}
	}
	var failed error
	err = changelog.Read(snapshot, st.group, from, interest, func(change changefeed.Change) bool {
		if change.Seq > last {
			return false
		}
		if d.read++; d.most > 0 && (d.read > d.most || d.size > d.most*heldRowBytes) {
			failed = errFar
			return false
		}
		if failed = d.command(ctx, command.SeqIndex(change.Seq)); failed != nil {
			return false
		}
		for i := range list {
			if failed = list[i].take(&change, d); failed != nil {
				return false
			}
		}
		return true
	})
	if err != nil {
		return judge(err, CodeFailed)
	}
	if failed == nil {
		failed = d.flush(ctx)
	}
	if failed != nil {
		return failed
	}
	for _, sub := range subs {
		sub.position = max(sub.position, last)
	}
	return nil
}

// take adds what a subscription sees of a change to a delivery.
func (c *catching) take(change *changefeed.Change, d *delivery) error {
	scope := c.sub.query.scope
	if change.Seq <= c.sub.position || change.Table != scope.Table.ID || change.User != scope.User {
		return nil
	}
	r, err := decodeRows(c.decoder, change, &c.before, &c.after)
	if err != nil {
		return refuse(CodeConversion, "a changed row could not be read")
	}
	kind, sees, err := c.sub.query.classify(r)
	if err != nil {
		return conditionFailed(err)
	}
	if !sees {
		return nil
	}
	event, err := c.sub.query.projection.event(r, kind)
	if err != nil {
		return refuse(CodeConversion, "a changed row could not be sent: %v", err)
	}
	d.pending = append(d.pending, Notification{c.sub, event})
	d.size += len(event.JSON)
	return nil
}

// delivery collects what a connection is to be told. What belongs to one command is handed over together.
type delivery struct {
	stream  *stream // whose lock is taken to deliver; nil when it is held
	sink    Sink
	pace    func(context.Context) error // nil does not wait
	upTo    uint64                      // the position to catch up with; zero is the newest
	most    int                         // changes that may be read, all to be delivered at once; zero is any number
	read    int
	pending []Notification
	size    int
	index   uint64 // of the command at hand
}

// command begins a command; what was collected before is handed over when it is enough.
func (d *delivery) command(ctx context.Context, index uint64) error {
	if index == d.index {
		return nil
	}
	d.index = index
	if d.size <= catchUpBytes || d.most > 0 {
		return nil
	}
	return d.flush(ctx)
}

func (d *delivery) flush(ctx context.Context) error {
	if len(d.pending) == 0 {
		return nil
	}
	if d.pace != nil {
		if err := d.pace(ctx); err != nil {
			return err
		}
	}
	if d.stream != nil {
		d.stream.mu.Lock()
		defer d.stream.mu.Unlock()
	}
	// Whoever was ended meanwhile was told so, and gets nothing more.
	d.pending = slices.DeleteFunc(d.pending, func(n Notification) bool { return n.Sub.closed })
	if len(d.pending) > 0 {
		d.sink.Deliver(d.pending)
	}
	d.pending, d.size = d.pending[:0], 0
	return nil
}
