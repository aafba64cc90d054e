package wsapi

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

// Conn is one client. Its reader is the only goroutine that it always has; see begin.
type Conn struct {
	server     *Server
	number     uint64 // among the connections of this node
	in         frameReader
	out        *outbox
	clientIP   string
	token      string // of the upgrade's header
	fromHeader bool
	noGzip     bool
	protocol   protocol // settled by authentication, before there are subscriptions; see speaks
	caller     session.Session
	known      bool      // the caller has proved who it is
	deadline   time.Time // of the authentication
	tokens     float64   // messages that may still be sent in this second
	refilled   time.Time

	beginnings []beginning // belongs to the reader

	mu      sync.Mutex // guards subs and watched
	subs    map[string]*live.Subscription
	watched watched
}

func newConn(s *Server, clientIP string) *Conn {
	return &Conn{server: s, clientIP: clientIP, subs: make(map[string]*live.Subscription)}
}

// open takes over the upgraded connection.
func (c *Conn) open(conn net.Conn) {
	cfg := &c.server.config
	c.in.conn = conn
	c.out = newOutbox(conn, cfg.OutboxBytes, cfg.WriteTimeout, &c.server.drains, c.tooSlow)
	c.out.encode = c.encode
	c.deadline = time.Now().Add(cfg.AuthTimeout)
	c.tokens, c.refilled = float64(cfg.MaxMessagesPerSec), time.Now()
}

// extend moves the time by which the next frame must come.
func (c *Conn) extend() error {
	if !c.known {
		return c.in.conn.SetReadDeadline(c.deadline)
	}
	return c.in.conn.SetReadDeadline(time.Now().Add(c.server.config.IdleTimeout))
}

// The reader of a connection is one goroutine after another. While nothing comes it is wait, whose stack stays as small as
// stacks are. What has come is the turn of another one, with a stack that may grow: it would stay grown.

// begin is the first turn.
func (c *Conn) begin() {
	if c.fromHeader {
		// A context of its own would stay with an idle connection, and nothing runs when this returns.
		accepted := c.authenticate(c.server.stopping, c.token, c.protocol)
		if c.token = ""; !accepted {
			c.over()
			return
		}
	}
	c.await()
}

// await lets the next bytes of the client begin a turn.
func (c *Conn) await() {
	if c.extend() != nil {
		c.over()
		return
	}
	go c.wait()
}

func (c *Conn) wait() {
	c.in.wait()
	go c.turn()
}

// turn handles what has come, until nothing is held.
func (c *Conn) turn() {
	for {
		kind, data, err := c.read()
		switch {
		case errors.Is(err, errTooLarge):
			c.fail(idProtocol, codeMessageTooLarge, "the message is too large")
		case err != nil:
			c.lost(err)
			c.over()
			return
		case !c.handle(c.server.stopping, kind, data):
			c.over()
			return
		}
		c.review(c.server.stopping)
		if !c.in.holds() {
			c.await()
			return
		}
		if c.extend() != nil {
			c.over()
			return
		}
	}
}

// over is the last of a connection.
func (c *Conn) over() {
	defer c.server.running.Done()
	defer c.server.remove(c)
	c.cleanUp()
}

// lost answers for a connection that cannot be read any more.
func (c *Conn) lost(err error) {
	var timeout net.Error
	var malformed *protocolError
	switch {
	case errors.As(err, &malformed):
		c.out.end(websocket.CloseProtocolError, malformed.rule)
	case !errors.As(err, &timeout) || !timeout.Timeout():
	case c.known:
		c.out.end(websocket.CloseNormalClosure, "nothing was heard from the client")
	default:
		c.refuse("authentication timed out")
	}
}

func (c *Conn) cleanUp() {
	c.mu.Lock()
	subs := c.subs
	c.subs = nil
	c.mu.Unlock()
	for _, sub := range subs {
		sub.Close()
	}
	for _, b := range c.beginnings {
		b.cut.Close()
	}
	// What is still to be sent is: the outbox closes the connection when it is empty.
	c.out.end(websocket.CloseNormalClosure, "")
	c.out.wait()
	c.out.abort()
}

// read returns the next message. One over the limit is skipped and is errTooLarge.
func (c *Conn) read() (opcode byte, data []byte, err error) {
	m := messageReader{limit: uint64(max(0, c.server.config.MaxMessageBytes))}
	for {
		h, err := c.in.header()
		if err != nil {
			return 0, nil, err
		}
		if h.control() {
			if err = c.control(h); err != nil {
				return 0, nil, err
			}
			continue
		}
		if done, err := m.next(&c.in, h); done || err != nil {
			return m.opcode, m.data, err
		}
	}
}

// control answers a control frame, which may come between the frames of a message.
func (c *Conn) control(h frameHeader) error {
	payload := make([]byte, 0, maxControl)
	if err := c.in.payload(h, func(piece []byte) { payload = append(payload, piece...) }); err != nil {
		return err
	}
	switch h.opcode {
	case opClose:
		code, err := closeCodeOf(payload)
		if err != nil {
			return err
		}
		c.out.end(code, "")
		return errClosing
	case opPing:
		c.out.force(func(dst []byte) []byte { return append(appendFrame(dst, opPong, len(payload)), payload...) })
	}
	return c.extend()
}

// speaks is the protocol of what is sent. compress=false in the URL has the last word, whatever was settled and is
// told to the client.
func (c *Conn) speaks() protocol {
	return protocol{msgpack: c.protocol.msgpack, gzip: c.protocol.gzip && !c.noGzip}
}

// send puts a message into the outbox.
func (c *Conn) send(message []byte) {
	p := c.speaks()
	size := len(message) + maxFrameHeader
	if !c.out.put(size, func(dst []byte) []byte { return c.server.codec.appendMessage(dst, p, message) }) {
		c.tooSlow()
	}
}

// fail sends an error message.
func (c *Conn) fail(id, code, text string) { c.send(errorMessage(id, code, text)) }

// refuse ends a connection whose caller did not prove anything. The answer is JSON whatever was chosen.
func (c *Conn) refuse(text string) { c.refuseWith(websocket.ClosePolicyViolation, text) }

// refuseWith lets the close code say whether another attempt can help.
func (c *Conn) refuseWith(code int, text string) {
	c.out.endWith(code, text, false, func(dst []byte) []byte {
		return c.server.codec.appendMessage(dst, protocol{}, authError(text))
	})
}

// tooSlow ends a connection that does not read what it is sent.
func (c *Conn) tooSlow() {
	const text = "the client reads too slowly; resume from the last _seq received"
	p := c.speaks()
	c.mu.Lock()
	ids := make([]string, 0, len(c.subs))
	for id := range c.subs {
		ids = append(ids, id)
	}
	c.mu.Unlock()
	c.out.endWith(websocket.CloseTryAgainLater, text, true, func(dst []byte) []byte {
		for _, id := range ids {
			dst = c.server.codec.appendMessage(dst, p, errorMessage(id, codeSlowConsumer, text))
		}
		return dst
	})
}

// Deliver implements live.Sink.
func (c *Conn) Deliver(notifications []live.Notification) {
	p, size := c.speaks(), 0
	for _, n := range notifications {
		frame := c.server.codec.changeOf(p, n)
		size += frame.frameSize()
	}
	var ok bool
	if size >= sharedFrom {
		ok = c.out.share(size, notifications)
	} else {
		ok = c.out.put(size, func(dst []byte) []byte {
			for _, n := range notifications {
				frame := c.server.codec.changeOf(p, n)
				dst = frame.append(dst)
			}
			return dst
		})
	}
	if !ok {
		c.tooSlow()
	}
}

// encode is the encoding of its outbox. Deliver has made whatever form of the event it needs.
func (c *Conn) encode(dst []byte, n live.Notification) (out, body, tail []byte) {
	frame := c.server.codec.changeOf(c.speaks(), n)
	return frame.encode(dst)
}

// Ended implements live.Sink.
func (c *Conn) Ended(sub *live.Subscription, why *live.Error) {
	c.mu.Lock()
	if c.subs[sub.ID] == sub {
		delete(c.subs, sub.ID)
	}
	c.mu.Unlock()
	c.send(endMessage(sub.ID, why))
}

// authenticate proves the caller by a token and answers.
func (c *Conn) authenticate(ctx context.Context, token string, p protocol) bool {
	bound, cancel := context.WithTimeout(ctx, c.server.config.RequestTimeout)
	defer cancel()
	identity, err := c.server.config.Auth.Authenticate(bound, token)
	if err != nil {
		if _, refused := auth.ReasonOf(err); refused {
			c.refuse(err.Error())
			return false
		}
		c.server.config.Logger.LogAttrs(ctx, slog.LevelInfo, "a live connection could not be authenticated", slog.Any("error", err))
		c.refuseWith(websocket.CloseTryAgainLater, "the server cannot authenticate now; try again")
		return false
	}
	c.caller, c.known = identity.Session("default", c.clientIP), true
	c.sawCaller(c.caller.User)
	c.out.force(func(dst []byte) []byte {
		return c.server.codec.appendMessage(dst, protocol{}, authSuccess(string(c.caller.User), c.caller.Role, p))
	})
	c.protocol = p
	return true
}
