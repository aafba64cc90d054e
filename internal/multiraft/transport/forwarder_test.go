package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// forwardPair is two members, of which the second serves the first's proposals.
func forwardPair(t *testing.T, forward func(context.Context, *nodev1.ForwardRequest) *nodev1.ForwardResponse) (from, to *GRPC) {
	t.Helper()
	to, addr := serve(t, GRPCConfig{}, &quietHandler{forward: forward})
	from, _ = serve(t, GRPCConfig{Resolver: fixedResolver(addr)}, &quietHandler{})
	from.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 1})
	to.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 2})
	return from, to
}

func proposal(text string) *nodev1.ForwardRequest { return &nodev1.ForwardRequest{Data: []byte(text)} }

// gate is a handler whose calls wait for their name to be let through, or for their end.
type gate struct {
	entered chan string // names of calls that have begun
	ended   chan string // names of those whose context ended
	mu      sync.Mutex  // guards open
	open    map[string]chan struct{}
}

func newGate() *gate {
	return &gate{entered: make(chan string, 100), ended: make(chan string, 100), open: map[string]chan struct{}{}}
}

func (g *gate) door(name string) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[name] == nil {
		g.open[name] = make(chan struct{})
	}
	return g.open[name]
}

func (g *gate) forward(ctx context.Context, req *nodev1.ForwardRequest) *nodev1.ForwardResponse {
	name := string(req.GetData())
	if name != "late" { // nobody waits for those, and they may be many
		g.entered <- name
	}
	switch {
	case strings.HasPrefix(name, "refuse"):
		return &nodev1.ForwardResponse{Error: nodev1.ForwardError_FORWARD_ERROR_NOT_LEADER, LeaderHint: 3}
	case strings.HasPrefix(name, "hold"):
		select {
		case <-g.door(name):
		case <-ctx.Done():
			g.ended <- name
			return &nodev1.ForwardResponse{Error: nodev1.ForwardError_FORWARD_ERROR_OUTCOME_UNKNOWN}
		}
	}
	return &nodev1.ForwardResponse{Result: req.GetData(), Index: 5}
}

// await receives a name within the patience of tests.
func await(t *testing.T, names <-chan string, want string) {
	t.Helper()
	select {
	case got := <-names:
		if got != want {
			t.Fatalf("came %q, want %q", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("waited in vain for %q", want)
	}
}

// soonOver is the context of a caller whose time is over soon, and who waits all the same to be told so.
type soonOver struct {
	context.Context //nolint:containedctx // it is one

	end time.Time
}

// Deadline implements context.Context.
func (s soonOver) Deadline() (time.Time, bool) { return s.end, true }

// wrongClock is the machine's clock, set wrong.
type wrongClock struct {
	clock.Real
	by time.Duration
}

func (c wrongClock) Now() time.Time { return c.Real.Now().Add(c.by) }

// TestPatienceDoesNotDependOnTheTime forwards at nodes whose clocks are wrong: a proposal may take as long as its caller has time.
func TestPatienceDoesNotDependOnTheTime(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{10 * 24 * time.Hour, -10 * 24 * time.Hour} {
		to, addr := serve(t, GRPCConfig{}, &quietHandler{forward: func(ctx context.Context, _ *nodev1.ForwardRequest) *nodev1.ForwardResponse {
			end, _ := ctx.Deadline()
			return &nodev1.ForwardResponse{Message: time.Until(end).String()}
		}})
		from, _ := serve(t, GRPCConfig{Resolver: fixedResolver(addr), Clock: wrongClock{by: by}}, &quietHandler{})
		from.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 1})
		to.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 2})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		resp, err := from.Forward(ctx, 2, proposal("how long"))
		if err != nil {
			t.Fatal(err)
		}
		if left, err := time.ParseDuration(resp.GetMessage()); err != nil || left > time.Hour || left < time.Minute {
			t.Errorf("with a clock that is wrong by %v the leader waits for %s, want an hour", by, resp.GetMessage())
		}
		everywhere := proposal("how long for all")
		everywhere.All = true
		allResp, allErr := from.Forward(ctx, 2, everywhere)
		if allErr != nil {
			t.Fatal(allErr)
		}
		if left, err := time.ParseDuration(allResp.GetMessage()); err != nil || left > time.Hour-mostOfAnswer || left < time.Minute {
			t.Errorf("with a clock that is wrong by %v the leader waits for all voters for %s, want less than an hour", by, allResp.GetMessage())
		}
	}
}

// TestTimeToAnswer: who waits for all voters has a tenth of the caller's time to answer in, and no more than is needed.
func TestTimeToAnswer(t *testing.T) {
	t.Parallel()
	for left, want := range map[time.Duration]time.Duration{
		0: 0, time.Second: 900 * time.Millisecond, 2 * time.Second: 1800 * time.Millisecond, time.Minute: time.Minute - 500*time.Millisecond,
	} {
		if got := patience(&nodev1.ForwardRequest{All: true}, left); got != want {
			t.Errorf("of %v the leader gets %v, want %v", left, got, want)
		}
		if got := patience(&nodev1.ForwardRequest{}, left); got != left {
			t.Errorf("of %v the leader gets %v for a quorum, want all of it", left, got)
		}
	}
}

func TestForwardsEndEachOnItsOwn(t *testing.T) {
	t.Parallel()
	g := newGate()
	from, _ := forwardPair(t, g.forward)
	held := make(chan error, 1)
	go func() {
		resp, err := from.Forward(t.Context(), 2, proposal("hold a"))
		if err == nil && string(resp.GetResult()) != "hold a" {
			err = fmt.Errorf("answered with %v", resp)
		}
		held <- err
	}()
	await(t, g.entered, "hold a")

	// The end of one caller's time ends his call there, and nobody else's.
	short := soonOver{t.Context(), time.Now().Add(30 * time.Millisecond)}
	if resp, err := from.Forward(short, 2, proposal("hold b")); err != nil || resp.GetError() != nodev1.ForwardError_FORWARD_ERROR_OUTCOME_UNKNOWN {
		t.Errorf("Forward beyond its time = %v, %v, want an unknown outcome", resp, err)
	}
	await(t, g.entered, "hold b")
	await(t, g.ended, "hold b")

	leaving, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := from.Forward(leaving, 2, proposal("hold c"))
		gone <- err
	}()
	await(t, g.entered, "hold c")
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) || errors.Is(err, ErrNotDelivered) {
		t.Errorf("Forward that was left = %v, want an unknown outcome and why", err)
	}
	await(t, g.ended, "hold c")

	// A refusal is one call's alone, and has its hint; the same request twice is the group's affair.
	resp, err := from.Forward(t.Context(), 2, proposal("refuse"))
	if err != nil || resp.GetError() != nodev1.ForwardError_FORWARD_ERROR_NOT_LEADER || resp.GetLeaderHint() != 3 {
		t.Errorf("refused Forward = %v, %v", resp, err)
	}
	twice := &nodev1.ForwardRequest{RequestId: bytes.Repeat([]byte{9}, 16), Data: []byte("twice")}
	for range 2 {
		if resp, err := from.Forward(t.Context(), 2, twice); err != nil || string(resp.GetResult()) != "twice" {
			t.Errorf("Forward of a repeated request = %v, %v", resp, err)
		}
	}
	close(g.door("hold a"))
	if err := <-held; err != nil {
		t.Errorf("the call that all others outran: %v", err)
	}
}

func TestForwardsBeyondTheBoundAreRefused(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	from, _ := forwardPair(t, func(_ context.Context, req *nodev1.ForwardRequest) *nodev1.ForwardResponse {
		<-release
		return &nodev1.ForwardResponse{Result: req.GetData()}
	})
	var callers sync.WaitGroup
	failures := make(chan error, maxForwards)
	for i := range maxForwards {
		callers.Go(func() {
			text := strconv.Itoa(i)
			if resp, err := from.Forward(t.Context(), 2, proposal(text)); err != nil || string(resp.GetResult()) != text {
				failures <- fmt.Errorf("call %d = %v, %w", i, resp, err)
			}
		})
	}
	p, err := from.peer(2)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(20 * time.Second)
	for full := false; !full; {
		p.forwarder.mu.Lock()
		full = len(p.forwarder.waiting) == maxForwards
		p.forwarder.mu.Unlock()
		select {
		case <-deadline:
			t.Fatal("the calls did not come under way")
		case <-time.After(time.Millisecond):
		}
	}
	resp, err := from.Forward(t.Context(), 2, proposal("one more"))
	if err != nil || resp.GetError() != nodev1.ForwardError_FORWARD_ERROR_OVERLOADED {
		t.Errorf("call beyond the bound = %v, %v, want overloaded", resp, err)
	}
	close(release)
	callers.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	if resp, err := from.Forward(t.Context(), 2, proposal("room again")); err != nil || string(resp.GetResult()) != "room again" {
		t.Errorf("call after the others = %v, %v", resp, err)
	}
}

// TestForwardsThatLeaveTakeTheirDataAlong lets callers go while nothing is sent, as when the peer stands still.
func TestForwardsThatLeaveTakeTheirDataAlong(t *testing.T) {
	t.Parallel()
	f := newForwarder(&peer{replica: 2})
	for range 3 {
		for n := range 10 {
			c := &forward{size: 100, req: proposal("x"), done: make(chan forwardEnd, 1)}
			if full, err := f.push(&grpc.ClientConn{}, c); full || err != nil {
				t.Fatalf("call %d: full %t, %v", n, full, err)
			}
			if _, err := f.leave(c, context.DeadlineExceeded); !errors.Is(err, ErrNotDelivered) {
				t.Fatalf("call %d left with %v", n, err)
			}
		}
	}
	if len(f.queue) != 0 || len(f.waiting) != 0 || f.waitingBytes != 0 {
		t.Errorf("%d calls are queued and %d wait with %d bytes, want none", len(f.queue), len(f.waiting), f.waitingBytes)
	}
}

func TestStopAnswersRunningForwards(t *testing.T) {
	t.Parallel()
	g := newGate()
	from, to := forwardPair(t, g.forward)
	held := make(chan error, 1)
	go func() {
		resp, err := from.Forward(t.Context(), 2, proposal("hold"))
		if err == nil && string(resp.GetResult()) != "hold" {
			err = fmt.Errorf("answered with %v", resp)
		}
		held <- err
	}()
	await(t, g.entered, "hold")
	stopped := make(chan struct{})
	go func() { to.Stop(context.Background()); close(stopped) }()
	for { // later ones are refused
		resp, err := from.Forward(t.Context(), 2, proposal("late"))
		if err != nil {
			t.Fatal(err)
		}
		if resp.GetError() == nodev1.ForwardError_FORWARD_ERROR_STOPPED {
			break
		}
	}
	close(g.door("hold"))
	if err := <-held; err != nil {
		t.Errorf("the call that ran when its node stopped: %v", err)
	}
	<-stopped
}

// TestPeerWithoutTheStream asks a peer of a version that answers single calls only.
func TestPeerWithoutTheStream(t *testing.T) {
	t.Parallel()
	old, err := NewGRPC(GRPCConfig{Resolver: fixedResolver(""), Clock: clock.Real{}}, &quietHandler{
		forward: func(_ context.Context, req *nodev1.ForwardRequest) *nodev1.ForwardResponse {
			return &nodev1.ForwardResponse{Result: req.GetData()}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { old.Stop(context.Background()) })
	old.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 2})
	desc := nodev1.NodeService_ServiceDesc
	desc.Streams = nil
	server := grpc.NewServer(grpc.ForceServerCodecV2(newWireCodec()))
	server.RegisterService(&desc, &service{transport: old})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	from, _ := serve(t, GRPCConfig{Resolver: fixedResolver(listener.Addr().String())}, &quietHandler{})
	from.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 1})
	for i := range 3 {
		text := strconv.Itoa(i)
		if resp, err := from.Forward(t.Context(), 2, proposal(text)); err != nil || string(resp.GetResult()) != text {
			t.Errorf("call %d = %v, %v", i, resp, err)
		}
	}
}
