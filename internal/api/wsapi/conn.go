package wsapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

// Conn is one client. Its reader is the only goroutine that it always has.
type Conn struct {
	server     *Server
	number     uint64 // among the connections of this node
	ws         *websocket.Conn
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
func (c *Conn) open(ws *websocket.Conn) {
	cfg := &c.server.config
	c.ws = ws
	c.out = newOutbox(ws.NetConn(), cfg.OutboxBytes, cfg.WriteTimeout, &c.server.buffers)
	ws.SetPingHandler(func(data string) error {
		c.out.force(func(dst []byte) []byte { return append(appendFrame(dst, opPong, len(data)), data...) })
		return c.extend()
	})
	ws.SetPongHandler(func(string) error { return c.extend() })
	ws.SetCloseHandler(func(code int, _ string) error {
		if code == websocket.CloseNoStatusReceived {
			code = websocket.CloseNormalClosure
		}
		c.out.end(code, "")
		return nil
	})
	c.deadline = time.Now().Add(cfg.AuthTimeout)
	c.tokens, c.refilled = float64(cfg.MaxMessagesPerSec), time.Now()
}

// extend moves the time by which the next frame must come.
func (c *Conn) extend() error {
	if !c.known {
		return c.ws.SetReadDeadline(c.deadline)
	}
	return c.ws.SetReadDeadline(time.Now().Add(c.server.config.IdleTimeout))
}

// run reads until the connection ends and cleans up after it.
func (c *Conn) run() {
	// A context of its own would stay with an idle connection, and nothing runs when this returns.
	ctx := c.server.stopping
	defer c.cleanUp()
	if c.fromHeader {
		accepted := false
		aside(func() { accepted = c.authenticate(ctx, c.token, c.protocol) })
		if c.token = ""; !accepted {
			return
		}
	}
	for {
		if c.extend() != nil {
			return
		}
		kind, data, err := c.read()
		switch {
		case errors.Is(err, errTooLarge):
			c.fail(idProtocol, codeMessageTooLarge, "the message is too large")
			continue
		case err != nil:
			c.lost(err)
			return
		}
		// On a goroutine of its own: what it needs of stack would stay with an idle connection.
		goesOn := false
		aside(func() { goesOn = c.handle(ctx, kind, data) })
		if !goesOn {
			return
		}
	}
}

// aside runs a function on a goroutine of its own and waits for it.
func aside(run func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		run()
	}()
	<-done
}

// lost answers for a connection that cannot be read any more.
func (c *Conn) lost(err error) {
	var timeout net.Error
	switch {
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

// maxSkipped is how much of an oversized message is read to its end; a longer one ends the connection.
const maxSkipped = 64 << 20

// read returns the next message. One over the limit is skipped and is errTooLarge.
func (c *Conn) read() (kind int, data []byte, err error) {
	kind, reader, err := c.ws.NextReader()
	if err != nil {
		return 0, nil, err
	}
	limit := c.server.config.MaxMessageBytes
	if data, err = io.ReadAll(io.LimitReader(reader, limit+1)); err != nil {
		return 0, nil, err
	}
	if int64(len(data)) <= limit {
		return kind, data, nil
	}
	skipped, err := io.CopyN(io.Discard, reader, maxSkipped)
	if errors.Is(err, io.EOF) {
		return 0, nil, errTooLarge
	}
	if err == nil && skipped == maxSkipped {
		err = errors.New("the message does not end")
	}
	return 0, nil, err
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
func (c *Conn) refuse(text string) {
	c.out.endWith(websocket.ClosePolicyViolation, text, false, func(dst []byte) []byte {
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
	frames := make([]change, len(notifications))
	size := 0
	for i, n := range notifications {
		frames[i] = c.server.codec.changeOf(c.speaks(), n)
		size += frames[i].size() + maxFrameHeader
	}
	ok := c.out.put(size, func(dst []byte) []byte {
		for i := range frames {
			dst = frames[i].append(dst)
		}
		return dst
	})
	if !ok {
		c.tooSlow()
	}
}

// Ended implements live.Sink.
func (c *Conn) Ended(sub *live.Subscription, why *live.Error) {
	c.mu.Lock()
	if c.subs[sub.ID] == sub {
		delete(c.subs, sub.ID)
	}
	c.mu.Unlock()
	c.fail(sub.ID, string(why.Code), why.Message)
}

// authenticate proves the caller by a token and answers.
func (c *Conn) authenticate(ctx context.Context, token string, p protocol) bool {
	bound, cancel := context.WithTimeout(ctx, c.server.config.RequestTimeout)
	defer cancel()
	identity, err := c.server.config.Auth.Authenticate(bound, token)
	if err != nil {
		text := "the server cannot authenticate now; try again"
		if _, refused := auth.ReasonOf(err); refused {
			text = err.Error()
		} else {
			c.server.config.Logger.LogAttrs(ctx, slog.LevelInfo, "a live connection could not be authenticated", slog.Any("error", err))
		}
		c.refuse(text)
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
