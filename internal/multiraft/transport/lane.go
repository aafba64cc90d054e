package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/kalamdb/kalamdb-go/internal/clock"
)

// lane sends the messages of one lane to one peer. Its goroutine keeps a stream open and sends on it; who queues messages
// sends them itself while the stream surely has room, see sendAtOnce.
type lane struct {
	peer    *peer
	lane    Lane
	queue   *outQueue
	traffic traffic
	queued  prometheus.Gauge

	sending sync.Mutex  // held by who takes from queue and sends on open, so that the order is kept
	open    *raftStream // nil where there is none; guarded by sending
}

func newLane(p *peer, kind Lane) *lane {
	metrics := p.transport.metrics
	return &lane{
		peer: p, lane: kind, queue: newQueue(p.transport.cfg.Limits),
		traffic: metrics.traffic("sent", kind), queued: metrics.queueBytes.WithLabelValues(kind.String()),
	}
}

// run connects when there is something to send and sends until ctx ends.
func (l *lane) run(ctx context.Context) {
	for l.wait(ctx) {
		err := l.session(ctx)
		if ctx.Err() != nil {
			break
		}
		l.drop(dropUnreachable)
		l.pause(ctx, l.peer.failed(err))
	}
	l.drop(dropStopped)
}

// session opens a stream, sends on it until it breaks, and says why it did. A stream that opened ends the
// back-off, but even then the next one has to wait for the first pause: a peer that accepts streams and refuses
// every frame must not make a busy loop.
func (l *lane) session(ctx context.Context) error {
	connects := l.peer.transport.metrics.reconnects
	stream, err := l.connect(ctx)
	if err != nil {
		connects.WithLabelValues(l.lane.String(), "failed").Inc()
		return err
	}
	defer stream.close()
	connects.WithLabelValues(l.lane.String(), "opened").Inc()
	l.peer.reached()
	return fmt.Errorf("%v stream ended: %w", l.lane, l.pump(ctx, stream))
}

// wait returns true when there may be messages and false when ctx has ended.
func (l *lane) wait(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-l.queue.wake:
		return ctx.Err() == nil
	}
}

// pause sleeps for d or until ctx ends. Messages of this lane that come meanwhile wait in the queue.
func (l *lane) pause(ctx context.Context, d time.Duration) {
	_ = clock.Pause(ctx, l.peer.transport.cfg.Clock, d) // run looks at ctx next
}

// drop empties the queue and reports the peer; a stream that broke may have lost messages even when the
// queue is empty.
func (l *lane) drop(reason string) {
	msgs := l.queue.take()
	l.forget(msgs)
	l.queue.recycle(msgs)
	if len(msgs) > 0 {
		l.peer.transport.metrics.dropped.WithLabelValues(reason).Add(float64(len(msgs)))
	}
	if reason != dropStopped {
		l.peer.transport.reporter.report(l.peer.replica)
	}
}

// forget releases messages that will not be sent.
func (l *lane) forget(msgs []Message) {
	size := 0
	for _, m := range msgs {
		size += sizeBound(m.Raft)
	}
	l.release(len(msgs), size)
}

func (l *lane) release(messages, size int) {
	l.queue.release(messages, size)
	l.queued.Sub(float64(size))
}

// raftStream is an open Raft stream. broken is closed when the peer ended it or it was lost.
type raftStream struct {
	grpc.ClientStream
	cancel   context.CancelFunc
	broken   chan struct{}
	err      error // why it ended; set before broken is closed
	pool     *framePool
	underWay atomic.Int64 // bytes of frames that gRPC has not written
}

// Get implements mem.BufferPool.
func (s *raftStream) Get(length int) *[]byte { return s.pool.Get(length) }

// Put implements mem.BufferPool; gRPC calls it once a frame is written.
func (s *raftStream) Put(buf *[]byte) {
	s.underWay.Add(int64(-len(*buf)))
	s.pool.Put(buf)
}

// close ends the stream and waits for its reader.
func (s *raftStream) close() {
	s.cancel()
	<-s.broken
}

// watch waits for the end of the stream: the peer sends nothing on it but its reason to end it.
func (s *raftStream) watch() {
	defer close(s.broken)
	if s.err = s.RecvMsg(&inFrame{}); s.err == nil {
		s.err = fmt.Errorf("peer sent a frame on its receiving stream: %w", ErrMalformed)
		s.cancel()
	}
}

// raftMethod is the full name of the stream method that carries frames.
const raftMethod = "/kalamdb.node.v1.NodeService/Raft"

// connect opens a stream and waits until the peer has accepted it.
func (l *lane) connect(ctx context.Context) (*raftStream, error) {
	conn, err := l.peer.connection(ctx)
	if err != nil {
		return nil, err
	}
	stream, cancel, err := l.peer.openStream(ctx, conn, l.lane)
	if err != nil {
		l.peer.missed(conn)
		return nil, err
	}
	s := &raftStream{ClientStream: stream, cancel: cancel, broken: make(chan struct{}), pool: l.peer.transport.pool}
	go s.watch()
	return s, nil
}

// openStream opens a stream for frames on a connection and waits until the peer has accepted it. It ends with the context, or by end.
func (p *peer) openStream(ctx context.Context, conn *grpc.ClientConn, kind Lane) (stream grpc.ClientStream, end context.CancelFunc, err error) {
	cfg := p.transport.cfg
	streamCtx, cancel := context.WithCancel(p.hello.attach(ctx))
	streamCtx = metadata.AppendToOutgoingContext(streamCtx, metadataLane, kind.String())
	expired := cancelAfter(cfg.Clock, cfg.DialTimeout, cancel)
	stream, err = conn.NewStream(streamCtx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, raftMethod)
	if err == nil {
		err = accepted(stream)
	}
	if expired() {
		err = fmt.Errorf("no answer within %v", cfg.DialTimeout)
	}
	if err != nil {
		cancel()
		return nil, nil, describe(err)
	}
	return stream, cancel, nil
}

// accepted waits for the peer's header.
func accepted(stream grpc.ClientStream) error {
	header, err := stream.Header()
	if err != nil {
		return err
	}
	if len(header.Get(metadataAccepted)) > 0 {
		return nil
	}
	if err := stream.RecvMsg(&inFrame{}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return errors.New("peer ended the stream without a reason")
}

// describe marks an error of a stream or call that the peer refused.
func describe(err error) error {
	if code := status.Code(err); code == codes.FailedPrecondition || code == codes.PermissionDenied {
		return fmt.Errorf("%w: %s", ErrRefused, status.Convert(err).Message())
	}
	return err
}

// cancelAfter cancels once d has passed on the clock, unless the returned function is called before; that
// function reports whether it did.
func cancelAfter(clk clock.Clock, d time.Duration, cancel context.CancelFunc) (expired func() bool) {
	timer := clk.NewTimer(d)
	stop := make(chan struct{})
	result := make(chan bool, 1)
	go func() {
		select {
		case <-timer.C():
			cancel()
			result <- true
		case <-stop:
			timer.Stop()
			result <- false
		}
	}()
	return func() bool {
		close(stop)
		return <-result
	}
}

// pump sends what is in the queue until the stream breaks or ctx ends.
func (l *lane) pump(ctx context.Context, stream *raftStream) error {
	l.use(stream)
	defer l.use(nil)
	for {
		sent, err := l.sendWaiting(stream)
		if err != nil {
			return stream.why(err)
		}
		if sent {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stream.broken:
			return stream.err
		case <-l.queue.wake:
		}
	}
}

// use makes a stream the one that is sent on.
func (l *lane) use(stream *raftStream) {
	l.sending.Lock()
	l.open = stream
	l.sending.Unlock()
}

// sendWaiting sends what is in the queue now and reports whether there was anything.
func (l *lane) sendWaiting(stream *raftStream) (sent bool, err error) {
	l.sending.Lock()
	defer l.sending.Unlock()
	msgs := l.queue.take()
	if len(msgs) == 0 {
		return false, nil
	}
	err = l.sendAll(stream, msgs)
	l.queue.recycle(msgs)
	return true, err
}

// atOnceBytes is how much may wait and be under way for a frame to be sent by who queued it. gRPC lets a sender of a stream
// wait from 64 KiB on; below, it only queues.
const atOnceBytes = 32 << 10

// sendAtOnce sends what is in the queue in the caller's goroutine, which cannot be kept waiting, and reports whether it
// did. It spares waking the lane's goroutine, which is as costly as the frame. Where there is no stream, or much to send,
// or somebody else is sending, that goroutine has to do it.
func (l *lane) sendAtOnce() bool {
	if !l.sending.TryLock() {
		return false
	}
	defer l.sending.Unlock()
	if l.open == nil || l.open.underWay.Load()+int64(l.queue.size()) > atOnceBytes {
		return false
	}
	msgs := l.queue.take()
	if err := l.sendAll(l.open, msgs); err != nil {
		l.open = nil // its reader learns why, and the lane's goroutine from it
	}
	l.queue.recycle(msgs)
	return true
}

// why is the reason for an error of sending.
func (s *raftStream) why(err error) error {
	if errors.Is(err, io.EOF) { // the reader knows
		<-s.broken
		err = s.err
	}
	return describe(err)
}

// sendAll sends messages in as few frames as their sizes allow. When the stream breaks, the rest is dropped.
func (l *lane) sendAll(stream *raftStream, msgs []Message) error {
	limits := l.peer.transport.cfg.Limits
	for len(msgs) > 0 {
		taken, size, err := l.sendFrame(stream, msgs, limits)
		l.release(taken, size)
		msgs = msgs[taken:]
		if err != nil {
			l.forget(msgs)
			l.peer.transport.metrics.dropped.WithLabelValues(dropUnreachable).Add(float64(taken + len(msgs)))
			return err
		}
	}
	return nil
}

// sendFrame sends the longest run of messages that belongs into one frame, and returns how many it took
// and their accounted size.
func (l *lane) sendFrame(stream *raftStream, msgs []Message, limits Limits) (taken, size int, err error) {
	t := l.peer.transport
	room := frameHeaderSize
	for _, m := range msgs {
		if room += sizeBound(m.Raft); room >= limits.FrameTarget {
			break
		}
	}
	var frame frameBuilder
	buf := t.pool.Get(min(room, limits.FrameTarget+messageEnvelope))
	frame.reset(*buf)
	for _, m := range msgs {
		bound := sizeBound(m.Raft)
		if !frame.hasRoom(bound, len(m.Raft.GetEntries()), limits.FrameTarget) {
			break
		}
		taken++
		size += bound
		if bound > limits.FrameLimit-frameHeaderSize {
			l.refuse(m, fmt.Errorf("message of up to %d bytes is over the frame limit of %d", bound, limits.FrameLimit))
			continue
		}
		if err := frame.add(m); err != nil {
			l.refuse(m, err)
		}
	}
	if frame.messages == 0 {
		t.pool.Put(buf)
		return taken, size, nil
	}
	*buf = frame.finish()
	length := len(*buf)
	stream.underWay.Add(int64(length))
	if err := stream.SendMsg(&outFrame{buffer: mem.NewBuffer(buf, stream)}); err != nil {
		return taken, size, fmt.Errorf("send frame of %d bytes: %w", length, err)
	}
	l.traffic.count(length, frame.messages)
	return taken, size, nil
}

// refuse drops a message that can never be sent; whoever made it is at fault.
func (l *lane) refuse(m Message, err error) {
	t := l.peer.transport
	t.metrics.dropped.WithLabelValues(dropInvalid).Inc()
	t.cfg.Logger.Error("message cannot be sent", slog.Uint64("replica_id", uint64(l.peer.replica)),
		slog.String("group", m.Group.String()), slog.Any("error", err))
	t.reporter.report(l.peer.replica)
}
