package multiraft

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/snapshot"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// Transport is what the engine needs of the network. Neither method keeps Raft waiting: Send drops when its
// queue is full, SendSnapshot runs on a goroutine of its own.
type Transport interface {
	// Send queues messages for a peer and takes them over, but not the slice, which is used again.
	Send(to ident.ReplicaID, messages []transport.Message)
	// SendSnapshot streams one group's state; it returns once the peer has installed it, or why not.
	SendSnapshot(ctx context.Context, to ident.ReplicaID, header *nodev1.SnapshotHeader, next func() ([]byte, error)) error
}

// Manager runs all groups of one node under Raft.
type Manager struct {
	cfg       Config
	transport Transport
	apply     *applyLoop
	sender    *snapshotSender
	workers   []*worker
	groups    map[shard.GroupID]*group
	order     []*group // as in Config.Groups
	receiving chan struct{}
	staging   *snapshot.Staging
	transfers transfers
	courtesy  *courtesy // of senders of snapshots, to everybody else
	limit     *byteRate
	room      *room
	health    health
	pumped    bool // by a driver: nobody else waits for the processor
	readSeq   atomic.Uint64
	run       uint64 // number of this run of the node, another after each start
	durable   *durability
	peers     *peerClock
	policy    leaderPolicy
	observing atomic.Pointer[observing] // who has no vote where, as the members' records say
	stats     counters
	metrics   *engineMetrics

	failOnce sync.Once
	failed   chan struct{} // closed when the engine cannot go on
	failure  error         // why; set before failed is closed

	stop    context.CancelFunc
	running sync.WaitGroup
}

// counters are totals since the start, for metrics.
type counters struct {
	droppedMessages atomic.Uint64 // inbox was full
	ignoredMessages atomic.Uint64 // meant nothing to the group
	leaseReads      atomic.Uint64 // answered from a lease
	truncated       atomic.Uint64 // entries dropped from the log's front
	refused         refusalCounters
}

// Open loads every group from the store and the log. Nothing runs until Start, or Pump in the simulator.
func Open(cfg Config, network Transport) (*Manager, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	staging, err := openStaging(cfg)
	if err != nil {
		return nil, err
	}
	m := &Manager{
		cfg: cfg, transport: network,
		groups:    make(map[shard.GroupID]*group, len(cfg.Groups)),
		receiving: make(chan struct{}, cfg.SnapshotReceive), staging: staging,
		room:   newRoom(&cfg),
		limit:  newByteRate(cfg.Clock, cfg.SnapshotBytesPerSecond),
		failed: make(chan struct{}),
		peers:  newPeerClock(cfg.TickInterval),
	}
	measured, err := newEngineMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	m.metrics = measured
	m.courtesy = newCourtesy(cfg.Clock, &measured.proposeTotal, &measured.appendTotal)
	// Numbers of read requests must not repeat after a restart: an answer to an earlier life would be stale.
	m.run = max(uint64(cfg.Clock.Now().UnixNano()), 1)
	m.readSeq.Store(m.run)
	m.sender = newSnapshotSender(m)
	for range cfg.Workers {
		m.workers = append(m.workers, newWorker(m))
	}
	for i, id := range cfg.Groups {
		w := m.workers[i%len(m.workers)]
		r := newReplica(id, cfg.StateMachines(id))
		if i == 0 {
			m.apply = newApplyLoop(cfg.Engine, r)
		}
		if err := r.load(cfg.Engine); err != nil {
			return nil, err
		}
		g, err := openGroup(r, w, m)
		if err != nil {
			return nil, err
		}
		g.place = i
		m.groups[id] = g
		m.order = append(m.order, g)
		w.groups = append(w.groups, g)
		w.byID[id] = g
		w.mark(g)
	}
	m.apply.observe = func(entries int) { m.metrics.applied.Observe(float64(entries)) }
	m.durable = newDurability(cfg.Engine, cfg.Groups)
	return m, nil
}

// nextRead numbers read index requests.
func (m *Manager) nextRead() uint64 { return m.readSeq.Add(1) }

// fail stops the engine for good: what is on disk may not be what memory says.
func (m *Manager) fail(err error) {
	m.failOnce.Do(func() {
		m.failure = err
		m.cfg.Logger.Error("the replication engine stops", slog.Any("error", err))
		for _, g := range m.order {
			g.fail(fmt.Errorf("%w: %w", ErrOutcomeUnknown, err), true)
		}
		close(m.failed)
	})
}

// Failed is closed when the engine cannot go on; the node must stop. Failure tells why.
func (m *Manager) Failed() <-chan struct{} { return m.failed }

// Failure returns why Failed was closed, nil before.
func (m *Manager) Failure() error {
	select {
	case <-m.failed:
		return m.failure
	default:
		return nil
	}
}

// Barrier returns once this replica has applied everything that was acknowledged anywhere before the call,
// and the index that took (Raft's read index: a quorum confirms the leader first). The error is the
// context's, ErrUnknownGroup or ErrStopped.
func (m *Manager) Barrier(ctx context.Context, id shard.GroupID) (uint64, error) {
	return m.barrier(ctx, id, &readRequest{done: make(chan readIndex, 1)})
}

// Leader returns the leader of a group as this replica knows it, zero when unknown.
func (m *Manager) Leader(id shard.GroupID) ident.ReplicaID {
	if g := m.groups[id]; g != nil {
		return ident.ReplicaID(g.lead.Load())
	}
	return 0
}

// Applied returns the index up to which readers of this replica see the group.
func (m *Manager) Applied(id shard.GroupID) uint64 {
	if g := m.groups[id]; g != nil {
		return g.visible.Load()
	}
	return 0
}

// Self returns this data directory's replica id.
func (m *Manager) Self() ident.ReplicaID { return m.cfg.Replica }

// HandleMessages takes Raft messages from the transport. It implements transport.Handler.
func (m *Manager) HandleMessages(from ident.ReplicaID, messages []transport.Message) {
	m.peers.heard(from, m.cfg.Clock.Now())
	frame := make([]item, 0, len(messages))
	for i := range messages {
		g := m.groups[messages[i].Group]
		if g == nil || m.takeNotice(g, messages[i].Raft) {
			continue
		}
		if len(frame) > 0 && frame[0].group.worker != g.worker {
			frame[0].group.worker.enqueueMessages(frame)
			frame = frame[:0]
		}
		frame = append(frame, item{group: g, message: messages[i].Raft})
	}
	if len(frame) > 0 {
		frame[0].group.worker.enqueueMessages(frame)
	}
}

// HandleUnreachable tells every group that messages to a peer were lost. It implements transport.Handler.
func (m *Manager) HandleUnreachable(to ident.ReplicaID) {
	for _, w := range m.workers {
		w.enqueue(item{do: func(*group) {
			for _, g := range w.groups {
				if g.leading.Load() {
					w.rouse(g)
					g.node.ReportUnreachable(uint64(to))
				}
			}
		}})
	}
}

// reconfigure makes Raft follow an applied configuration change. It runs on the worker.
func (m *Manager) reconfigure(g *group, change *raftpb.ConfChangeV2, conf *raftpb.ConfState) {
	got := g.node.ApplyConfChange(change)
	if err := got.Equivalent(conf); err != nil {
		m.fail(fmt.Errorf("%s: Raft and the stored state disagree about the members: %w", g.id, err))
	}
}

// Term returns the term of a group as this replica knows it, zero when the group is unknown.
func (m *Manager) Term(id shard.GroupID) uint64 {
	if g := m.groups[id]; g != nil {
		return g.term.Load()
	}
	return 0
}
