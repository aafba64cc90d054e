package wsapi

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/live"
)

// errGone says that the connection has ended.
var errGone = errors.New("the connection has ended")

// outbox holds the frames of one connection that are not written yet. Frames are put in whole; one goroutine
// at a time writes everything that has gathered, see drains.
type outbox struct {
	conn    net.Conn
	prompt  syscall.RawConn // nil when the connection cannot be written without waiting
	timeout time.Duration   // for how long a write may take nothing
	grace   time.Duration   // for the notice to a client that took nothing for so long
	stuck   func()          // gives the notice; it must call endWith
	drains  *drains
	encode  encoding // of what is shared; set before anything is

	mu       sync.Mutex // guards everything below
	allowed  allowance
	held     backlog
	writing  int  // bytes of the write under way
	draining bool // a goroutine is at work, or will be
	ending   bool // nothing more is taken; the connection is closed when all is written
	told     bool // the end was written in the place of what was held
	gone     bool // the connection is closed
	room     chan struct{}
	workers  sync.WaitGroup
}

// allowance is how much may be held for one receiver: limit, and beyond it what one delivery brings. What one command changed comes in one
// delivery and is taken in whole, however much it is: a receiver that has everything before it would else never get past it. Behind such a
// delivery there is as much room as there was before it, and none for another.
type allowance struct {
	limit int
	whole int // size of the delivery that went over the limit; means nothing while no more than the limit is held
}

// takes reports whether there is room for size bytes beside those that are held.
func (a *allowance) takes(held, size int) bool {
	if held > a.limit {
		return held+size <= a.limit+a.whole
	}
	a.whole = 0
	if held+size > a.limit {
		a.whole = size
	}
	return true
}

func newOutbox(conn net.Conn, limit int, timeout time.Duration, all *drains, stuck func()) *outbox {
	return &outbox{
		conn: conn, prompt: promptly(conn), allowed: allowance{limit: limit}, timeout: timeout, grace: timeout, drains: all, stuck: stuck,
		room: make(chan struct{}, 1),
	}
}

// put appends what write appends, if there is room for size more bytes; see allowance. It reports false, and takes nothing, when there is
// none; it takes nothing after the end either.
func (o *outbox) put(size int, write func(dst []byte) []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.admit(size, func() { o.write(write) })
}

// share is put for what is encoded as it is written, of exactly size bytes then.
func (o *outbox) share(size int, notifications []live.Notification) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.admit(size, func() {
		o.held.share(size, slices.Clone(notifications)) // whoever delivers uses the list again
		o.begin()
	})
}

// admit takes so many bytes in, if there is room for them; it reports false if not. An outbox that is ending drops them. It needs mu.
func (o *outbox) admit(size int, take func()) bool {
	if o.ending || o.gone {
		return true
	}
	if !o.allowed.takes(o.held.bytes+o.writing, size) {
		return false
	}
	take()
	return true
}

// write appends to what is held and sees that it is drained.
func (o *outbox) write(write func(dst []byte) []byte) {
	if o.held.own == nil {
		o.held.own = o.drains.buffer()
	}
	before := len(o.held.own)
	o.held.own = write(o.held.own)
	o.held.bytes += len(o.held.own) - before
	o.begin()
}

// begin sees that what is held is drained.
func (o *outbox) begin() {
	if o.draining {
		return
	}
	o.draining = true
	o.workers.Add(1)
	if o.prompt != nil {
		o.drains.add(o)
	} else {
		go o.drain(portion{})
	}
}

// force appends a frame whatever is held; for the few frames of bounded size that a connection must not lose.
func (o *outbox) force(write func(dst []byte) []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ending && !o.gone {
		o.write(write)
	}
}

// end sends a close frame behind what is held and closes the connection then.
func (o *outbox) end(code int, reason string) { o.endWith(code, reason, false, nil) }

// endWith is end; dropped says that what is held is given up, and last is written in its place.
func (o *outbox) endWith(code int, reason string, dropped bool, last func(dst []byte) []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ending || o.gone {
		return
	}
	if dropped {
		o.held.clear()
	}
	o.write(func(dst []byte) []byte {
		if last != nil {
			dst = last(dst)
		}
		return appendClose(dst, code, reason)
	})
	o.ending, o.told = true, dropped
}

// abort closes the connection at once.
func (o *outbox) abort() {
	o.mu.Lock()
	o.gone = true
	o.held = backlog{}
	o.mu.Unlock()
	_ = o.conn.Close() // nothing is owed to the peer any more
	o.signal()
}

// wait waits until every goroutine of the outbox has ended.
func (o *outbox) wait() { o.workers.Wait() }

func (o *outbox) signal() {
	select {
	case o.room <- struct{}{}:
	default:
	}
}

// pace waits until everything is written, so that there is room for whatever comes next. It belongs to the
// connection's reader.
func (o *outbox) pace(ctx context.Context) error {
	for {
		o.mu.Lock()
		held, over := o.held.bytes+o.writing, o.gone || o.ending
		o.mu.Unlock()
		if over {
			return errGone
		}
		if held == 0 {
			return nil
		}
		select {
		case <-o.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
