package transport

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// This file finds a peer of which several addresses are known, as RFC 8305 ("happy eyeballs") finds a host: one that swallows
// packets must not keep the others waiting. The first address is tried alone; each next one as soon as one before has failed, or
// beside those before once a moment has passed. Where the peer itself accepts a stream wins, for an address makes nobody a peer:
// its certificate does and, as on every stream, the cluster and the replica that it says it is. All other attempts are ended.

const (
	// nextAfter is how long the addresses that are tried keep the next one waiting.
	nextAfter = 250 * time.Millisecond
	// againAfter is after how many such waits an address that has failed is tried again, as long as the search goes on.
	againAfter = 4
	// maxWays bounds the addresses of one search. What is known beyond them is not tried.
	maxWays = 8
)

// search is one attempt to find a peer.
type search struct {
	ended chan struct{}
	// Set before ended is closed: where the peer was found, or why it was not.
	conn *grpc.ClientConn
	err  error
}

// await returns what a search finds.
func (s *search) await(ctx context.Context) (*grpc.ClientConn, error) {
	select {
	case <-s.ended:
		return s.conn, s.err
	case <-ctx.Done():
		return nil, fmt.Errorf("still looking for the peer: %w", ctx.Err())
	}
}

// attempt is what came of one address.
type attempt struct {
	addr  string
	again bool             // it has failed before
	conn  *grpc.ClientConn // nil unless the peer is there
	err   error
}

// ways lists where a replica may be, the first choice first.
func (t *GRPC) ways(replica ident.ReplicaID) []string {
	if t.chooser != nil {
		ways := t.chooser.Addresses(replica)
		return ways[:min(len(ways), maxWays)]
	}
	if addr, ok := t.cfg.Resolver.Address(replica); ok {
		return []string{addr}
	}
	return nil
}

// runSearches looks for the peer whenever that is wanted, until ctx ends.
func (p *peer) runSearches(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case wanted := <-p.wanted:
			p.seek(ctx, wanted)
		}
	}
	select {
	case wanted := <-p.wanted: // the last one: a peer that is closed wants no more
		wanted.err = ErrStopped
		close(wanted.ended)
	default:
	}
}

// seek looks for the peer and makes the connection to where it is the shared one.
func (p *peer) seek(ctx context.Context, s *search) {
	racing, cancel := context.WithCancel(ctx)
	defer cancel()
	race := &race{peer: p, ended: make(chan attempt, maxWays)}
	won, err := race.run(racing)
	cancel()
	s.conn, s.err = won.conn, p.conclude(won, race.tried, err)
	close(s.ended)
	race.finish()
}

// conclude ends a search, and returns why it found nothing.
func (p *peer) conclude(won attempt, tried []string, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.search, p.tried = nil, tried
	switch {
	case err != nil:
		p.backOff(err)
	case p.closed:
		_ = won.conn.Close() // the peer is given up, there is nobody to tell
		err = ErrStopped
	default:
		p.use(won.conn, won.addr)
		p.transport.chooser.AddressTaken(p.replica, won.addr) // only a chooser names several
	}
	return err
}

// race tries addresses side by side. It belongs to one goroutine.
type race struct {
	peer    *peer
	ended   chan attempt // has room for all: no address is tried twice at the same time
	running int
	open    int // of the running ones, those of addresses that have not failed
	tried   []string
	failed  []string // to be tried again, the first one next
	waits   int
}

// run returns the first attempt that reaches the peer, or why none did once every address has failed. What becomes known meanwhile is tried too, and what
// has failed again, as long as another address keeps it waiting: the peer may just be starting.
func (r *race) run(ctx context.Context) (won attempt, err error) {
	var failures error
	for {
		r.next(ctx)
		if r.open == 0 {
			return attempt{}, cmp.Or(failures, ctx.Err(), ErrUnknownAddress)
		}
		timer := r.peer.transport.cfg.Clock.NewTimer(nextAfter)
		select {
		case a := <-r.ended:
			timer.Stop()
			r.running--
			if a.err == nil {
				return a, nil
			}
			if !a.again {
				r.open--
				failures = joined(failures, fmt.Errorf("%s: %w", a.addr, a.err))
			}
			r.failed = append(r.failed, a.addr)
		case <-timer.C():
			if r.waits++; r.waits%againAfter == 0 && len(r.failed) > 0 {
				addr := r.failed[0]
				r.failed = r.failed[1:]
				r.start(ctx, addr, true)
			}
		}
	}
}

// joined is both errors in one line.
func joined(before, next error) error {
	if before == nil {
		return next
	}
	return fmt.Errorf("%w; %w", before, next)
}

// next tries one address more, if there is one.
func (r *race) next(ctx context.Context) {
	if ctx.Err() != nil || len(r.tried) == maxWays {
		return
	}
	for _, addr := range r.peer.transport.ways(r.peer.replica) {
		if !slices.Contains(r.tried, addr) {
			r.tried = append(r.tried, addr)
			r.open++
			r.start(ctx, addr, false)
			return
		}
	}
}

func (r *race) start(ctx context.Context, addr string, again bool) {
	r.running++
	go func() {
		conn, err := r.peer.try(ctx, addr)
		r.ended <- attempt{addr: addr, again: again, conn: conn, err: err}
	}()
}

// finish waits for the attempts that lost, whose context has ended.
func (r *race) finish() {
	for ; r.running > 0; r.running-- {
		if late := <-r.ended; late.conn != nil {
			_ = late.conn.Close() // another one is used
		}
	}
}

// try returns a connection to the peer at an address: it must accept a stream there.
func (p *peer) try(ctx context.Context, addr string) (*grpc.ClientConn, error) {
	conn, err := p.transport.dial(addr, p.replica)
	if err != nil {
		return nil, err
	}
	_, end, err := p.openStream(ctx, conn, LaneControl)
	if err != nil {
		_ = conn.Close() // err says what is wrong with it
		return nil, err
	}
	end() // the lanes open their own
	// gRPC opens streams a moment before it says that the connection is ready, and who asked for it in between would look again.
	if conn.GetState() == connectivity.Connecting {
		conn.WaitForStateChange(ctx, connectivity.Connecting)
	}
	return conn, nil
}
