package transport_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGRPC(t *testing.T) {
	t.Parallel()
	transporttest.Run(t, newGRPCCluster)
}

func TestMemory(t *testing.T) {
	t.Parallel()
	transporttest.Run(t, newMemoryCluster)
}

// grpcCluster runs real transports on loopback. Faults happen in the connections it dials.
type grpcCluster struct {
	mu     sync.Mutex // guards all below
	names  map[string]string
	cut    map[[2]string]bool
	conns  []*faultyConn
	marker []byte
}

func newGRPCCluster(t *testing.T) transporttest.Cluster {
	t.Helper()
	return &grpcCluster{names: map[string]string{}, cut: map[[2]string]bool{}}
}

// Start implements transporttest.Cluster.
func (c *grpcCluster) Start(t *testing.T, name string, resolver transport.Resolver, handler transport.Handler,
	limits transport.Limits,
) (transporttest.Node, string) {
	t.Helper()
	node, err := transport.NewGRPC(transport.GRPCConfig{
		Resolver: resolver, Clock: clock.Real{}, Limits: limits,
		BackoffBase: time.Millisecond, BackoffMax: 20 * time.Millisecond, ReportInterval: time.Millisecond,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) { return c.dial(ctx, name, addr) },
	}, handler)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.names[listener.Addr().String()] = name
	c.mu.Unlock()
	served := make(chan error, 1)
	go func() { served <- node.Serve(listener) }()
	t.Cleanup(func() {
		node.Stop(context.Background())
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return node, listener.Addr().String()
}

// faultyConn is a connection that can be hit by bit flips.
type faultyConn struct {
	net.Conn
	cluster *grpcCluster
	ends    [2]string
}

// Write implements net.Conn.
func (f *faultyConn) Write(data []byte) (int, error) {
	f.cluster.mu.Lock()
	marker := f.cluster.marker
	f.cluster.mu.Unlock()
	return f.Conn.Write(flip(data, marker))
}

// flip returns data with one bit changed in the marker, if it is there.
func flip(data, marker []byte) []byte {
	at := bytes.Index(data, marker)
	if len(marker) == 0 || at < 0 {
		return data
	}
	data = bytes.Clone(data)
	data[at+len(marker)/2] ^= 0x10
	return data
}

func pair(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

func (c *grpcCluster) dial(ctx context.Context, from, addr string) (net.Conn, error) {
	c.mu.Lock()
	ends := pair(from, c.names[addr])
	cut := c.cut[ends]
	c.mu.Unlock()
	if cut {
		return nil, errors.New("network is cut")
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	faulty := &faultyConn{Conn: conn, cluster: c, ends: ends}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut[ends] {
		return nil, errors.Join(errors.New("network is cut"), conn.Close())
	}
	c.conns = append(c.conns, faulty)
	return faulty, nil
}

// Cut implements transporttest.Cluster.
func (c *grpcCluster) Cut(a, b string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut[pair(a, b)] = true
	for _, conn := range c.conns {
		if conn.ends == pair(a, b) {
			_ = conn.Close() // it may be closed already
		}
	}
}

// Heal implements transporttest.Cluster.
func (c *grpcCluster) Heal(a, b string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.cut, pair(a, b))
}

// Corrupt implements transporttest.Cluster.
func (c *grpcCluster) Corrupt(marker []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.marker = marker
}

// memoryCluster runs memory transports and delivers from a goroutine of its own.
type memoryCluster struct {
	network *transport.Network
}

func newMemoryCluster(t *testing.T) transporttest.Cluster {
	t.Helper()
	c := &memoryCluster{network: transport.NewNetwork(clock.Real{})}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		c.pump(stop)
	}()
	t.Cleanup(func() { close(stop); <-done })
	return c
}

// pump delivers whatever is due until stop is closed.
func (c *memoryCluster) pump(stop chan struct{}) {
	for {
		c.network.Deliver(1 << 20)
		var due <-chan time.Time
		if at, ok := c.network.NextDue(); ok {
			timer := clock.Real{}.NewTimer(at.Sub(clock.Real{}.Now()))
			defer timer.Stop()
			due = timer.C()
		}
		select {
		case <-stop:
			return
		case <-c.network.Ready():
		case <-due:
		}
	}
}

// Start implements transporttest.Cluster.
func (c *memoryCluster) Start(t *testing.T, name string, resolver transport.Resolver, handler transport.Handler,
	limits transport.Limits,
) (transporttest.Node, string) {
	t.Helper()
	node, err := c.network.Node(transport.MemoryConfig{
		Address: name, Resolver: resolver, Limits: limits, ReportInterval: time.Millisecond,
	}, handler)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { node.Stop(context.Background()) })
	return node, name
}

// Cut implements transporttest.Cluster.
func (c *memoryCluster) Cut(a, b string) { c.network.Partition(a, b) }

// Heal implements transporttest.Cluster.
func (c *memoryCluster) Heal(a, b string) { c.network.Heal(a, b) }

// Corrupt implements transporttest.Cluster.
func (c *memoryCluster) Corrupt(marker []byte) {
	c.network.SetFault(func(p *transport.Packet) transport.Verdict {
		p.Frame = flip(p.Frame, marker)
		return transport.Verdict{}
	})
	c.network.SetCallFault(func(call *transport.Call) transport.CallVerdict {
		call.Wire = flip(call.Wire, marker)
		return transport.DeliverCall
	})
}
