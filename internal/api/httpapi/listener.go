package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kalamdb/kalamdb-go/internal/api/ratelimit"
)

// guardedListener refuses connections beyond the bounds of its gate, with an answer that HTTP clients read.
type guardedListener struct {
	net.Listener
	gate    *ratelimit.Gate
	refused prometheus.Counter
	// refusing has a place for each refusal under way; a connection that finds none free is closed without a word.
	refusing chan struct{}
}

const (
	// maxRefusals bounds the refusals under way at a time.
	maxRefusals = 64
	// refusalTimeout bounds each half of a refusal: to wait for the request, and to read what is left of it after the answer.
	refusalTimeout = 500 * time.Millisecond
	// maxRefusedBytes is how much of a refused request is read, so that the answer to it is not lost.
	maxRefusedBytes = 256 << 10
)

func newGuardedListener(l net.Listener, gate *ratelimit.Gate, refused prometheus.Counter) *guardedListener {
	return &guardedListener{Listener: l, gate: gate, refused: refused, refusing: make(chan struct{}, maxRefusals)}
}

// Accept implements net.Listener.
func (l *guardedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		key := ""
		if addr := addrOf(conn.RemoteAddr().String()); !addr.IsLoopback() {
			key = rateKey(addr)
		}
		if l.gate.Enter(key) {
			return &guardedConn{Conn: conn, gate: l.gate, key: key}, nil
		}
		l.refused.Inc()
		select {
		case l.refusing <- struct{}{}:
			go func() {
				defer func() { <-l.refusing }()
				refuseConnection(conn)
			}()
		default:
			_ = conn.Close()
		}
	}
}

// refuseConnection says why on a best effort and closes. The answer waits for the first byte of the request, since clients discard what
// reaches them before they have asked; and the rest of the request is read, since a socket that closes with unread bytes is reset, which
// can take the answer from the client.
func refuseConnection(conn net.Conn) {
	const body = `{"error":"TOO_MANY_CONNECTIONS","message":"Too many open connections; try again later"}`
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(refusalTimeout))
	_, _ = conn.Read(make([]byte, 1))
	_ = conn.SetDeadline(time.Now().Add(refusalTimeout))
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: %s\r\nContent-Length: %d\r\n"+
		"Retry-After: 1\r\nConnection: close\r\n\r\n%s", contentTypeJSON, len(body), body); err != nil {
		return
	}
	if half, can := conn.(interface{ CloseWrite() error }); can && half.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, conn, maxRefusedBytes)
	}
}

// guardedConn gives its place back when it closes.
type guardedConn struct {
	net.Conn
	gate *ratelimit.Gate
	key  string
	left atomic.Bool
}

// SyscallConn implements syscall.Conn. Live connections are so written to without waiting.
func (c *guardedConn) SyscallConn() (syscall.RawConn, error) {
	plain, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("a %T is no connection of the system: %w", c.Conn, errors.ErrUnsupported)
	}
	return plain.SyscallConn()
}

// Close implements net.Conn.
func (c *guardedConn) Close() error {
	if !c.left.Swap(true) {
		defer c.gate.Leave(c.key)
	}
	return c.Conn.Close()
}
