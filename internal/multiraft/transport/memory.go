package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// MemoryConfig configures one node of a Network.
type MemoryConfig struct {
	// Address is where the node listens; one running node per address. Required.
	Address string
	// Resolver finds peers. Required.
	Resolver Resolver
	// Logger receives refusals; nil discards them.
	Logger *slog.Logger
	// Registerer takes the metrics; nil leaves them unregistered.
	Registerer prometheus.Registerer
	// Limits bounds queues and frames. A queue holds what was sent and not yet delivered.
	Limits Limits
	// ReportInterval is the least time between two HandleUnreachable for one replica; default 100 ms.
	ReportInterval time.Duration
}

// Memory is one node on a Network: GRPC's methods without sockets and goroutines. Send only puts messages
// on the network, whose owner delivers them; the calls run their peer's handler on the caller's goroutine.
type Memory struct {
	network *Network
	cfg     MemoryConfig
	handler Handler
	metrics *transportMetrics

	mu         sync.Mutex // guards all below; never held while a handler runs or the network is locked
	identity   Identity
	stopped    bool
	queues     map[memoryQueueKey]*memoryQueue
	reportable map[ident.ReplicaID]time.Time // when the last report was or will be made
	reporting  map[ident.ReplicaID]bool      // a report is on its way
}

type memoryQueueKey struct {
	to   ident.ReplicaID
	lane Lane
}

type memoryQueue struct {
	messages, bytes int
}

// Stop takes the node off the network: nothing is delivered to it any more, and its own calls fail. What it
// has sent stays on its way. ctx is not needed; it is there to match GRPC.
func (m *Memory) Stop(context.Context) {
	m.mu.Lock()
	stopped := m.stopped
	m.stopped = true
	m.mu.Unlock()
	if !stopped {
		m.network.remove(m)
	}
}

// SetIdentity makes the node a member. Before it, only NodeInfo and Join work, in both directions.
func (m *Memory) SetIdentity(identity Identity) {
	m.mu.Lock()
	m.identity = identity
	m.mu.Unlock()
}

func (m *Memory) self() (own Identity, stopped bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.identity, m.stopped
}

// Forget drops what is known of a replica that left the cluster for good.
func (m *Memory) Forget(replica ident.ReplicaID) {
	m.mu.Lock()
	delete(m.reportable, replica)
	for lane := range laneCount {
		if q := m.queues[memoryQueueKey{replica, lane}]; q != nil && q.messages == 0 {
			delete(m.queues, memoryQueueKey{replica, lane})
		}
	}
	m.mu.Unlock()
}

// Send encodes messages and puts them on the network. What does not fit into the queue is dropped and reported.
func (m *Memory) Send(to ident.ReplicaID, msgs []Message) {
	own, stopped := m.self()
	if stopped || !own.known() {
		reason := dropStopped
		if !stopped {
			reason = dropNotMember
			m.report(to)
		}
		m.metrics.dropped.WithLabelValues(reason).Add(float64(len(msgs)))
		return
	}
	for lane := range laneCount {
		m.sendLane(own, to, lane, msgs)
	}
}

// sendLane packs the messages of one lane into frames, as a GRPC lane does.
func (m *Memory) sendLane(own Identity, to ident.ReplicaID, lane Lane, msgs []Message) {
	var frame frameBuilder
	size := 0
	flush := func() {
		if frame.messages > 0 {
			m.put(own, to, lane, frame.finish(), frame.messages, size)
		}
		frame, size = frameBuilder{}, 0
	}
	for _, msg := range msgs {
		if LaneOf(msg) != lane {
			continue
		}
		bound := sizeBound(msg.Raft)
		if !m.admit(memoryQueueKey{to, lane}, bound) {
			m.drop(to, dropQueueFull, 1)
			continue
		}
		if !frame.hasRoom(bound, len(msg.Raft.GetEntries()), m.cfg.Limits.FrameTarget) {
			flush()
		}
		if frame.buf == nil {
			frame.reset(nil)
		}
		err := frame.add(msg)
		if err == nil && bound > m.cfg.Limits.FrameLimit-frameHeaderSize {
			frame = frameBuilder{} // it was alone
			err = fmt.Errorf("message of up to %d bytes is over the frame limit of %d", bound, m.cfg.Limits.FrameLimit)
		}
		if err != nil {
			m.cfg.Logger.Error("message cannot be sent", slog.Uint64("replica_id", uint64(to)),
				slog.String("group", msg.Group.String()), slog.Any("error", err))
			m.release(memoryQueueKey{to, lane}, 1, bound)
			m.drop(to, dropInvalid, 1)
			continue
		}
		size += bound
	}
	flush()
}

// put hands a frame to the network.
func (m *Memory) put(own Identity, to ident.ReplicaID, lane Lane, frame []byte, messages, size int) {
	m.metrics.traffic("sent", lane).count(len(frame), messages)
	m.network.send(&flight{
		sender: m, hello: helloTo(own, to), size: size,
		packet: Packet{From: own.Replica, To: to, FromAddress: m.cfg.Address, Lane: lane, Messages: messages, Frame: frame},
	})
}

// admit takes room in a queue; false means that it is full.
func (m *Memory) admit(key memoryQueueKey, size int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queues[key]
	if q == nil {
		q = &memoryQueue{}
		m.queues[key] = q
	}
	if q.messages >= m.cfg.Limits.QueueMessages || q.bytes >= m.cfg.Limits.QueueBytes {
		return false
	}
	q.messages++
	q.bytes += size
	return true
}

func (m *Memory) release(key memoryQueueKey, messages, size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q := m.queues[key]; q != nil {
		q.messages -= messages
		q.bytes -= size
	}
}

// drop counts lost messages and reports their addressee.
func (m *Memory) drop(to ident.ReplicaID, reason string, messages int) {
	m.metrics.dropped.WithLabelValues(reason).Add(float64(messages))
	m.report(to)
}

// report puts one HandleUnreachable of this node on the network, not earlier than the interval allows.
func (m *Memory) report(replica ident.ReplicaID) {
	now := m.network.clock.Now()
	m.mu.Lock()
	if m.stopped || m.reporting[replica] {
		m.mu.Unlock()
		return
	}
	due := now
	if last, ok := m.reportable[replica]; ok && last.Add(m.cfg.ReportInterval).After(now) {
		due = last.Add(m.cfg.ReportInterval)
	}
	m.reportable[replica] = due
	m.reporting[replica] = true
	m.mu.Unlock()
	m.network.report(m, replica, due)
}

// unreachable delivers a report.
func (m *Memory) unreachable(replica ident.ReplicaID) {
	m.mu.Lock()
	delete(m.reporting, replica)
	stopped := m.stopped
	m.mu.Unlock()
	if !stopped {
		m.handler.HandleUnreachable(replica)
	}
}

// receive checks and decodes a delivered frame, as the server of GRPC does.
func (m *Memory) receive(h hello, lane Lane, frame []byte) error {
	own, stopped := m.self()
	if stopped {
		return ErrStopped
	}
	if r := h.check(own); r != nil {
		return m.refuse(r)
	}
	msgs, err := decodeFrame(frame, m.cfg.Limits.FrameLimit)
	if err != nil {
		return m.refuse(&refusal{reason: refusedFrame, sentence: err.Error()})
	}
	if r := checkMessages(msgs, h.from, own.Replica); r != nil {
		return m.refuse(r)
	}
	m.metrics.traffic("received", lane).count(len(frame), len(msgs))
	m.handler.HandleMessages(h.from, msgs)
	return nil
}

func (m *Memory) refuse(r *refusal) error {
	m.metrics.refused.WithLabelValues(r.reason).Inc()
	m.cfg.Logger.Warn("peer refused", slog.String("reason", r.reason), slog.Any("error", r))
	return fmt.Errorf("%w: %w", ErrRefused, r)
}

// member finds the running node that a member's call goes to, after the peer's own checks.
func (m *Memory) member(to ident.ReplicaID) (*Memory, hello, error) {
	own, stopped := m.self()
	switch {
	case stopped:
		return nil, hello{}, ErrStopped
	case !own.known():
		return nil, hello{}, ErrNotMember
	}
	addr, ok := m.cfg.Resolver.Address(to)
	if !ok {
		return nil, hello{}, ErrUnknownAddress
	}
	peer, err := m.network.find(m.cfg.Address, addr)
	if err != nil {
		return nil, hello{}, err
	}
	h := helloTo(own, to)
	theirs, stopped := peer.self()
	if stopped {
		return nil, h, ErrStopped
	}
	if r := h.check(theirs); r != nil {
		return nil, h, peer.refuse(r)
	}
	return peer, h, nil
}

// Forward runs a proposal at another replica; see GRPC.Forward for what an error says.
func (m *Memory) Forward(ctx context.Context, to ident.ReplicaID, req *nodev1.ForwardRequest) (*nodev1.ForwardResponse, error) {
	notDelivered := func(err error) (*nodev1.ForwardResponse, error) {
		m.metrics.forwards.WithLabelValues("not_delivered").Inc()
		return nil, fmt.Errorf("forward to replica %d: %w: %w", to, ErrNotDelivered, err)
	}
	if err := ctx.Err(); err != nil {
		return notDelivered(err)
	}
	peer, h, err := m.member(to)
	if err != nil {
		return notDelivered(err)
	}
	verdict := m.network.judge(&Call{Kind: CallForward, From: h.from, To: to, FromAddress: m.cfg.Address, ToAddress: peer.cfg.Address})
	if verdict == LoseRequest {
		return notDelivered(errUnreachable)
	}
	copied := &nodev1.ForwardRequest{}
	if err := reencode(req, copied); err != nil {
		return notDelivered(err)
	}
	resp := &nodev1.ForwardResponse{}
	err = reencode(peer.handler.HandleForward(ctx, copied), resp)
	switch {
	case verdict == LoseResponse || m.network.blocked(peer.cfg.Address, m.cfg.Address):
		err = errUnreachable
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	if err != nil {
		m.metrics.forwards.WithLabelValues("unknown").Inc()
		return nil, fmt.Errorf("forward to replica %d: outcome unknown: %w", to, err)
	}
	m.metrics.forwards.WithLabelValues("answered").Inc()
	return resp, nil
}

// reencode copies a protobuf message through its wire form.
func reencode(from, to proto.Message) error {
	data, err := proto.Marshal(from)
	if err != nil {
		return fmt.Errorf("encode %T: %w", from, err)
	}
	if err := proto.Unmarshal(data, to); err != nil {
		return fmt.Errorf("decode %T: %w", to, err)
	}
	return nil
}

// SendSnapshot streams the state of one group; see GRPC.SendSnapshot.
func (m *Memory) SendSnapshot(ctx context.Context, to ident.ReplicaID, header *nodev1.SnapshotHeader, next func() ([]byte, error)) error {
	peer, h, err := m.member(to)
	if err != nil {
		return fmt.Errorf("snapshot to replica %d: %w", to, err)
	}
	call := Call{Kind: CallSnapshot, From: h.from, To: to, FromAddress: m.cfg.Address, ToAddress: peer.cfg.Address}
	if m.network.judge(&call) == LoseRequest {
		return fmt.Errorf("snapshot to replica %d: %w", to, errUnreachable)
	}
	if r := checkSnapshotHeader(header, h.from, to); r != nil {
		return fmt.Errorf("snapshot to replica %d: %w", to, peer.refuse(r))
	}
	copied := &nodev1.SnapshotHeader{}
	if err := reencode(header, copied); err != nil {
		return fmt.Errorf("snapshot to replica %d: %w", to, err)
	}
	source := &chunkSource{next: next, limit: m.cfg.Limits.SnapshotChunk}
	var sourceErr error
	sink := &chunkSink{limit: peer.cfg.Limits.SnapshotChunk, recv: func() (*nodev1.SnapshotChunk, error) {
		var chunk *nodev1.SnapshotChunk
		if chunk, sourceErr = m.carryChunk(ctx, peer, call, source); sourceErr != nil {
			return nil, errUnreachable // the peer sees a broken stream, whatever broke it
		}
		return chunk, nil
	}}
	err = peer.handler.HandleSnapshot(ctx, copied, sink.next)
	switch {
	case sourceErr != nil:
		return fmt.Errorf("snapshot to replica %d: %w", to, sourceErr)
	case err != nil:
		if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrMalformed) {
			peer.metrics.refused.WithLabelValues(refusedSnapshot).Inc()
		}
		return fmt.Errorf("snapshot to replica %d: was not installed: %w", to, err)
	}
	return nil
}

// carryChunk takes a chunk from the source over the network.
func (m *Memory) carryChunk(ctx context.Context, peer *Memory, call Call, source *chunkSource) (*nodev1.SnapshotChunk, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, stopped := peer.self(); stopped || m.network.blocked(m.cfg.Address, peer.cfg.Address) {
		return nil, errUnreachable
	}
	chunk, err := source.chunk()
	if err != nil {
		return nil, err
	}
	data, err := proto.Marshal(chunk)
	if err != nil {
		return nil, fmt.Errorf("encode chunk: %w", err)
	}
	call.Kind, call.Wire = CallSnapshotChunk, data
	if m.network.judge(&call) != DeliverCall {
		return nil, errUnreachable
	}
	copied := &nodev1.SnapshotChunk{}
	if err := proto.Unmarshal(call.Wire, copied); err != nil {
		return nil, fmt.Errorf("decode chunk: %w: %w", ErrMalformed, err)
	}
	m.metrics.snapshots.WithLabelValues("sent").Add(float64(len(chunk.GetData())))
	peer.metrics.snapshots.WithLabelValues("received").Add(float64(len(copied.GetData())))
	return copied, nil
}

// errUnreachable stands for every way in which a network loses things.
var errUnreachable = fmt.Errorf("peer is unreachable: %w", io.ErrUnexpectedEOF)

// NodeInfo asks the node at an address who it is. No membership is needed.
func (m *Memory) NodeInfo(ctx context.Context, addr string, req *nodev1.GetNodeInfoRequest) (*nodev1.GetNodeInfoResponse, error) {
	resp := &nodev1.GetNodeInfoResponse{}
	err := m.stranger(addr, CallNodeInfo, req, &nodev1.GetNodeInfoRequest{}, resp, func(peer Handler, req proto.Message) proto.Message {
		return peer.HandleNodeInfo(ctx, req.(*nodev1.GetNodeInfoRequest)) //nolint:errcheck // the type is that of the copy above
	})
	if err != nil {
		return nil, fmt.Errorf("node info of %s: %w", addr, err)
	}
	return resp, nil
}

// Join asks the node at an address to admit a store. No membership is needed.
func (m *Memory) Join(ctx context.Context, addr string, req *nodev1.JoinRequest) (*nodev1.JoinResponse, error) {
	resp := &nodev1.JoinResponse{}
	err := m.stranger(addr, CallJoin, req, &nodev1.JoinRequest{}, resp, func(peer Handler, req proto.Message) proto.Message {
		return peer.HandleJoin(ctx, req.(*nodev1.JoinRequest)) //nolint:errcheck // the type is that of the copy above
	})
	if err != nil {
		return nil, fmt.Errorf("join through %s: %w", addr, err)
	}
	return resp, nil
}

// stranger makes a call that needs no membership. copied and resp are empty messages to fill.
func (m *Memory) stranger(addr string, kind CallKind, req, copied, resp proto.Message,
	handle func(peer Handler, req proto.Message) proto.Message,
) error {
	own, stopped := m.self()
	if stopped {
		return ErrStopped
	}
	peer, err := m.network.find(m.cfg.Address, addr)
	if err != nil {
		return err
	}
	verdict := m.network.judge(&Call{Kind: kind, From: own.Replica, FromAddress: m.cfg.Address, ToAddress: addr})
	if verdict == LoseRequest {
		return errUnreachable
	}
	if err := reencode(req, copied); err != nil {
		return err
	}
	if err := reencode(handle(peer.handler, copied), resp); err != nil {
		return err
	}
	if verdict == LoseResponse || m.network.blocked(addr, m.cfg.Address) {
		return errUnreachable
	}
	return nil
}
