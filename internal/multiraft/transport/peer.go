package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// errBackingOff says that the last attempt failed a moment ago.
var errBackingOff = errors.New("peer could not be reached a moment ago")

// peer is one other replica: a connection shared by its lanes and calls.
type peer struct {
	transport *GRPC
	replica   ident.ReplicaID
	hello     hello
	lanes     [laneCount]*lane
	forwarder *forwarder
	cancel    context.CancelFunc
	done      sync.WaitGroup // the lanes, the forwarder and whoever searches
	wanted    chan *search   // has room for the one that can be under way

	mu        sync.Mutex // guards all below
	conn      *grpc.ClientConn
	addr      string
	search    *search  // nil while nobody looks for the peer
	tried     []string // addresses of the last attempt
	closed    bool
	failures  int       // attempts in a row
	notBefore time.Time // no new connection earlier
	complaint string    // the last failure that was logged
}

func newPeer(t *GRPC, own Identity, replica ident.ReplicaID) *peer {
	ctx, cancel := context.WithCancel(context.Background())
	p := &peer{transport: t, replica: replica, hello: helloTo(own, replica), wanted: make(chan *search, 1), cancel: cancel}
	for i := range p.lanes {
		p.lanes[i] = newLane(p, Lane(i))
		p.done.Go(func() { p.lanes[i].run(ctx) })
	}
	p.forwarder = newForwarder(p)
	p.done.Go(func() { p.forwarder.run(ctx) })
	p.done.Go(func() { p.runSearches(ctx) })
	return p
}

// close breaks the connection and waits for whatever runs.
func (p *peer) close() {
	p.mu.Lock()
	p.closed = true
	conn := p.conn
	p.conn = nil
	p.mu.Unlock()
	p.cancel()
	if conn != nil {
		_ = conn.Close() // the peer is given up, there is nobody to tell
	}
	p.done.Wait()
}

// connection returns the shared connection, making a new one where the old one failed or the address
// has changed. Where one address is known it does not wait for it to be established: the first stream or call on it does.
// Where there are several, it waits until the peer has been found at one of them.
func (p *peer) connection(ctx context.Context) (*grpc.ClientConn, error) {
	conn, looking, err := p.current()
	if looking != nil {
		return looking.await(ctx)
	}
	return conn, err
}

// current returns the connection, or the search for one that is under way.
func (p *peer) current() (*grpc.ClientConn, *search, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, nil, ErrStopped
	case p.search != nil:
		return nil, p.search, nil
	case p.conn != nil && p.transport.chooser != nil && p.conn.GetState() == connectivity.Ready:
		return p.conn, nil, nil // whatever has become known since: who moves says so, and who is somebody else refuses
	}
	ways := p.transport.ways(p.replica)
	switch {
	case len(ways) == 0:
		return nil, nil, ErrUnknownAddress
	case len(ways) == 1 && p.conn != nil && p.addr == ways[0] && !hasFailed(p.conn):
		return p.conn, nil, nil
	case p.transport.cfg.Clock.Now().Before(p.notBefore) && !p.hasNews(ways):
		return nil, nil, errBackingOff
	case len(ways) > 1:
		// gRPC makes a connection that was lost anew, at the same address, which may take long where nobody answers any more.
		p.search = &search{ended: make(chan struct{})}
		p.wanted <- p.search // one at a time, so there is room
		return nil, p.search, nil
	}
	conn, err := p.transport.dial(ways[0], p.replica)
	if err != nil {
		return nil, nil, err
	}
	p.tried = ways
	p.use(conn, ways[0])
	return conn, nil, nil
}

// use makes a connection the shared one; it needs p.mu.
func (p *peer) use(conn *grpc.ClientConn, addr string) {
	if p.conn != nil {
		_ = p.conn.Close() // it failed or leads elsewhere
	}
	p.conn, p.addr = conn, addr
}

// hasNews reports whether there is an address that the last attempt did not try; it needs p.mu.
func (p *peer) hasNews(ways []string) bool {
	return slices.ContainsFunc(ways, func(addr string) bool { return !slices.Contains(p.tried, addr) })
}

// moved breaks the connection when it leads elsewhere than to where the peer says it is now, for nobody may be there any
// more; whoever uses it makes another.
func (p *peer) moved(to string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil && p.addr != to {
		_ = p.conn.Close() // whether the way is still good shows when it is connected again
	}
}

// missed hears that somebody else is at the end of a connection, or nobody. It is given up if the peer may be elsewhere. What others have
// replaced meanwhile does not count.
func (p *peer) missed(conn *grpc.ClientConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	elsewhere := func(addr string) bool { return addr != p.addr }
	if !p.closed && p.conn == conn && slices.ContainsFunc(p.transport.ways(p.replica), elsewhere) {
		_ = conn.Close() // it leads nowhere
		p.conn = nil
	}
}

// hasFailed reports whether a connection gave up connecting. gRPC would try again by itself, at its own
// pace and the old address; a new connection follows ours.
func hasFailed(conn *grpc.ClientConn) bool {
	switch conn.GetState() {
	case connectivity.TransientFailure, connectivity.Shutdown:
		return true
	case connectivity.Idle, connectivity.Connecting, connectivity.Ready:
		return false
	}
	return false
}

// reached ends the back-off.
func (p *peer) reached() {
	p.mu.Lock()
	p.failures = 0
	p.notBefore = time.Time{}
	p.complaint = ""
	p.mu.Unlock()
}

// failed lengthens the back-off, once for all lanes and calls that failed in the same round, and returns
// how long to pause. The reason is logged when it is a new one.
func (p *peer) failed(err error) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backOff(err)
}

// backOff is failed; it needs p.mu.
func (p *peer) backOff(err error) time.Duration {
	cfg := p.transport.cfg
	now := cfg.Clock.Now()
	if !now.Before(p.notBefore) {
		p.notBefore = now.Add(jitteredPause(cfg.BackoffBase, cfg.BackoffMax, p.failures))
		p.failures++
	}
	if text := err.Error(); text != p.complaint && !errors.Is(err, errBackingOff) {
		p.complaint = text
		cfg.Logger.Warn("connection to peer failed", slog.Uint64("replica_id", uint64(p.replica)),
			slog.String("addr", strings.Join(p.tried, " ")), slog.Any("error", err))
	}
	return p.notBefore.Sub(now)
}

// jitteredPause is the pause after the given number of earlier failures, drawn from the upper half of
// base doubled as often, but no more than most.
func jitteredPause(base, most time.Duration, failures int) time.Duration {
	pause := most
	if failures < 30 && base<<failures < most { // 30 doublings exceed any sensible bound
		pause = base << failures
	}
	return pause/2 + rand.N(pause/2+1) //nolint:gosec // jitter is no secret
}

// Sizes of gRPC's own buffers, in bytes. Windows are fixed, not probed: the bulk lane must be able to
// keep a whole frame in flight, and probing costs a ping per frame.
const (
	streamWindow = 4 << 20
	connWindow   = 16 << 20
	socketBuffer = 64 << 10
)

// dial makes a connection to an address; it is established by the first use. replica zero means that
// only the address is known.
func (t *GRPC) dial(addr string, replica ident.ReplicaID) (*grpc.ClientConn, error) {
	security := insecure.NewCredentials()
	if t.tls != nil {
		security = t.tls.connects(replica)
	}
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(security),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return t.cfg.Dial(ctx, addr) }),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(t.codec),
			grpc.MaxCallRecvMsgSize(t.messageLimit()), grpc.MaxCallSendMsgSize(t.messageLimit())),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: t.cfg.BackoffMax, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 10 * t.cfg.BackoffMax},
			MinConnectTimeout: t.cfg.DialTimeout,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: t.cfg.KeepaliveTime, Timeout: t.cfg.KeepaliveTimeout, PermitWithoutStream: true,
		}),
		grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithReadBufferSize(socketBuffer), grpc.WithWriteBufferSize(socketBuffer),
		grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(), grpc.WithIdleTimeout(0),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return conn, nil
}

// messageLimit is the largest gRPC message: a full frame, or a full chunk with its envelope.
func (t *GRPC) messageLimit() int { return t.cfg.Limits.FrameLimit + messageEnvelope }

// messageEnvelope is room for the protobuf fields around the largest payload, in bytes.
const messageEnvelope = 4 << 10
