package client

import (
	"context"
	"net"
	"sync"
	"time"
)

// heardConn is a connection whose reader gives up when nothing at all comes for too long. While nobody reads, no time passes.
type heardConn struct {
	net.Conn
	silence time.Duration

	mu    sync.Mutex // guards limit
	limit time.Time  // set by its user; zero for none
}

// dialHeard connects for a subscription.
func (c *Client) dialHeard(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &heardConn{Conn: conn, silence: c.silence}, nil
}

// Read implements net.Conn.
func (h *heardConn) Read(data []byte) (int, error) {
	if err := h.extend(); err != nil {
		return 0, err
	}
	return h.Conn.Read(data)
}

func (h *heardConn) extend() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.apply()
}

// SetReadDeadline implements net.Conn. The deadline counts beside the silence.
func (h *heardConn) SetReadDeadline(limit time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.limit = limit
	return h.apply()
}

// apply sets the deadline of the reads to come, and of one that is under way. The caller holds mu.
func (h *heardConn) apply() error {
	until := time.Now().Add(h.silence)
	if !h.limit.IsZero() && h.limit.Before(until) {
		until = h.limit
	}
	return h.Conn.SetReadDeadline(until)
}
