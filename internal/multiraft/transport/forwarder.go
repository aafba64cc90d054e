package transport

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// The bounds of forwarding, at both ends of a stream. What goes beyond them is answered at once, as by a leader
// that is overloaded: nothing was proposed.
const (
	maxForwards      = 4096     // calls that are not answered
	maxForwardBytes  = 64 << 20 // their data
	maxForwardsFrame = 1024     // calls or answers that travel together; a frame is bounded by the frame target too

	// mostUnanswered ends the stream of a peer that asks on and on. It leaves room for refusals, and for calls whose
	// callers have gone, which the peer counts no more.
	mostUnanswered = 4 * maxForwards
)

// forwardEnvelope is room for everything but the data of a call or an answer, in bytes.
const forwardEnvelope = 256

// forwarder carries the proposals that one peer is asked to run, over one stream. All that wait while a frame is being sent
// travel in the next: a call of its own for each costs more than replicating it. A call that was not sent when the stream
// broke goes with the next one; of those that were sent, nobody knows what came of them.
type forwarder struct {
	peer *peer
	wake chan struct{} // has room for one; there is something to send

	mu           sync.Mutex       // guards all below
	closed       bool             // no call is taken any more
	single       *grpc.ClientConn // a connection whose peer knows no such stream: there each proposal is a call
	number       uint64           // of the last call
	waiting      map[uint64]*forward
	waitingBytes int
	queue        []*forward // of the waiting ones, those not sent yet
	abandoned    []uint64   // sent ones whose callers have gone; the peer is told
}

// forward is one call. Its fields are guarded by the forwarder's mutex until it is answered.
type forward struct {
	number   uint64
	size     int
	deadline time.Time // zero for none
	req      *nodev1.ForwardRequest
	sent     bool
	done     chan forwardEnd // has room for the one end
}

// forwardEnd is the answer, or why there is none.
type forwardEnd struct {
	resp *nodev1.ForwardResponse
	err  error
}

func newForwarder(p *peer) *forwarder {
	return &forwarder{peer: p, wake: make(chan struct{}, 1), waiting: make(map[uint64]*forward)}
}

// errSingle says that the peer must be asked by a call for each proposal.
var errSingle = errors.New("peer knows no stream of proposals")

// call runs a proposal at the peer and waits for the answer or the context's end.
func (f *forwarder) call(ctx context.Context, req *nodev1.ForwardRequest) (*nodev1.ForwardResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, notDelivered(f.peer.replica, err)
	}
	conn, err := f.peer.connection(ctx)
	if err != nil {
		return nil, notDelivered(f.peer.replica, err)
	}
	c := &forward{size: len(req.GetData()) + forwardEnvelope, req: req, done: make(chan forwardEnd, 1)}
	if deadline, ok := ctx.Deadline(); ok {
		c.deadline = deadline
	}
	if c.size > f.peer.transport.cfg.Limits.FrameLimit {
		return nil, notDelivered(f.peer.replica, fmt.Errorf("a proposal of %d bytes is over the limit of frames", len(req.GetData())))
	}
	overloaded, err := f.push(conn, c)
	if err != nil {
		return nil, err
	}
	if overloaded {
		return &nodev1.ForwardResponse{
			Error: nodev1.ForwardError_FORWARD_ERROR_OVERLOADED, Message: "too many proposals are on their way to the leader",
		}, nil
	}
	select {
	case end := <-c.done:
		return end.resp, end.err
	case <-ctx.Done():
		return f.leave(c, ctx.Err())
	}
}

// push queues a call.
func (f *forwarder) push(conn *grpc.ClientConn, c *forward) (overloaded bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return false, notDelivered(f.peer.replica, ErrStopped)
	case f.single == conn:
		return false, errSingle
	case len(f.waiting) >= maxForwards || len(f.waiting) > 0 && f.waitingBytes+c.size > maxForwardBytes:
		return true, nil
	}
	f.number++
	c.number = f.number
	f.waiting[c.number] = c
	f.waitingBytes += c.size
	f.queue = append(f.queue, c)
	f.signal()
	return false, nil
}

// signal wakes the sender.
func (f *forwarder) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// leave ends a call whose caller goes. The peer is told, so that it does not wait for the outcome.
func (f *forwarder) leave(c *forward, why error) (*nodev1.ForwardResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting[c.number] != c { // it has just ended
		end := <-c.done
		return end.resp, end.err
	}
	f.forget(c)
	if !c.sent {
		// Its data goes with it: the sender may stand still for longer than many callers wait.
		if i := slices.Index(f.queue, c); i >= 0 {
			f.queue = slices.Delete(f.queue, i, i+1)
		}
		return nil, notDelivered(f.peer.replica, why)
	}
	f.abandoned = append(f.abandoned, c.number)
	f.signal()
	return nil, fmt.Errorf("forward to replica %d: outcome unknown: %w", f.peer.replica, why)
}

// forget takes a call off the books.
func (f *forwarder) forget(c *forward) {
	delete(f.waiting, c.number)
	f.waitingBytes -= c.size
}

// run opens a stream when there is something to send and sends until ctx ends.
func (f *forwarder) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-f.wake:
			if !f.idle() {
				f.session(ctx)
			}
		}
	}
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.endSent(ErrStopped)
	f.endQueued(notDelivered(f.peer.replica, ErrStopped))
}

// idle reports whether nobody waits. Those who have gone were told of by the end of the stream.
func (f *forwarder) idle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.abandoned = f.abandoned[:0]
	return len(f.waiting) == 0
}

// session opens a stream and sends on it until it breaks.
func (f *forwarder) session(ctx context.Context) {
	conn, err := f.peer.connection(ctx)
	if err != nil {
		f.endQueued(notDelivered(f.peer.replica, err))
		return
	}
	stream, err := f.open(ctx, conn)
	switch {
	case status.Code(err) == codes.Unimplemented:
		f.mu.Lock()
		f.single = conn
		f.mu.Unlock()
		f.endQueued(errSingle)
		return
	case err != nil:
		unavailable := status.Code(err) == codes.Unavailable
		if unavailable {
			f.peer.failed(err)
		}
		if err = describe(err); unavailable || errors.Is(err, ErrRefused) {
			f.peer.missed(conn)
		}
		f.endQueued(notDelivered(f.peer.replica, err))
		return
	}
	err = f.pump(ctx, stream)
	stream.close()
	f.endSent(err)
	f.signal() // what was not sent goes with the next one
}

// forwardStream is an open stream. broken is closed when it ended.
type forwardStream struct {
	grpc.ClientStream
	cancel context.CancelFunc
	broken chan struct{}
	err    error // why it ended; set before broken is closed
}

func (s *forwardStream) close() {
	s.cancel()
	<-s.broken
}

// open opens a stream and waits until the peer has accepted it: then it is known that a peer which refuses has seen no
// proposal.
func (f *forwarder) open(ctx context.Context, conn *grpc.ClientConn) (*forwardStream, error) {
	cfg := f.peer.transport.cfg
	streamCtx, cancel := context.WithCancel(f.peer.hello.attach(ctx))
	expired := cancelAfter(cfg.Clock, cfg.DialTimeout, cancel)
	stream, err := conn.NewStream(streamCtx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
		nodev1.NodeService_ForwardStream_FullMethodName)
	if err == nil {
		err = accepted(stream)
	}
	if expired() {
		err = fmt.Errorf("no answer within %v", cfg.DialTimeout)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	s := &forwardStream{ClientStream: stream, cancel: cancel, broken: make(chan struct{})}
	go f.receive(s)
	return s, nil
}

// receive takes answers until the stream ends.
func (f *forwarder) receive(s *forwardStream) {
	defer close(s.broken)
	for {
		var answers nodev1.ForwardAnswers
		if s.err = s.RecvMsg(&answers); s.err != nil {
			s.cancel()
			return
		}
		f.answer(answers.GetAnswers())
	}
}

// answer ends calls. An answer to a call whose caller has gone is of no use to anybody.
func (f *forwarder) answer(answers []*nodev1.ForwardAnswer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range answers {
		c := f.waiting[a.GetNumber()]
		if c == nil || !c.sent {
			continue
		}
		f.forget(c)
		resp := a.GetResponse()
		if resp == nil {
			resp = &nodev1.ForwardResponse{} // an empty message may be left out
		}
		c.done <- forwardEnd{resp: resp}
	}
}

// pump sends what waits until the stream breaks or ctx ends, and says why.
func (f *forwarder) pump(ctx context.Context, stream *forwardStream) error {
	for {
		// Those who are about to ask do so first: one frame takes them all.
		runtime.Gosched()
		for batch := f.take(); batch != nil; batch = f.take() {
			if err := stream.SendMsg(batch); err != nil {
				stream.cancel()
				<-stream.broken
				return stream.err // has the reason where SendMsg says EOF
			}
			f.peer.transport.metrics.forwardFrames.Inc()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stream.broken:
			return stream.err
		case <-f.wake:
		}
	}
}

// take makes the next frame, nil when nothing waits. Its calls count as sent.
func (f *forwarder) take() proto.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	batch := &nodev1.ForwardBatch{}
	taken, size := 0, 0
	for _, c := range f.queue {
		gone := f.waiting[c.number] != c
		if !gone && len(batch.Calls) > 0 && (size+c.size > f.peer.transport.cfg.Limits.FrameTarget || len(batch.Calls) == maxForwardsFrame) {
			break
		}
		taken++
		if gone {
			continue
		}
		size += c.size
		c.sent = true
		call := &nodev1.ForwardCall{Number: c.number, Request: c.req}
		if !c.deadline.IsZero() {
			call.PatienceMicros = uint64(max(patience(c.req, clock.Left(c.deadline)).Microseconds(), 1))
		}
		batch.Calls = append(batch.Calls, call)
	}
	rest := copy(f.queue, f.queue[taken:])
	clear(f.queue[rest:])
	f.queue = f.queue[:rest]
	if len(f.abandoned) > 0 {
		batch.Abandoned = append(batch.Abandoned, f.abandoned...)
		f.abandoned = f.abandoned[:0]
	}
	if len(batch.Calls) == 0 && len(batch.Abandoned) == 0 {
		return nil
	}
	return batch
}

// endSent ends the calls that were sent on a stream that broke.
func (f *forwarder) endSent(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.abandoned = f.abandoned[:0]
	for _, c := range f.waiting {
		if c.sent {
			f.forget(c)
			c.done <- forwardEnd{err: fmt.Errorf("forward to replica %d: outcome unknown: %w", f.peer.replica, why)}
		}
	}
}

// endQueued ends the calls that were not sent.
func (f *forwarder) endQueued(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.queue {
		if f.waiting[c.number] == c {
			f.forget(c)
			c.done <- forwardEnd{err: err}
		}
	}
	clear(f.queue)
	f.queue = f.queue[:0]
}

func notDelivered(to ident.ReplicaID, why error) error {
	return fmt.Errorf("forward to replica %d: %w: %w", to, ErrNotDelivered, why)
}
