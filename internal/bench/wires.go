package bench

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// wires are the connections between servers, each through a forwarder of this process, so that a server can
// be cut off from the others while clients still reach it. A cut wire swallows what is sent, as a broken
// network does; it does not close the connection.
type wires struct {
	mu     sync.Mutex // guards all below
	all    []*wire
	closed bool
	moving sync.WaitGroup
}

// wire is one direction of dialling: from one server to another.
type wire struct {
	from, to int
	target   string
	listener net.Listener
	isCut    bool // guarded by wires.mu
	open     map[net.Conn]bool
	mended   *sync.Cond
}

// add makes a wire and returns the address at which the first server reaches the second.
func (w *wires) add(from, to int, target string) (string, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("lay a wire: %w", err)
	}
	one := &wire{from: from, to: to, target: target, listener: listener, open: map[net.Conn]bool{}, mended: sync.NewCond(&w.mu)}
	w.mu.Lock()
	w.all = append(w.all, one)
	w.mu.Unlock()
	w.moving.Go(func() { w.accept(one) })
	return listener.Addr().String(), nil
}

func (w *wires) accept(one *wire) {
	for {
		near, err := one.listener.Accept()
		if err != nil {
			return // closed
		}
		w.moving.Go(func() { w.carry(one, near) })
	}
}

// carry connects one accepted connection with its target and moves bytes both ways until either ends.
func (w *wires) carry(one *wire, near net.Conn) {
	w.waitMended(one)
	far, err := new(net.Dialer).DialContext(context.Background(), "tcp", one.target)
	if err != nil {
		_ = near.Close() // the server sees that nobody is there
		return
	}
	w.mu.Lock()
	one.open[near], one.open[far] = true, true
	closed := w.closed
	w.mu.Unlock()
	if closed {
		w.hangUp(one, near, far)
		return
	}
	w.moving.Go(func() { w.pipe(one, far, near) })
	w.pipe(one, near, far)
}

func (w *wires) pipe(one *wire, from, to net.Conn) {
	defer w.hangUp(one, from, to)
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		w.waitMended(one)
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (w *wires) hangUp(one *wire, ends ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, end := range ends {
		delete(one.open, end)
		_ = end.Close() // the other side learns it by that
	}
}

func (w *wires) waitMended(one *wire) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one.isCut && !w.closed {
		one.mended.Wait()
	}
}

// cut separates a server from all others.
func (w *wires) cut(server int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.all {
		if one.from == server || one.to == server {
			one.isCut = true
		}
	}
}

// mend reconnects everything. Connections that were cut are broken, as after a real outage.
func (w *wires) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.all {
		if !one.isCut {
			continue
		}
		one.isCut = false
		for end := range one.open {
			_ = end.Close()
		}
		one.mended.Broadcast()
	}
}

func (w *wires) close() {
	w.mu.Lock()
	w.closed = true
	for _, one := range w.all {
		_ = one.listener.Close()
		for end := range one.open {
			_ = end.Close()
		}
		one.mended.Broadcast()
	}
	w.mu.Unlock()
	w.moving.Wait()
}
