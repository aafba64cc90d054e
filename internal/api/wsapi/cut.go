package wsapi

import (
	"context"
	"errors"
	"slices"

	"github.com/kalamdb/kalamdb-go/internal/live"
)

// maxCutID bounds the id of subscriptions that begin together.
const maxCutID = 256

// beginning is a cut whose initial rows are still being fetched.
type beginning struct {
	id  string
	cut *live.Cut
}

// subscribeAll makes subscriptions that begin together, or none of them.
func (c *Conn) subscribeAll(ctx context.Context, m *message) {
	if m.ID == "" || len(m.ID) > maxCutID || len(m.Subscriptions) == 0 {
		c.fail(idInvalid, string(live.CodeInvalidID), "subscribe_all needs an id and subscriptions")
		return
	}
	requests := make([]live.Request, len(m.Subscriptions))
	seen := make(map[string]bool, len(m.Subscriptions))
	for i := range m.Subscriptions {
		w := &m.Subscriptions[i]
		if w.ID == "" || seen[w.ID] {
			c.fail(idInvalid, string(live.CodeInvalidID), "each subscription needs an id of its own")
			return
		}
		if seen[w.ID] = true; !c.room(w.ID, len(requests)) {
			return
		}
		requests[i] = c.request(w)
	}
	cut, failed, err := c.server.config.Live.SubscribeCut(ctx, c.caller, c, requests)
	if err != nil {
		if failed == "" {
			failed = m.Subscriptions[0].ID
		}
		c.failWith(failed, err)
		return
	}
	c.mu.Lock()
	for _, sub := range cut.Subscriptions() {
		c.subs[sub.ID] = sub
	}
	c.mu.Unlock()
	c.beginnings = append(c.beginnings, beginning{m.ID, cut})
	for _, sub := range cut.Subscriptions() {
		c.dropEnded(sub)
	}
	for _, sub := range cut.Subscriptions() {
		if sub.HasInitial() {
			c.nextBatch(ctx, sub, true)
			continue
		}
		c.send(ackMessage(sub, &live.Batch{}))
		c.complete(ctx, sub)
	}
}

// complete notes that a subscription of a cut has its initial rows, or is given up. When it is the last, all become
// live.
func (c *Conn) complete(ctx context.Context, sub *live.Subscription) {
	if cut := sub.Cut(); cut != nil && cut.Done(sub) {
		c.begun(ctx, cut)
	}
}

// review looks for cuts whose last missing subscriptions were ended by somebody else, who cannot do what is to be done then: each of the
// client's messages does, and a client that is there sends some.
func (c *Conn) review(ctx context.Context) {
	for _, b := range slices.Clone(c.beginnings) {
		if b.cut.Review() {
			bound, cancel := context.WithTimeout(ctx, c.server.config.RequestTimeout)
			c.begun(bound, b.cut)
			cancel()
		}
	}
}

// begun makes the subscriptions of a cut live that are left.
func (c *Conn) begun(ctx context.Context, cut *live.Cut) {
	var id string
	for i := range c.beginnings {
		if c.beginnings[i].cut == cut {
			id = c.beginnings[i].id
			c.beginnings = append(c.beginnings[:i], c.beginnings[i+1:]...)
			break
		}
	}
	var left []*live.Subscription
	for _, sub := range cut.Subscriptions() {
		if c.find(sub.ID) == sub {
			left = append(left, sub)
		}
	}
	if len(left) == 0 {
		cut.Close()
		return
	}
	err := cut.CatchUp(ctx, c.out.pace)
	if err == nil {
		err = c.out.pace(ctx) // what was caught up with may be more than there is room behind
	}
	if err == nil {
		c.send(cutMessage(id, left))
		err = cut.Follow(ctx, c.out.pace)
	}
	switch {
	case err == nil, errors.Is(err, errGone):
	case errors.Is(err, context.DeadlineExceeded):
		c.tooSlow()
	default:
		for _, sub := range left {
			c.giveUp(sub, err)
		}
	}
}
