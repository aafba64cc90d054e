package wsapi

import (
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// drains empties the outboxes of a server. A few goroutines, started when there is something to do, write for all connections
// that take what they are sent at once, which are nearly all: a write that does not wait takes a few microseconds, less than
// it takes to start a goroutine for it and to let it find a processor. Whoever does not take everything gets a goroutine of
// its own, so nobody waits for a slow client.
type drains struct {
	pool sync.Pool // of *[]byte

	mu      sync.Mutex // guards everything below
	queue   []*outbox  // each at most once, so there are no more than connections
	next    int        // of the queue
	working int
}

// writers is how many goroutines of drains write at once at most.
func writers() int { return runtime.GOMAXPROCS(0) }

// add takes an outbox with something in it.
func (d *drains) add(o *outbox) {
	d.mu.Lock()
	d.queue = append(d.queue, o)
	more := d.working < writers()
	if more {
		d.working++
	}
	d.mu.Unlock()
	if more {
		go d.work()
	}
}

// take returns an outbox, nil when the goroutine that asks is to end.
func (d *drains) take() *outbox {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next == len(d.queue) {
		d.queue, d.next = d.queue[:0], 0
		if cap(d.queue) > largestKept {
			d.queue = nil
		}
		d.working--
		return nil
	}
	o := d.queue[d.next]
	d.queue[d.next] = nil
	d.next++
	return o
}

func (d *drains) work() {
	var w promptWriter
	for o := d.take(); o != nil; o = d.take() {
		p := o.take()
		if p.left() == 0 {
			continue
		}
		switch err := w.writePortion(o.prompt, &p); {
		case err != nil:
			d.release(p.own)
			o.abort()
			o.take() // it is over
		case p.left() > 0:
			go o.drain(p)
		case o.wrote(p.own):
			d.add(o)
		}
	}
}

const (
	smallBuffer   = 2 << 10
	largestPooled = 64 << 10
	largestKept   = 1 << 10 // outboxes of a queue that is empty
)

func (d *drains) buffer() []byte {
	if kept, ok := d.pool.Get().(*[]byte); ok {
		return (*kept)[:0]
	}
	return make([]byte, 0, smallBuffer)
}

func (d *drains) release(buffer []byte) {
	if cap(buffer) > 0 && cap(buffer) <= largestPooled {
		d.pool.Put(&buffer)
	}
}

// writePortion writes what is taken at once.
func (w *promptWriter) writePortion(conn syscall.RawConn, p *portion) error {
	for p.left() > 0 {
		first := p.first()
		written, err := w.write(conn, first)
		if err != nil {
			return err
		}
		if p.wrote(written); written < len(first) {
			return nil
		}
	}
	return nil
}

// take returns what is to be written; when that is nothing, nobody drains the outbox any more.
func (o *outbox) take() portion {
	o.mu.Lock()
	if o.held.bytes > 0 && !o.gone {
		p, _ := o.held.next(o.encode, o.drains.buffer)
		o.writing = p.left()
		o.mu.Unlock()
		return p
	}
	o.draining, o.writing = false, 0
	o.drains.release(o.held.own)
	o.held = backlog{}
	over := o.ending && !o.gone
	o.gone = o.gone || over
	o.mu.Unlock()
	if over {
		_ = o.conn.Close() // the close frame is written
	}
	o.signal()
	o.workers.Done()
	return portion{}
}

// wrote notes that everything taken is written, and reports whether there is more.
func (o *outbox) wrote(out []byte) (more bool) {
	o.drains.release(out)
	o.mu.Lock()
	o.writing = 0
	more = o.held.bytes > 0 || o.ending || o.gone
	if !more {
		o.draining = false
		o.workers.Done()
	}
	o.mu.Unlock()
	o.signal()
	return more
}

// drain writes until nothing is held, and waits for the client. Of p a part may be written already.
//
// A client that takes nothing for the timeout is too slow, whatever is held: it is to be told so, but a frame has begun and
// the notice can only come behind it. So what is left of that frame stays, all other frames are given up, and the notice and
// the close frame come next. If the client does not take them within the grace it is cut off; then there is no way to tell it.
func (o *outbox) drain(p portion) {
	var last time.Time // when it is cut off; zero while it is not too slow
	for {
		if p.left() == 0 {
			if p.own != nil && !o.wrote(p.own) {
				return
			}
			if p = o.take(); p.left() == 0 {
				return
			}
		}
		until := last
		if last.IsZero() {
			until = time.Now().Add(o.timeout)
		}
		n, err := o.waitingWrite(p.first(), until)
		p.wrote(n)
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded) || !last.IsZero():
			o.abort()
			p.parts = [3][]byte{}
		case n == 0 || o.over():
			p.giveUp()
			last = time.Now().Add(o.grace)
			o.giveUp()
		}
	}
}

// giveUp puts the notice in the place of what is held, unless it is there.
func (o *outbox) giveUp() {
	o.mu.Lock()
	if !o.told {
		// An end that was to come behind what is held would hide that it is missing.
		o.held.clear()
		o.ending = false
	}
	o.mu.Unlock()
	o.stuck()
}

// over reports whether nothing more is taken.
func (o *outbox) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ending || o.gone
}

// waitingWrite writes with a deadline, which does not stay: writes that do not wait would meet it.
func (o *outbox) waitingWrite(data []byte, until time.Time) (n int, err error) {
	if err = o.conn.SetWriteDeadline(until); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, ignoreClosed(o.conn.SetWriteDeadline(time.Time{}))) }()
	return o.conn.Write(data)
}

// ignoreClosed takes a connection that somebody has closed meanwhile for no failure of its own.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
