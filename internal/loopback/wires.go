package loopback

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// Direction says in which direction bytes travel: from one server to another.
type Direction func(from, to int) bool

// Wires are the connections between servers, each through a forwarder of this process, so that servers can be
// cut off from each other while clients still reach them. What travels in a direction that is cut is swallowed, as in a
// broken network; connections stay open until Mend. Servers are told apart by numbers of the caller's choice.
//
// Any goroutine may call any method. Close ends every connection and waits for what moves bytes.
type Wires struct {
	mu     sync.Mutex // guards all below
	mended *sync.Cond // broadcast when anything is mended or closed
	all    []*wire
	held   int
	closed bool
	moving sync.WaitGroup
}

// wire is one direction of dialling: from one server to another. Bytes travel on it in both directions.
type wire struct {
	from, to int
	target   string
	listener net.Listener
	there    lane // guarded by Wires.mu
	back     lane // guarded by Wires.mu
	open     map[net.Conn]bool
}

// lane is what happens to bytes in one direction.
type lane struct {
	cut   bool
	delay time.Duration
}

// NewWires returns wires without any wire.
func NewWires() *Wires {
	w := &Wires{}
	w.mended = sync.NewCond(&w.mu)
	return w
}

// Lay makes a wire and returns the address at which the first server reaches the second, which listens on target.
func (w *Wires) Lay(ctx context.Context, from, to int, target string) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("lay a wire: %w", err)
	}
	one := &wire{from: from, to: to, target: target, listener: listener, open: map[net.Conn]bool{}}
	w.mu.Lock()
	w.all = append(w.all, one)
	w.mu.Unlock()
	w.moving.Go(func() { w.accept(one) })
	return listener.Addr().String(), nil
}

func (w *Wires) accept(one *wire) {
	for {
		near, err := one.listener.Accept()
		if err != nil {
			return // closed
		}
		w.moving.Go(func() { w.carry(one, near) })
	}
}

// carry connects one accepted connection with its target and moves bytes both ways until either ends.
func (w *Wires) carry(one *wire, near net.Conn) {
	w.await(&one.there)
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
	w.moving.Go(func() { w.pipe(one, &one.back, far, near) })
	w.pipe(one, &one.there, near, far)
}

func (w *Wires) pipe(one *wire, through *lane, from, to net.Conn) {
	defer w.hangUp(one, from, to)
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		w.await(through)
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (w *Wires) hangUp(one *wire, ends ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, end := range ends {
		delete(one.open, end)
		_ = end.Close() // the other side learns it by that
	}
}

// await holds bytes back for as long as their lane is slow or cut.
func (w *Wires) await(through *lane) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if through.delay > 0 || through.cut {
		w.held++
	}
	if delay := through.delay; delay > 0 && !w.closed {
		w.mu.Unlock()
		<-clock.Real{}.NewTimer(delay).C() // it is the latency that was asked for
		w.mu.Lock()
	}
	for through.cut && !w.closed {
		w.mended.Wait()
	}
}

// Cut swallows what travels in the directions that are chosen.
func (w *Wires) Cut(chosen Direction) {
	w.each(chosen, func(l *lane) { l.cut = true })
}

// Delay holds up what travels in the directions that are chosen. Bytes arrive in order, so that it bounds the
// throughput too.
func (w *Wires) Delay(chosen Direction, by time.Duration) {
	w.each(chosen, func(l *lane) { l.delay = by })
}

// Held counts how often bytes, or a connection, came to a direction that was cut or slow: what shows that a fault hit anything.
func (w *Wires) Held() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held
}

func (w *Wires) each(chosen Direction, change func(*lane)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.all {
		if chosen(one.from, one.to) {
			change(&one.there)
		}
		if chosen(one.to, one.from) {
			change(&one.back)
		}
	}
}

// Mend reconnects everything. Connections that were cut are broken, as after a real outage.
func (w *Wires) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.all {
		if one.there.cut || one.back.cut {
			for end := range one.open {
				_ = end.Close() // both sides learn it by that
			}
		}
		one.there, one.back = lane{}, lane{}
	}
	w.mended.Broadcast()
}

// Close ends everything.
func (w *Wires) Close() {
	w.mu.Lock()
	w.closed = true
	for _, one := range w.all {
		_ = one.listener.Close() // nothing can be lost by it
		for end := range one.open {
			_ = end.Close() // nothing can be lost by it
		}
	}
	w.mended.Broadcast()
	w.mu.Unlock()
	w.moving.Wait()
}

// Alone chooses every direction to and from one server.
func Alone(server int) Direction {
	return func(from, to int) bool { return from == server || to == server }
}
