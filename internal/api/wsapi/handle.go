package wsapi

import (
	"context"
	"errors"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kalamdb/kalamdb-go/internal/live"
)

// handle does what a message asks for. It reports false when the connection is over.
func (c *Conn) handle(ctx context.Context, opcode byte, data []byte) bool {
	if !c.allowed() {
		c.fail(idRateLimit, codeRateLimit, "too many messages; slow down")
		return true
	}
	data, ok := c.decode(opcode, data)
	if !ok {
		return true
	}
	m, err := parseMessage(data)
	if err != nil {
		c.out.end(websocket.CloseInternalServerErr, "malformed message")
		return false
	}
	if c.known {
		c.saw(m.Type)
	}
	switch m.Type {
	case "ping":
	case "authenticate":
		return c.handleAuthenticate(ctx, m)
	case "subscribe", "subscribe_all", "next_batch", "unsubscribe":
		if !c.known {
			c.fail(idProtocol, codeAuthRequired, "authenticate first")
			return true
		}
		c.handleSubscription(ctx, m)
	default:
		c.fail(idProtocol, codeProtocol, "unknown message type")
	}
	return true
}

// allowed counts a message against the rate of the connection.
func (c *Conn) allowed() bool {
	limit := float64(c.server.config.MaxMessagesPerSec)
	if limit == 0 {
		return true
	}
	now := time.Now()
	c.tokens = min(limit, c.tokens+limit*now.Sub(c.refilled).Seconds())
	c.refilled = now
	if c.tokens < 1 {
		return false
	}
	c.tokens--
	return true
}

// decode gives the JSON of a frame; what cannot be read is answered.
func (c *Conn) decode(opcode byte, data []byte) ([]byte, bool) {
	if opcode == opText {
		return data, true
	}
	if !c.protocol.msgpack {
		c.fail(idProtocol, codeUnsupportedData, "this connection speaks JSON in text frames")
		return nil, false
	}
	var err error
	if len(data) > 1 && data[0] == 0x1f && data[1] == 0x8b {
		if data, err = inflate(data, c.server.config.MaxMessageBytes); errors.Is(err, errTooLarge) {
			c.fail(idProtocol, codeMessageTooLarge, "the message is too large")
			return nil, false
		}
	}
	if err == nil {
		data, err = unpack(data)
	}
	if err != nil {
		c.fail(idProtocol, codeUnsupportedData, "the frame is not msgpack")
		return nil, false
	}
	return data, true
}

func (c *Conn) handleAuthenticate(ctx context.Context, m *message) bool {
	if c.known {
		// Who the caller is does not change on a connection.
		c.out.force(func(dst []byte) []byte {
			return c.server.codec.appendMessage(dst, protocol{}, authSuccess(string(c.caller.User), c.caller.Role, c.protocol))
		})
		return true
	}
	if m.Method != "jwt" {
		c.refuse("the method of authentication is jwt")
		return false
	}
	p, err := m.Protocol.protocol()
	if err != nil {
		c.refuse(err.Error())
		return false
	}
	return c.authenticate(ctx, m.Token, p)
}

func (c *Conn) handleSubscription(ctx context.Context, m *message) {
	bound, cancel := context.WithTimeout(ctx, c.server.config.RequestTimeout)
	defer cancel()
	switch m.Type {
	case "subscribe":
		c.subscribe(bound, m)
	case "subscribe_all":
		c.subscribeAll(bound, m)
	case "next_batch":
		sub := c.find(m.SubscriptionID)
		if sub == nil || !sub.HasInitial() {
			c.fail(m.SubscriptionID, string(live.CodeBatchFetch), "there is no such subscription with further batches")
			return
		}
		c.nextBatch(bound, sub, false)
	case "unsubscribe":
		if sub := c.forget(m.SubscriptionID); sub != nil {
			sub.Close()
			c.complete(bound, sub)
		}
	}
}

func (c *Conn) find(id string) *live.Subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subs[id]
}

func (c *Conn) forget(id string) *live.Subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	sub := c.subs[id]
	delete(c.subs, id)
	return sub
}

func (c *Conn) subscribe(ctx context.Context, m *message) {
	wanted := m.Subscription
	if wanted == nil || wanted.ID == "" {
		c.fail(idInvalid, string(live.CodeInvalidID), "a subscription needs an id")
		return
	}
	if !c.room(wanted.ID, 1) {
		return
	}
	sub, err := c.server.config.Live.Subscribe(ctx, c.caller, c, c.request(wanted))
	if err != nil {
		c.failWith(wanted.ID, err)
		return
	}
	c.mu.Lock()
	c.subs[wanted.ID] = sub
	c.mu.Unlock()
	if c.dropEnded(sub) {
		return
	}
	if !sub.HasInitial() {
		if err := c.out.pace(ctx); err != nil {
			c.failed(sub, err)
			return
		}
		c.send(ackMessage(sub, &live.Batch{}))
		c.follow(ctx, sub)
		return
	}
	c.nextBatch(ctx, sub, true)
}

// dropEnded forgets a subscription that was ended before the connection knew it; the client was told.
func (c *Conn) dropEnded(sub *live.Subscription) bool {
	ended := sub.Ended()
	if ended {
		c.forget(sub.ID)
	}
	return ended
}

// room reports whether an id is free and there is room for more subscriptions; if not, the client is told.
func (c *Conn) room(id string, more int) bool {
	c.mu.Lock()
	_, taken := c.subs[id]
	count := len(c.subs)
	c.mu.Unlock()
	switch {
	case taken:
		c.fail(id, string(live.CodeInvalidID), "this connection has a subscription with this id")
		return false
	case count+more > c.server.config.MaxSubscriptions:
		c.fail(id, string(live.CodeLimit), "this connection has too many subscriptions")
		return false
	}
	return true
}

func (c *Conn) request(w *wanted) live.Request {
	return live.Request{
		ID: w.ID, Tag: changeTag(c.protocol, w.ID), SQL: w.SQL, Connection: c.number, Initial: w.Options.initial(),
	}
}

// nextBatch sends initial rows, the acknowledgement before the first of them, and makes the subscription live
// behind the last.
func (c *Conn) nextBatch(ctx context.Context, sub *live.Subscription, first bool) {
	if err := c.out.pace(ctx); err != nil {
		c.failed(sub, err)
		return
	}
	batch, err := sub.NextBatch(ctx)
	if err != nil {
		c.giveUp(sub, err)
		return
	}
	if first {
		c.send(ackMessage(sub, &batch))
	}
	c.send(batchMessage(sub.ID, &batch))
	switch {
	case batch.HasMore:
	case sub.Cut() != nil:
		c.complete(ctx, sub)
	default:
		c.follow(ctx, sub)
	}
}

func (c *Conn) follow(ctx context.Context, sub *live.Subscription) {
	if err := sub.Follow(ctx, c.out.pace); err != nil {
		c.failed(sub, err)
	}
}

// failed answers for a subscription that could not become live.
func (c *Conn) failed(sub *live.Subscription, err error) {
	switch {
	case errors.Is(err, errGone):
	case errors.Is(err, context.DeadlineExceeded):
		c.tooSlow()
	default:
		c.giveUp(sub, err)
	}
}

// giveUp ends a subscription that cannot go on and says why.
func (c *Conn) giveUp(sub *live.Subscription, err error) {
	c.forget(sub.ID)
	sub.Close()
	c.failWith(sub.ID, err)
	c.complete(context.Background(), sub)
}

func (c *Conn) failWith(id string, err error) { c.send(endMessage(id, liveError(err))) }
