package live

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage"
)

// Cut is several subscriptions of one connection that begin together. Their initial rows are those of one picture of
// the store, however long it takes to fetch them, and none of them gets a change before all rows are fetched. So there
// is a moment, Follow, at which what a client was given for all of them is one consistent state:
//
//   - Subscriptions of one group stand at the same position of its log. From then on their changes come in the order of
//     the group, those of one command together, whichever of the subscriptions they are for.
//   - Groups have no common order. Each stands at the position that this node's store had at one instant, at which it held
//     everything that was acknowledged before the cut was asked for, in any group. A command is never torn: it is in one
//     group.
//
// A Cut belongs to the goroutine of its connection.
type Cut struct {
	service *Service
	subs    []*Subscription
	waiting map[*Subscription]struct{} // initial rows are still to be fetched
	done    chan struct{}              // closed when the picture is given back
	once    sync.Once

	mu       sync.Mutex // guards snapshot, which the end of its time may take away
	snapshot *storage.Snapshot
}

// Bounds of cuts. A picture that is held keeps the store from dropping what it shows.
const (
	maxCutSubscriptions = 32
	maxCuts             = 64 // pictures that a node holds at once
	cutPatience         = time.Minute
)

// SubscribeCut makes subscriptions that begin together. When one of them cannot be made, none is, and its id is
// returned with the reason, which is an *Error.
func (s *Service) SubscribeCut(ctx context.Context, caller session.Session, sink Sink, requests []Request) (cut *Cut, failed string, err error) {
	if len(requests) == 0 || len(requests) > maxCutSubscriptions {
		return nil, "", refuse(CodeLimit, "1 to %d live queries can begin together", maxCutSubscriptions)
	}
	if !s.countCut() {
		return nil, requests[0].ID, refuse(CodeLimit, "too many live queries of this node are about to begin; try again")
	}
	cut = &Cut{service: s, waiting: make(map[*Subscription]struct{}), done: make(chan struct{})}
	for i := range requests {
		var sub *Subscription
		if sub, err = s.prepare(ctx, caller, sink, requests[i]); err != nil {
			failed = requests[i].ID
			break
		}
		sub.cut = cut
		cut.subs = append(cut.subs, sub)
	}
	if err == nil {
		failed, err = cut.begin(ctx, requests)
	}
	if err == nil && !s.spawn(cut.expire) {
		err = refuse(CodeFailed, "the server is shutting down")
	}
	if err != nil {
		for _, sub := range cut.subs {
			sub.abandon()
		}
		cut.Close()
		return nil, failed, judge(err, CodeFailed)
	}
	for _, sub := range cut.subs {
		s.register(sub)
	}
	return cut, "", nil
}

// prepare checks a request and makes its subscription, which has not begun.
func (s *Service) prepare(ctx context.Context, caller session.Session, sink Sink, request Request) (*Subscription, error) {
	if err := s.admit(caller, request); err != nil {
		return nil, err
	}
	sub, err := s.make(ctx, caller, sink, request)
	if err != nil {
		s.uncount(caller.User)
	}
	return sub, err
}

// begin waits until this node has what was acknowledged, takes the picture and lets every subscription begin with it.
func (c *Cut) begin(ctx context.Context, requests []Request) (failed string, err error) {
	applied := make(map[shard.GroupID]uint64)
	for i, sub := range c.subs {
		if _, asked := applied[sub.stream.group]; asked {
			continue
		}
		if applied[sub.stream.group], err = c.service.config.Barrier.Barrier(ctx, sub.stream.group); err != nil {
			return requests[i].ID, err
		}
	}
	c.snapshot = c.service.config.Store.NewSnapshot()
	for i, sub := range c.subs {
		if sub.query.view != nil {
			err = sub.beginView(ctx, requests[i].Initial, c.snapshot)
		} else {
			err = sub.begin(requests[i].Initial, c.snapshot, applied[sub.stream.group])
		}
		if err != nil {
			return requests[i].ID, err
		}
		c.waiting[sub] = struct{}{}
	}
	return "", nil
}

// expire gives the picture back when nobody fetches the rows.
func (c *Cut) expire() {
	timer := c.service.config.Clock.NewTimer(cutPatience)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-c.service.stopping.Done():
	case <-timer.C():
	}
	c.Close()
}

// picture calls read with the picture, if it is still there.
func (c *Cut) picture(read func(snapshot *storage.Snapshot) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.snapshot == nil {
		return refuse(CodeBatchFetch, "the initial rows were not fetched within %s; subscribe again", cutPatience)
	}
	return read(c.snapshot)
}

// Subscriptions are those that were asked for, in that order.
func (c *Cut) Subscriptions() []*Subscription { return c.subs }

// Done says that the initial rows of a subscription are fetched, or that it is given up. It reports true once, when it
// is the last: then CatchUp is due.
func (c *Cut) Done(sub *Subscription) bool {
	if _, waits := c.waiting[sub]; !waits {
		return false
	}
	delete(c.waiting, sub)
	return len(c.waiting) == 0
}

// Review is Done for subscriptions that others have ended. It is to be asked now and then.
func (c *Cut) Review() bool {
	ended := false
	for sub := range c.waiting {
		if sub.Ended() {
			delete(c.waiting, sub)
			ended = true
		}
	}
	return ended && len(c.waiting) == 0
}

// Close gives back what the cut holds. It ends no subscription and may be called again.
func (c *Cut) Close() {
	c.once.Do(func() {
		close(c.done)
		c.service.uncountCut()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.snapshot != nil {
			_ = c.snapshot.Close() // nothing was written
			c.snapshot = nil
		}
	})
}

// CatchUp gives subscriptions that resumed at a cursor what is still missing up to the cut: everything from the first
// delete on. It is called once, when all rows are fetched; after it the client has the cut, and Follow is due.
func (c *Cut) CatchUp(ctx context.Context, pace func(context.Context) error) error {
	c.Close()
	for _, sub := range c.subs {
		sub.initial = nil
	}
	return c.eachStream(func(st *stream, subs []*Subscription) error {
		if subs[0].boundary == 0 {
			return nil // nothing was ever written
		}
		return catchUp(ctx, subs, &delivery{stream: st, sink: subs[0].sink, pace: pace, upTo: subs[0].boundary})
	})
}

// Follow makes the subscriptions live; see Subscription.Follow. When it fails for one it fails for all: they are to
// be closed.
func (c *Cut) Follow(ctx context.Context, pace func(context.Context) error) error {
	err := c.eachStream(func(_ *stream, subs []*Subscription) error { return follow(ctx, subs, pace) })
	for _, sub := range c.subs {
		if err == nil && sub.view != nil {
			err = sub.followView(ctx)
		}
	}
	return err
}

// eachStream visits the streams with their subscriptions, but for those to results and those that have ended.
func (c *Cut) eachStream(visit func(st *stream, subs []*Subscription) error) error {
	byStream := make(map[*stream][]*Subscription)
	var streams []*stream
	for _, sub := range c.subs {
		if sub.view != nil || sub.Ended() {
			continue
		}
		if byStream[sub.stream] == nil {
			streams = append(streams, sub.stream)
		}
		byStream[sub.stream] = append(byStream[sub.stream], sub)
	}
	slices.SortFunc(streams, func(a, b *stream) int { return cmp.Compare(a.group, b.group) })
	for _, st := range streams {
		if err := visit(st, byStream[st]); err != nil {
			return err
		}
	}
	return nil
}

// Cut is what the subscription began with; nil when it began alone.
func (sub *Subscription) Cut() *Cut { return sub.cut }

// Position says where the initial rows stand: the group, and the _seq of its newest change.
func (sub *Subscription) Position() (group shard.GroupID, seq uint64) {
	return sub.stream.group, sub.boundary
}

// abandon undoes the making of a subscription that nobody knows yet.
func (sub *Subscription) abandon() {
	sub.stream.mu.Lock()
	sub.closed = true
	sub.stream.leaveView(sub)
	sub.stream.mu.Unlock()
	sub.service.uncount(sub.caller.User)
}

// countCut takes a place for a cut, if there is one.
func (s *Service) countCut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cuts >= maxCuts || s.closed {
		return false
	}
	s.cuts++
	return true
}

func (s *Service) uncountCut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts--
}
