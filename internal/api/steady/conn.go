package steady

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

const (
	firstBytes = 4 << 10
	// moment is how long a request may run before its connection is watched: a client that goes ends it.
	moment = 20 * time.Millisecond
	// slack is the part of a time limit by which a deadline may be early: deadlines of each request would cost more than they are worth.
	slack = 8
	// maxBlank is how many line ends between two requests are passed over. Some clients send one behind a body, and net/http passes over as many.
	maxBlank = 4
)

// conn serves one connection. Its fields belong to its goroutine, but for those that are said to be shared.
type conn struct {
	net.Conn
	others *others
	config *Config
	ctx    context.Context //nolint:containedctx // of all its requests; ends when the client goes
	cancel context.CancelFunc

	mu       sync.Mutex  // guards silent, and the read deadline while it is set
	silent   bool        // shared: no byte of a request has come
	draining atomic.Bool // shared; set under mu

	fresh    bool   // nothing was answered yet
	begun    bool   // a part of a request is there, and the rest has its deadline
	blank    int    // line ends that were passed over before the request
	in       []byte // received and not used up
	head     head
	request  *http.Request
	body     body
	answer   answer
	readable time.Time // when the read deadline was set last
	writable time.Time // when the write deadline was set last
	limited  bool      // the write deadline is one of the handler's

	watch   watch
	pending error // what the watch has read instead of a byte
}

// body is that of the request at hand.
type body struct{ rest []byte }

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	if b.rest = b.rest[n:]; len(b.rest) == 0 {
		return n, io.EOF
	}
	return n, nil
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.rest = nil
	return nil
}

// serve answers the usual requests of a connection. It ends by closing it or handing it over.
func serve(o *others, raw net.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	c := &conn{Conn: raw, others: o, config: &o.front.config, ctx: ctx, cancel: cancel, fresh: true, in: make([]byte, 0, firstBytes)}
	c.answer.conn, c.answer.header = c, make(http.Header)
	c.watch.conn = c
	c.request = (&http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: c.config.Path}, RequestURI: c.config.Path,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: raw.RemoteAddr().String(),
	}).WithContext(ctx)
	defer cancel()
	if !o.front.add(c) {
		if !o.pass(accepted{conn: raw}) { // net/http knows what to do with a connection that comes late
			_ = raw.Close() // there is nobody to tell
		}
		return
	}
	defer o.front.remove(c)
	handedOver := false
	defer func() {
		// One connection is lost, not the node.
		if cause := recover(); cause != nil {
			c.config.Logger.LogAttrs(ctx, slog.LevelError, "a connection of clients panicked", slog.Any("cause", cause), slog.String("stack", string(debug.Stack())))
		}
		if !handedOver {
			_ = raw.Close() // there is nobody to tell
		}
	}()
	if c.run() {
		rest := &replayed{Conn: raw, rest: append([]byte(nil), c.in...)}
		handedOver = raw.SetDeadline(time.Time{}) == nil && o.pass(accepted{conn: rest})
	}
}

// run answers requests until the connection ends or, with true, sends something else.
func (c *conn) run() (handOver bool) {
	start := "POST " + c.config.Path + " HTTP/1.1\r\n"
	for {
		if !c.fresh {
			c.skipBlank()
		}
		switch c.head.read(c.in, start) {
		case unusual:
			return true
		case whole:
			if c.fresh {
				c.fresh, c.readable = false, time.Time{} // another time limit from here on
			}
			c.begun, c.blank = false, 0
			if !c.answerOne() {
				return false
			}
		case partial:
			if len(c.in) == 0 {
				if !c.await() {
					return false
				}
			} else if !c.more() {
				return true // net/http judges what is cut off or slow
			}
		}
	}
}

// skipBlank passes over line ends before a request.
func (c *conn) skipBlank() {
	n := 0
	for n < len(c.in) && c.blank < maxBlank && (c.in[n] == '\r' || c.in[n] == '\n') {
		n++
		c.blank++
	}
	if n > 0 {
		c.in = c.in[:copy(c.in, c.in[n:])]
	}
}

// last reports whether the answer at hand is the last one.
func (c *conn) last() bool { return c.draining.Load() }

// drain ends the connection when it is silent, or else behind the answer at hand. It is called by others. A request that has begun to come may
// come to its end, and a new connection, of which the client cannot know that it is not wanted, has as long to send one.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining.Store(true)
	if c.silent {
		_ = c.SetReadDeadline(c.lastChance()) // it is closed in any case
	}
}

// lastChance is until when a silent connection that is drained is heard.
func (c *conn) lastChance() time.Time {
	if c.fresh {
		return time.Now().Add(c.config.Rest)
	}
	return time.Unix(1, 0)
}

// await waits for the next request of a silent connection.
func (c *conn) await() bool {
	limit := c.config.Idle
	if c.fresh {
		limit = c.config.Header
	}
	if now := time.Now(); c.readable.IsZero() || limit > 0 && now.Sub(c.readable) > limit/slack {
		if err := c.SetReadDeadline(after(now, limit)); err != nil {
			return false
		}
		c.readable = now
	}
	c.mu.Lock()
	c.silent = true
	var err error
	if c.draining.Load() {
		err = c.SetReadDeadline(c.lastChance())
	}
	c.mu.Unlock()
	if err == nil {
		err = c.receive()
	}
	c.mu.Lock()
	c.silent = false
	c.mu.Unlock()
	return err == nil
}

// more waits for the rest of a request; false says that it does not come in time.
func (c *conn) more() bool {
	if !c.begun {
		c.begun, c.readable = true, time.Time{}
		if err := c.SetReadDeadline(time.Now().Add(c.config.Rest)); err != nil {
			return false
		}
	}
	return c.receive() == nil
}

// after is the deadline of a limit, which is none when it is zero.
func after(now time.Time, limit time.Duration) time.Time {
	if limit == 0 {
		return time.Time{}
	}
	return now.Add(limit)
}

// receive reads once.
func (c *conn) receive() error {
	if c.pending != nil {
		return c.pending
	}
	if len(c.in) == cap(c.in) {
		c.in = append(c.in, 0)[:len(c.in)]
	}
	n, err := c.Read(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	if n > 0 {
		return nil
	}
	return err
}

// answerOne runs the handler on the request at the front of in; false says that the connection ends.
func (c *conn) answerOne() (goOn bool) {
	end := len(c.head.raw) + c.head.length
	c.body.rest = c.in[len(c.head.raw):end]
	r := c.request
	r.Header, r.Host, r.ContentLength, r.Body = c.head.header, c.head.host, int64(c.head.length), &c.body
	if limit, now := c.config.Write, time.Now(); c.limited || limit > 0 && now.Sub(c.writable) > limit/slack {
		if err := c.SetWriteDeadline(after(now, limit)); err != nil {
			return false
		}
		c.writable, c.limited = now, false
	}
	c.answer.reset()
	c.watch.begin()
	defer func() {
		cause := recover()
		early := c.watch.end()
		if cause != nil {
			if cause != http.ErrAbortHandler { //nolint:errorlint // a cause is no chain of errors
				panic(cause)
			}
			goOn = false
			return
		}
		if goOn {
			c.use(end, early)
		}
	}()
	c.config.Handler.ServeHTTP(&c.answer, r)
	return c.answer.finish() && !c.last() && !c.answer.closes()
}

// use takes a request that was answered out of in, behind which a watch may have read a byte.
func (c *conn) use(end int, early []byte) {
	rest := copy(c.in, c.in[end:])
	if c.in = append(c.in[:rest], early...); cap(c.in) > keepBytes && len(c.in) <= firstBytes {
		c.in = append(make([]byte, 0, firstBytes), c.in...)
	}
}

// watch notices that the client goes while a request runs. Only one that runs for longer than a moment is watched.
type watch struct {
	conn  *conn
	timer *time.Timer

	mu      sync.Mutex // guards what is below
	running bool
	reading chan struct{} // closed when the read has ended; nil without one
	got     [1]byte
	n       int
	err     error
}

func (w *watch) begin() {
	w.mu.Lock()
	w.running = true
	w.mu.Unlock()
	if w.timer == nil {
		w.timer = time.AfterFunc(moment, w.read)
		return
	}
	w.timer.Reset(moment)
}

// read waits for a byte, which is none of the request's, or for the end of the connection.
func (w *watch) read() {
	w.mu.Lock()
	if !w.running || w.reading != nil {
		w.mu.Unlock()
		return
	}
	done := make(chan struct{})
	w.reading = done
	w.mu.Unlock()
	// The deadline that the wait for the request has left does not bound the answer to it.
	err := w.conn.SetReadDeadline(time.Time{})
	n := 0
	w.mu.Lock()
	stopped := !w.running
	w.mu.Unlock()
	if err == nil && !stopped {
		n, err = w.conn.Read(w.got[:])
	}
	w.mu.Lock()
	w.n, w.err = n, err
	// A deadline that has passed is that of end. Other failures that are called timeouts are those of a client that does not answer any more.
	gone := err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && w.running
	w.mu.Unlock()
	if gone {
		w.conn.cancel()
	}
	close(done)
}

// end stops the watch and returns what it has read.
func (w *watch) end() []byte {
	w.timer.Stop()
	w.mu.Lock()
	w.running = false
	reading := w.reading
	w.mu.Unlock()
	if reading == nil {
		return nil
	}
	_ = w.conn.SetReadDeadline(time.Unix(1, 0)) // a connection that is closed ends the read as well
	<-reading
	w.mu.Lock()
	w.reading = nil
	w.mu.Unlock()
	w.conn.readable = time.Time{}
	if w.err != nil && !errors.Is(w.err, os.ErrDeadlineExceeded) {
		w.conn.pending = w.err
	}
	return w.got[:w.n]
}
