package transport

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kalamdb/kalamdb-go/internal/ident"
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

	sent, received [laneCount]traffic

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
	for lane := range Lane(laneCount) {
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
	for lane := range Lane(laneCount) {
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
	m.sent[lane].count(len(frame), messages)
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
	h.tell(m.handler)
	msgs, err := decodeFrame(frame, m.cfg.Limits.FrameLimit)
	if err != nil {
		return m.refuse(&refusal{reason: refusedFrame, sentence: err.Error()})
	}
	if r := checkMessages(msgs, h.from, own.Replica); r != nil {
		return m.refuse(r)
	}
	m.received[lane].count(len(frame), len(msgs))
	m.handler.HandleMessages(h.from, msgs)
	return nil
}

func (m *Memory) refuse(r *refusal) error {
	m.metrics.refused.WithLabelValues(r.reason).Inc()
	m.cfg.Logger.Warn("peer refused", slog.String("reason", r.reason), slog.Any("error", r))
	return fmt.Errorf("%w: %w", ErrRefused, r)
}
