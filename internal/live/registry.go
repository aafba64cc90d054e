package live

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

// Info describes a subscription to administrators.
type Info struct {
	Number     uint64 // on this node, since it started
	Connection uint64
	ID         string // as its client calls it
	Namespace  string
	Table      string
	User       ident.UserID
	SQL        string
	Options    string // as they were asked for, in JSON; empty for none
	Live       bool   // false while it is given what was there before
	Created    time.Time
	Changes    uint64 // delivered
	LastMicros int64  // time stamped into the command of the newest of them; zero when there was none
}

// register makes a subscription known to List and Kill.
func (s *Service) register(sub *Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	sub.number = s.number
	s.subs[sub.number] = sub
}

// release forgets a subscription that has ended.
func (s *Service) release(sub *Subscription) {
	s.uncount(sub.caller.User)
	s.shelf.end(sub)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.subs, sub.number)
}

// List describes subscriptions of this node, oldest first: those whose numbers are above after, and at most limit of them
// when that is not zero.
func (s *Service) List(after uint64, limit int) []Info {
	s.mu.Lock()
	subs := make([]*Subscription, 0, len(s.subs))
	for number, sub := range s.subs {
		if number > after {
			subs = append(subs, sub)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(subs, func(a, b *Subscription) int { return cmp.Compare(a.number, b.number) })
	if limit > 0 && len(subs) > limit {
		subs = subs[:limit]
	}
	list := make([]Info, len(subs))
	for i, sub := range subs {
		list[i] = sub.info()
	}
	return list
}

func (sub *Subscription) info() Info {
	sub.stream.mu.Lock()
	defer sub.stream.mu.Unlock()
	found := sub.schema.Table
	info := Info{
		Number: sub.number, Connection: sub.connection, ID: sub.ID, Namespace: found.Namespace, Table: found.Name, User: sub.caller.User,
		SQL: sub.sql, Options: sub.options, Live: sub.live, Created: time.UnixMicro(sub.created),
	}
	info.Changes, info.LastMicros = sub.account()
	return info
}

// Kill ends a subscription of this node and tells its client. It reports false when there is none of that number.
func (s *Service) Kill(number uint64) bool {
	s.mu.Lock()
	sub := s.subs[number]
	s.mu.Unlock()
	if sub == nil {
		return false
	}
	st := sub.stream
	st.mu.Lock()
	defer st.mu.Unlock()
	if sub.closed {
		return false
	}
	st.finish(sub, refuse(CodeKilled, "an administrator ended the live query"))
	return true
}

// Check says whether a caller could subscribe to a query. The error is an *Error.
func (s *Service) Check(ctx context.Context, caller session.Session, text string) error {
	if _, err := s.bind(ctx, caller, text); err != nil {
		return judge(err, CodeFailed)
	}
	return nil
}

// Peak is the highest number of subscriptions that there were at once.
func (s *Service) Peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}
