package transport

import (
	"sync"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// reporter tells the handler which replicas lost messages, each at most once per interval. A report is
// never lost: one that comes too early waits for the interval to end.
type reporter struct {
	clock    clock.Clock
	interval time.Duration
	handler  Handler
	wake     chan struct{}
	stop     chan struct{}
	done     chan struct{}

	mu      sync.Mutex // guards pending and last
	pending map[ident.ReplicaID]struct{}
	last    map[ident.ReplicaID]time.Time
}

func newReporter(clk clock.Clock, interval time.Duration, handler Handler) *reporter {
	r := &reporter{
		clock: clk, interval: interval, handler: handler,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		pending: make(map[ident.ReplicaID]struct{}), last: make(map[ident.ReplicaID]time.Time),
	}
	go r.run()
	return r
}

// report asks for one HandleUnreachable; it does not block.
func (r *reporter) report(replica ident.ReplicaID) {
	r.mu.Lock()
	r.pending[replica] = struct{}{}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // the reporter will see it
	}
}

// close stops the reporter and waits for it.
func (r *reporter) close() {
	close(r.stop)
	<-r.done
}

func (r *reporter) run() {
	defer close(r.done)
	for {
		due, next := r.due()
		for _, replica := range due {
			r.handler.HandleUnreachable(replica)
		}
		var timerC <-chan time.Time
		var timer clock.Timer
		if next > 0 {
			timer = r.clock.NewTimer(next)
			timerC = timer.C()
		}
		select {
		case <-r.stop:
		case <-r.wake:
		case <-timerC:
		}
		if timer != nil {
			timer.Stop()
		}
		select {
		case <-r.stop:
			return
		default:
		}
	}
}

// due takes the reports that may go out now and says how long the next one must wait, zero for none.
func (r *reporter) due() (due []ident.ReplicaID, next time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pending) == 0 {
		return nil, 0
	}
	now := r.clock.Now()
	for replica := range r.pending {
		wait := r.interval - now.Sub(r.last[replica])
		if _, reported := r.last[replica]; reported && wait > 0 {
			if next == 0 || wait < next {
				next = wait
			}
			continue
		}
		delete(r.pending, replica)
		r.last[replica] = now
		due = append(due, replica)
	}
	return due, next
}

// forget drops what is known of a replica that is gone for good.
func (r *reporter) forget(replica ident.ReplicaID) {
	r.mu.Lock()
	delete(r.pending, replica)
	delete(r.last, replica)
	r.mu.Unlock()
}
