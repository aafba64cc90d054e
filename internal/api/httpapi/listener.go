package httpapi

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kalamdb/kalamdb-go/internal/api/ratelimit"
)

// guardedListener refuses connections beyond the bounds of its gate, with an answer that HTTP clients read.
type guardedListener struct {
	net.Listener
	gate    *ratelimit.Gate
	refused prometheus.Counter
}

// refusalTimeout bounds the time that a refusal may take; it is a few hundred bytes into an empty socket.
const refusalTimeout = 100 * time.Millisecond

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
		refuseConnection(conn)
	}
}

// refuseConnection says why on a best effort and closes.
func refuseConnection(conn net.Conn) {
	const body = `{"error":"TOO_MANY_CONNECTIONS","message":"Too many open connections; try again later"}`
	_ = conn.SetDeadline(time.Now().Add(refusalTimeout))
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: %s\r\nContent-Length: %d\r\n"+
		"Retry-After: 1\r\nConnection: close\r\n\r\n%s", contentTypeJSON, len(body), body)
	_ = conn.Close()
}

// guardedConn gives its place back when it closes.
type guardedConn struct {
	net.Conn
	gate *ratelimit.Gate
	key  string
	left atomic.Bool
}

// Close implements net.Conn.
func (c *guardedConn) Close() error {
	if !c.left.Swap(true) {
		defer c.gate.Leave(c.key)
	}
	return c.Conn.Close()
}
