package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"google.golang.org/grpc"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// GRPC is the network between real nodes. All methods may be called from any goroutine.
type GRPC struct {
	cfg      GRPCConfig
	handler  Handler
	chooser  WayChooser // the resolver, if it is one
	metrics  *transportMetrics
	tls      *tlsSetup
	codec    wireCodec
	pool     *framePool
	reporter *reporter
	server   *grpc.Server
	calls    callGate
	ending   chan struct{}  // closed when received streams must end
	readers  sync.WaitGroup // goroutines that read received streams

	mu       sync.Mutex // guards all below
	identity Identity
	peers    map[ident.ReplicaID]*peer
	stopping bool // Stop was called
	stopped  bool // nothing is sent any more
}

// NewGRPC checks the configuration and builds a transport. Nothing listens before Serve; Stop must be
// called even if Serve never was.
func NewGRPC(cfg GRPCConfig, handler Handler) (*GRPC, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	secure, err := loadTLS(cfg)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	metrics, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	t := &GRPC{
		cfg: cfg, handler: handler, metrics: metrics, tls: secure,
		codec: newWireCodec(), pool: &framePool{},
		peers: make(map[ident.ReplicaID]*peer), ending: make(chan struct{}),
	}
	t.chooser, _ = cfg.Resolver.(WayChooser)
	t.server = newServer(t)
	t.reporter = newReporter(cfg.Clock, cfg.ReportInterval, handler)
	return t, nil
}

// Serve accepts peers on l until Stop, and then returns nil. It closes l.
func (t *GRPC) Serve(l net.Listener) error {
	if err := t.server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve peers on %v: %w", l.Addr(), err)
	}
	return nil
}

// Stop refuses new calls of peers and waits for the running ones until ctx ends; messages flow meanwhile, because
// calls may need them to finish. Then it closes every connection and waits for all goroutines. Waiting
// messages are dropped. Called again it does nothing.
func (t *GRPC) Stop(ctx context.Context) {
	t.mu.Lock()
	again := t.stopping
	t.stopping = true
	t.mu.Unlock()
	if again {
		return
	}
	t.calls.close(ctx)

	t.mu.Lock()
	t.stopped = true
	peers := t.peers
	t.peers = nil
	t.mu.Unlock()
	for _, p := range peers {
		p.close()
	}
	close(t.ending)
	t.stopServer(ctx)
	t.readers.Wait()
	t.reporter.close()
}

// stopServer lets the last answers leave, until ctx ends.
func (t *GRPC) stopServer(ctx context.Context) {
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		t.server.GracefulStop()
	}()
	select {
	case <-flushed:
	case <-ctx.Done():
		t.server.Stop()
		<-flushed
	}
}

// SetIdentity makes the node a member. Before it, only NodeInfo and Join work, in both directions.
func (t *GRPC) SetIdentity(identity Identity) {
	t.mu.Lock()
	t.identity = identity
	t.mu.Unlock()
	t.cfg.Logger.Info("transport has an identity",
		slog.String("cluster_uid", identity.ClusterUID.String()), slog.Uint64("replica_id", uint64(identity.Replica)))
}

// self returns the identity as of now.
func (t *GRPC) self() Identity {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.identity
}

// Send queues messages for a replica and returns at once. It keeps msgs' elements, not the slice; the
// messages must not change afterwards. What does not fit into the queue is dropped and reported.
func (t *GRPC) Send(to ident.ReplicaID, msgs []Message) {
	p, err := t.peer(to)
	if err != nil {
		reason := dropStopped
		if errors.Is(err, ErrNotMember) {
			reason = dropNotMember
			t.reporter.report(to)
		}
		t.metrics.dropped.WithLabelValues(reason).Add(float64(len(msgs)))
		return
	}
	for _, l := range p.lanes {
		dropped, grown := l.queue.push(msgs, l.lane)
		if grown > 0 {
			l.queued.Add(float64(grown))
			if !l.sendAtOnce() {
				l.queue.signal()
			}
		}
		if dropped > 0 {
			t.metrics.dropped.WithLabelValues(dropQueueFull).Add(float64(dropped))
			t.reporter.report(to)
		}
	}
}

// Forget closes the connection to a replica that left the cluster for good. A later Send opens it again.
func (t *GRPC) Forget(replica ident.ReplicaID) {
	t.mu.Lock()
	p := t.peers[replica]
	delete(t.peers, replica)
	t.mu.Unlock()
	if p != nil {
		p.close()
	}
	t.reporter.forget(replica)
}

// moved gives up the connection to a replica that is at another address now.
func (t *GRPC) moved(replica ident.ReplicaID, to string) {
	t.mu.Lock()
	p := t.peers[replica]
	t.mu.Unlock()
	if p != nil {
		p.moved(to)
	}
}

// peer returns the peer of a replica, made at first use.
func (t *GRPC) peer(replica ident.ReplicaID) (*peer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.stopped:
		return nil, ErrStopped
	case !t.identity.known():
		return nil, ErrNotMember
	}
	p := t.peers[replica]
	if p == nil {
		p = newPeer(t, t.identity, replica)
		t.peers[replica] = p
	}
	return p, nil
}

// node returns the peer of a replica with a client of its node's service, over the connection that messages use.
func (t *GRPC) node(ctx context.Context, replica ident.ReplicaID) (*peer, nodev1.NodeServiceClient, error) {
	p, conn, err := t.connected(ctx, replica)
	if err != nil {
		return nil, nil, err
	}
	return p, nodev1.NewNodeServiceClient(conn), nil
}

// connected returns the peer of a replica with the connection that messages use.
func (t *GRPC) connected(ctx context.Context, replica ident.ReplicaID) (*peer, *grpc.ClientConn, error) {
	p, err := t.peer(replica)
	if err != nil {
		return nil, nil, err
	}
	conn, err := p.connection(ctx)
	if err != nil {
		return nil, nil, err
	}
	return p, conn, nil
}

// callGate counts the running calls of peers, so that Stop can let them finish.
type callGate struct {
	mu      sync.Mutex // guards all below
	running int
	closed  bool
	idle    chan struct{} // made by close, closed when running reaches zero
}

// enter reports whether a call may start; leave must follow.
func (g *callGate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.running++
	return true
}

func (g *callGate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	if g.closed && g.running == 0 {
		close(g.idle)
	}
}

// close lets no further call in and waits for the running ones until ctx ends.
func (g *callGate) close(ctx context.Context) {
	g.mu.Lock()
	g.closed = true
	g.idle = make(chan struct{})
	if g.running == 0 {
		close(g.idle)
	}
	g.mu.Unlock()
	select {
	case <-g.idle:
	case <-ctx.Done():
	}
}

// NodeInfo asks the node at an address who it is. No membership is needed.
func (t *GRPC) NodeInfo(ctx context.Context, addr string, req *nodev1.GetNodeInfoRequest) (*nodev1.GetNodeInfoResponse, error) {
	conn, err := t.stranger(addr)
	if err != nil {
		return nil, fmt.Errorf("node info of %s: %w", addr, err)
	}
	resp, err := nodev1.NewNodeServiceClient(conn).GetNodeInfo(ctx, req)
	_ = conn.Close() // nothing is left to lose on it
	if err != nil {
		return nil, fmt.Errorf("node info of %s: %w", addr, err)
	}
	return resp, nil
}

// Join asks the node at an address to admit a store. No membership is needed. It is idempotent by store id.
func (t *GRPC) Join(ctx context.Context, addr string, req *nodev1.JoinRequest) (*nodev1.JoinResponse, error) {
	conn, err := t.stranger(addr)
	if err != nil {
		return nil, fmt.Errorf("join through %s: %w", addr, err)
	}
	resp, err := nodev1.NewNodeServiceClient(conn).Join(ctx, req)
	_ = conn.Close() // nothing is left to lose on it
	if err != nil {
		return nil, fmt.Errorf("join through %s: %w", addr, err)
	}
	return resp, nil
}

// stranger opens a connection of its own to an address.
func (t *GRPC) stranger(addr string) (*grpc.ClientConn, error) {
	t.mu.Lock()
	stopped := t.stopped
	t.mu.Unlock()
	if stopped {
		return nil, ErrStopped
	}
	return t.dial(addr, 0)
}
