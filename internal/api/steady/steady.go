// Package steady serves connections whose requests are all alike: POSTs to one path, in the form in which programs send them.
//
// To net/http each request of a connection is a new one: two goroutines, four deadlines, a parsed head and a dozen objects, which together
// cost more than a small statement. Here one goroutine reads a request, calls the same http.Handler and writes the answer with one
// write. What it takes is narrow on purpose: HTTP/1.1, POST to Config.Path, header fields of a short list, each once, a body whose length is
// announced and small, all of it there within Config.Rest. At the first byte of anything else the connection goes to net/http, with all that was read of
// the request and for good: unusual requests, broken ones, other paths, browsers, WebSockets and HTTP/2 are judged there and nowhere
// else.
//
// What always holds:
//
//   - No request is answered in part here and in part there, and none twice: a connection changes hands between requests only.
//   - The handler cannot tell the difference: its request has the same fields, its context ends when the client goes (of a request that takes
//     longer than a moment), its answer may be of any length, and a panic with http.ErrAbortHandler cuts the connection.
//   - A connection that is silent, or that does not take its answer, is closed in the times of Config.
//   - Drain cuts off no request that has begun to come; a new connection has Config.Rest to send its first one.
//
// Handlers get no more than they need: the context is that of the connection and does not end with the request, http.ResponseController can set write
// deadlines and nothing else, answers have a body (no status of 1xx, 204 or 304) and name its type.
//
// Front takes the connections of a listener; httpapi is the only user. The header of a request may be that of the request before it on the same connection: handlers
// must not change it.
package steady

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// Config says what is served and for how long.
type Config struct {
	Handler http.Handler  // required
	Logger  *slog.Logger  // required; is told of mistakes of ours
	Path    string        // required
	Header  time.Duration // how long a new connection may be silent; zero is without end
	Idle    time.Duration // how long a connection may be silent between requests; zero is without end
	Rest    time.Duration // how long the rest of a request may take before the connection goes to net/http; zero is a second
	Write   time.Duration // how long a client may take no part of an answer; zero is without end
}

// Front serves the connections of a listener as long as their requests are usual.
type Front struct {
	config Config

	mu       sync.Mutex // guards what is below
	conns    map[*conn]struct{}
	draining bool
	empty    chan struct{} // closed when the last connection is gone while draining; nil before
}

// New returns a front that serves nothing yet.
func New(c Config) *Front {
	if c.Rest == 0 {
		c.Rest = time.Second
	}
	return &Front{config: c, conns: make(map[*conn]struct{})}
}

// Listener takes the connections of a listener. Those that are not served here come out of the result, which closes the listener.
func (f *Front) Listener(l net.Listener) net.Listener {
	o := &others{Listener: l, front: f, accepted: make(chan accepted), closed: make(chan struct{})}
	go o.run()
	return o
}

// Drain lets no further request begin: silent connections are closed, the others once they have answered. Connections that come later go to net/http.
func (f *Front) Drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.draining {
		return
	}
	f.draining, f.empty = true, make(chan struct{})
	if len(f.conns) == 0 {
		close(f.empty)
	}
	for c := range f.conns {
		c.drain()
	}
}

// Wait returns when the last connection is gone, after Drain.
func (f *Front) Wait(ctx context.Context) error {
	select {
	case <-f.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Cut closes all connections at once and ends the contexts of their requests.
func (f *Front) Cut() {
	f.Drain()
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.cancel()
		_ = c.Close() // nobody is left to tell
	}
}

// add takes in a connection; false says that no more are served.
func (f *Front) add(c *conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.draining {
		return false
	}
	f.conns[c] = struct{}{}
	return true
}

func (f *Front) remove(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
	if f.draining && len(f.conns) == 0 {
		close(f.empty)
	}
}

// others is the listener of the connections that are not served here.
type others struct {
	net.Listener
	front    *Front
	accepted chan accepted
	once     sync.Once
	closed   chan struct{}
}

// accepted is a connection that changes hands, or an error of the listener.
type accepted struct {
	conn net.Conn
	err  error
}

// run accepts until the listener is closed. Its errors go to who serves the others, which knows which of them pass.
func (o *others) run() {
	for {
		raw, err := o.Listener.Accept()
		switch {
		case err == nil:
			go serve(o, raw)
		case !o.pass(accepted{err: err}) || errors.Is(err, net.ErrClosed):
			return
		}
	}
}

// pass hands something over; false says that nobody takes it any more.
func (o *others) pass(a accepted) bool {
	select {
	case o.accepted <- a:
		return true
	case <-o.closed:
		return false
	}
}

// Accept implements net.Listener.
func (o *others) Accept() (net.Conn, error) {
	select {
	case a := <-o.accepted:
		return a.conn, a.err
	case <-o.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (o *others) Close() error {
	o.once.Do(func() { close(o.closed) })
	return o.Listener.Close()
}

// replayed is a connection of which some was read already.
type replayed struct {
	net.Conn
	rest []byte
}

// Read implements net.Conn.
func (r *replayed) Read(p []byte) (int, error) {
	if len(r.rest) == 0 || len(p) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		r.rest = nil
	}
	return n, nil
}

// SyscallConn implements syscall.Conn. Live connections are so written to without waiting.
func (r *replayed) SyscallConn() (syscall.RawConn, error) {
	plain, ok := r.Conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("a %T is no connection of the system: %w", r.Conn, errors.ErrUnsupported)
	}
	return plain.SyscallConn()
}
