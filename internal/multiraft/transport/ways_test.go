package transport

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// knownWays resolves every replica to the same addresses, and notes where one was found.
type knownWays struct {
	mu    sync.Mutex // guards all below
	ways  []string
	taken []string
}

func (k *knownWays) Address(ident.ReplicaID) (string, bool) { panic("one of several is not asked for") }

func (k *knownWays) Addresses(ident.ReplicaID) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.ways)
}

func (k *knownWays) AddressTaken(_ ident.ReplicaID, addr string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.taken = append(k.taken, addr)
}

// add makes another address known.
func (k *knownWays) add(addr string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ways = append(k.ways, addr)
}

// found is where the replica was found, in this order.
func (k *knownWays) found() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.taken, " ")
}

// steppedClock is the machine's clock for all but waiting: what waits for longer than a pause between two attempts waits for ever, and what waits for
// that pause does so until the test lets it go on.
type steppedClock struct {
	clock.Real

	steps chan time.Time // closed where nothing is to wait
}

func (c steppedClock) NewTimer(d time.Duration) clock.Timer {
	switch {
	case d < nextAfter: // between attempts that failed
		return c.Real.NewTimer(0)
	case d == nextAfter:
		return steppedTimer{c.steps}
	}
	return steppedTimer{nil}
}

type steppedTimer struct{ c chan time.Time }

func (t steppedTimer) C() <-chan time.Time { return t.c }
func (t steppedTimer) Stop() bool          { return true }

// swallower is the network of one node: it notes who is dialed, some addresses of which swallow everything, and what is open.
type swallower struct {
	mu      sync.Mutex // guards all below
	swallow []string
	late    string // what "late:1" leads to, empty as long as nobody is there
	dialed  []string
	open    int
}

func (s *swallower) dial(ctx context.Context, addr string) (net.Conn, error) {
	s.mu.Lock()
	s.dialed = append(s.dialed, addr)
	swallows := slices.Contains(s.swallow, addr)
	late := addr == "late:1"
	if late {
		addr = s.late
	}
	s.mu.Unlock()
	if late && addr == "" {
		return nil, errors.New("connection refused")
	}
	if swallows {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.open++
	s.mu.Unlock()
	return &countedConn{Conn: conn, of: s}, nil
}

func (s *swallower) look() (dialed []string, open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.dialed), s.open
}

type countedConn struct {
	net.Conn
	of   *swallower
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() {
		c.of.mu.Lock()
		c.of.open--
		c.of.mu.Unlock()
	})
	return c.Conn.Close()
}

// replica serves a replica of the cluster and gives the address and what arrives.
func replica(t *testing.T, id ident.ReplicaID) (addr string, arrived chan struct{}) {
	t.Helper()
	arrived = make(chan struct{}, 1000)
	node, addr := serve(t, GRPCConfig{}, &quietHandler{messages: func([]Message) {
		select {
		case arrived <- struct{}{}:
		default:
		}
	}})
	node.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: id})
	return addr, arrived
}

// nobody is an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	return closed.Addr().String()
}

// sayUntilArrived has replica 1 speak to replica 2 until something arrives.
func sayUntilArrived(t *testing.T, from *GRPC, arrived chan struct{}) {
	t.Helper()
	for len(arrived) > 0 {
		<-arrived
	}
	until(t, "a message arrives", func() bool {
		from.Send(2, []Message{{Group: 1, Raft: &raftpb.Message{
			Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(1)), To: new(uint64(2)),
		}}})
		return len(arrived) > 0
	})
}

// until waits for what must come.
func until(t *testing.T, what string, come func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for giveUp := time.Now().Add(time.Minute); !come(); <-ticker.C {
		if time.Now().After(giveUp) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// TestPeerIsFoundAmongItsWays: an address at which nobody listens and one of another replica do not keep from the one that is good, which is kept, also when
// the connection to it breaks.
func TestPeerIsFoundAmongItsWays(t *testing.T) {
	t.Parallel()
	other, _ := replica(t, 3)
	meant, arrived := replica(t, 2)
	ways := &knownWays{ways: []string{"late:1", other, meant}} // nobody is at the first one, and nobody can come there
	from, _ := serve(t, GRPCConfig{Resolver: ways, Dial: (&swallower{}).dial}, &quietHandler{})
	from.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 1})
	sayUntilArrived(t, from, arrived)
	if found := ways.found(); found != meant {
		t.Errorf("found at %q, want %q", found, meant)
	}
	from.moved(2, "elsewhere:1")
	until(t, "it is looked for and found again", func() bool {
		sayUntilArrived(t, from, arrived)
		return ways.found() == meant+" "+meant
	})
}

// looksFor is a node that has something to say to replica 2, which may be at any of these addresses, and whose time goes on by steps.
func looksFor(t *testing.T, network *swallower, steps chan time.Time, ways ...string) *GRPC {
	t.Helper()
	from, _ := serve(t, GRPCConfig{
		Resolver: &knownWays{ways: ways}, Dial: network.dial, Clock: steppedClock{steps: steps},
		DialTimeout: time.Hour, BackoffBase: time.Millisecond, BackoffMax: 10 * time.Millisecond,
	}, &quietHandler{})
	from.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 1})
	from.Send(2, []Message{{Group: 1, Raft: &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(1)), To: new(uint64(2))}}})
	return from
}

// TestSwallowedPacketsDelayNobody: where an address swallows what is sent to it, the next one is tried after a moment, and not when a dial has failed
// at last, which in this test it never does. The attempts that lost leave no connection.
func TestSwallowedPacketsDelayNobody(t *testing.T) {
	t.Parallel()
	meant, arrived := replica(t, 2)
	other, _ := replica(t, 3)
	network := &swallower{swallow: []string{"hole:1", "hole:2"}}
	steps := make(chan time.Time)
	from := looksFor(t, network, steps, "hole:1", other, "hole:2", meant)
	dials := func(want ...string) {
		t.Helper()
		until(t, "the dials", func() bool {
			dialed, _ := network.look()
			if len(dialed) > len(want) {
				t.Fatalf("dialed are %v, want %v", dialed, want)
			}
			return slices.Equal(dialed, want)
		})
	}
	dials("hole:1") // and no other before the moment has passed
	steps <- time.Time{}
	dials("hole:1", other, "hole:2") // who fails does not keep the next one waiting
	steps <- time.Time{}
	dials("hole:1", other, "hole:2", meant)
	sayUntilArrived(t, from, arrived)
	until(t, "one connection is left", func() bool { _, open := network.look(); return open == 1 })
	if resp, err := from.Forward(t.Context(), 2, &nodev1.ForwardRequest{}); err != nil {
		t.Errorf("Forward = %v, %v", resp, err)
	}
	dials("hole:1", other, "hole:2", meant) // everything goes over the one
}

// TestWayThatFailedIsTriedAgain: a node that starts while another of its addresses swallows what is sent to it is found, and not only once that one is given up.
func TestWayThatFailedIsTriedAgain(t *testing.T) {
	t.Parallel()
	meant, arrived := replica(t, 2)
	network := &swallower{swallow: []string{"hole:1"}}
	steps := make(chan time.Time)
	from := looksFor(t, network, steps, "late:1", "hole:1")
	dials := func(want ...string) {
		t.Helper()
		until(t, "the dials", func() bool { dialed, _ := network.look(); return slices.Equal(dialed, want) })
	}
	dials("late:1", "hole:1")
	for range againAfter {
		steps <- time.Time{}
	}
	dials("late:1", "hole:1", "late:1")
	network.mu.Lock()
	network.late = meant
	network.mu.Unlock()
	for range againAfter {
		steps <- time.Time{}
	}
	dials("late:1", "hole:1", "late:1", "late:1")
	sayUntilArrived(t, from, arrived)
	until(t, "one connection is left", func() bool { _, open := network.look(); return open == 1 })
}

// TestFirstWayThatIsGoodIsTheOnlyOne: as long as the first address answers, no other is dialed.
func TestFirstWayThatIsGoodIsTheOnlyOne(t *testing.T) {
	t.Parallel()
	meant, arrived := replica(t, 2)
	network := &swallower{}
	from, _ := serve(t, GRPCConfig{
		Resolver: &knownWays{ways: []string{meant, "hole:1"}}, Dial: network.dial, Clock: steppedClock{},
		DialTimeout: time.Hour, BackoffBase: time.Millisecond, BackoffMax: 10 * time.Millisecond,
	}, &quietHandler{})
	from.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 1})
	sayUntilArrived(t, from, arrived)
	if dialed, open := network.look(); !slices.Equal(dialed, []string{meant}) || open != 1 {
		t.Errorf("dialed are %v, %d are open", dialed, open)
	}
}

// TestWayThatBecomesKnownIsTried: what becomes known while all that was known swallows everything is tried at once, and so it is where one address was known,
// at which somebody else is.
func TestWayThatBecomesKnownIsTried(t *testing.T) {
	t.Parallel()
	other, _ := replica(t, 3)
	for name, known := range map[string][]string{"one that swallows": {"hole:1"}, "two that do": {"hole:1", "hole:2"}, "somebody else": {other}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			meant, arrived := replica(t, 2)
			network := &swallower{swallow: []string{"hole:1", "hole:2"}}
			ways := &knownWays{ways: known}
			at := steppedClock{steps: make(chan time.Time)}
			close(at.steps)
			from, _ := serve(t, GRPCConfig{
				Resolver: ways, Dial: network.dial, Clock: at, DialTimeout: time.Hour, BackoffBase: time.Millisecond, BackoffMax: 10 * time.Millisecond,
			}, &quietHandler{})
			from.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 1})
			from.Send(2, []Message{{Group: 1, Raft: &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(1)), To: new(uint64(2))}}})
			until(t, "all are dialed", func() bool { dialed, _ := network.look(); return len(dialed) >= len(known) })
			ways.add(meant)
			// The node asks its peers every now and then.
			until(t, "the peer answers", func() bool {
				_, err := from.Forward(t.Context(), 2, &nodev1.ForwardRequest{})
				return err == nil
			})
			sayUntilArrived(t, from, arrived)
			until(t, "one connection is left", func() bool { _, open := network.look(); return open == 1 })
		})
	}
}

// TestSearchEndsWithItsPeer: a search of which nothing comes ends when the peer is forgotten or the node stops, and whoever waits for it is told.
func TestSearchEndsWithItsPeer(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*GRPC){
		"forgotten": func(g *GRPC) { g.Forget(2) },
		"stopped":   func(g *GRPC) { g.Stop(context.Background()) },
	} {
		network := &swallower{swallow: []string{"hole:1", "hole:2"}}
		from, _ := serve(t, GRPCConfig{
			Resolver: &knownWays{ways: []string{"hole:1", "hole:2"}}, Dial: network.dial, Clock: steppedClock{},
			DialTimeout: time.Hour, BackoffBase: time.Millisecond, BackoffMax: 10 * time.Millisecond,
		}, &quietHandler{})
		from.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 1})
		told := make(chan error, 1)
		go func() {
			_, err := from.Forward(context.Background(), 2, &nodev1.ForwardRequest{})
			told <- err
		}()
		until(t, "a dial", func() bool { dialed, _ := network.look(); return len(dialed) > 0 })
		end(from)
		if err := <-told; err == nil {
			t.Errorf("%s: the proposal was carried out", name)
		}
	}
}

// TestCallDoesNotOutwaitItsContext: who asks a peer that is looked for waits no longer than it wants to.
func TestCallDoesNotOutwaitItsContext(t *testing.T) {
	t.Parallel()
	network := &swallower{swallow: []string{"hole:1", "hole:2"}}
	from, _ := serve(t, GRPCConfig{
		Resolver: &knownWays{ways: []string{"hole:1", "hole:2"}}, Dial: network.dial, Clock: steppedClock{},
		DialTimeout: time.Hour, BackoffBase: time.Millisecond, BackoffMax: 10 * time.Millisecond,
	}, &quietHandler{})
	from.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 1})
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan error, 1)
	go func() {
		_, err := from.MemberInfo(ctx, 2, &nodev1.GetNodeInfoRequest{})
		told <- err
	}()
	until(t, "a dial", func() bool { dialed, _ := network.look(); return len(dialed) > 0 })
	cancel()
	if err := <-told; err == nil {
		t.Error("a peer that nobody reaches has answered")
	}
}

// TestCertificateDecidesAmongWays: of several addresses the one whose certificate is the wanted node's is taken, also where another node with a certificate of
// the same authority claims to be the replica.
func TestCertificateDecidesAmongWays(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	_, thief := secureMember(t, ca.issue(t, "thief", "node-3", ""), 2, fixedResolver(""))
	_, meant := secureMember(t, ca.issue(t, "meant", "node-2", ""), 2, fixedResolver(""))
	ways := &knownWays{ways: []string{thief, meant}}
	from, _ := secureMember(t, ca.issue(t, "from", "node-1", ""), 1, ways)
	until(t, "the peer answers", func() bool {
		_, err := from.Forward(t.Context(), 2, &nodev1.ForwardRequest{})
		return err == nil
	})
	if found := ways.found(); found != meant {
		t.Errorf("found at %q, want %q", found, meant)
	}
	// The thief alone is nobody.
	alone, _ := secureMember(t, ca.issue(t, "alone", "node-1", ""), 1, &knownWays{ways: []string{thief, nobody(t)}})
	if _, err := alone.Forward(t.Context(), 2, &nodev1.ForwardRequest{}); err == nil || !strings.Contains(err.Error(), "certificate is of node 3") {
		t.Errorf("Forward to a thief = %v", err)
	}
}
