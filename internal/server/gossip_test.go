package server

import (
	"context"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// TestDeadWithinTwoElectionTimeouts moves the clock: a member counts as alive until just before two of the longest election timeouts after it was
// asked for its last answer, and not longer, however late that answer came: a node may die with its answer on the way.
func TestDeadWithinTwoElectionTimeouts(t *testing.T) {
	t.Parallel()
	hands := clock.NewManual(time.Unix(1_700_000_000, 0))
	n := &Node{catalog: catalog.NewStore(), cfg: config.Default(), clock: hands}
	n.cfg.Cluster.ElectionTimeoutMillis = []int64{500, 1000}
	n.gossip = newGossip(n)
	const bound = 2 * time.Second
	for _, late := range []time.Duration{0, time.Millisecond, housePeriod, bound - time.Nanosecond} {
		asked := hands.Now()
		hands.Advance(late)
		n.gossip.hear(2, &nodev1.GetNodeInfoResponse{ReplicaId: 2, ClockMicros: asked.UnixMicro()}, asked, n.gossip.notices())
		hands.Advance(bound - time.Nanosecond - late)
		if _, fresh := n.gossip.get(2); !fresh {
			t.Errorf("an answer that took %v: the member is dead %v after it was asked", late, hands.Now().Sub(asked))
		}
		hands.Advance(time.Nanosecond)
		if _, fresh := n.gossip.get(2); fresh {
			t.Errorf("an answer that took %v: the member is alive %v after it was asked", late, hands.Now().Sub(asked))
		}
		if _, told := n.gossip.offset(2); told {
			t.Error("the clock of a dead member counts")
		}
	}
	// It is asked often enough to miss no more than every other time.
	if pause := n.roundPause(); 3*pause > bound {
		t.Errorf("members are asked every %v", pause)
	}
}

// replicaTwo says who it is, and nothing else.
type replicaTwo struct{ transport.Handler }

func (replicaTwo) HandleNodeInfo(context.Context, *nodev1.GetNodeInfoRequest) *nodev1.GetNodeInfoResponse {
	return &nodev1.GetNodeInfoResponse{ReplicaId: 2}
}

// TestSilentMemberMakesNobodyElseLookDead: of three members one swallows all questions, which makes it look dead and the other one not for a moment,
// however short the election timeouts are; and the other one looks dead two of them after its end.
func TestSilentMemberMakesNobodyElseLookDead(t *testing.T) {
	t.Parallel()
	for _, longest := range []int64{60, 300, 600, 1000, 5000} {
		t.Run(strconv.FormatInt(longest, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { askBesideOneThatSwallows(t, longest) })
		})
	}
}

func askBesideOneThatSwallows(t *testing.T, longestMillis int64) {
	t.Helper()
	longest := time.Duration(longestMillis) * time.Millisecond
	n := &Node{catalog: catalog.NewStore(), cfg: config.Default(), clock: clock.Real{}}
	n.cfg.Cluster.ElectionTimeoutMillis = []int64{longestMillis / 2, longestMillis}
	n.gossip = newGossip(n)
	n.identity.Replica = 1
	edit := n.catalog.Current().Edit()
	for id, addr := range map[ident.ReplicaID]string{1: "one:1", 2: "two:1", 3: "three:1"} {
		edit.SetMember(&catalog.Member{Replica: id, Node: ident.NodeID(id), RPCAddr: addr})
	}
	n.catalog.Publish(edit.Picture())

	listener := bufconn.Listen(1 << 16)
	two := startTransport(t, transport.GRPCConfig{Resolver: addressBook{n}, Clock: clock.Real{}}, replicaTwo{}, 2)
	served := make(chan error, 1)
	go func() { served <- two.Serve(listener) }()
	defer two.Stop(context.Background())
	n.network = startTransport(t, transport.GRPCConfig{
		Resolver: addressBook{n}, Clock: clock.Real{},
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			if addr == "two:1" {
				return listener.DialContext(ctx)
			}
			<-ctx.Done()
			return nil, ctx.Err()
		},
	}, replicaTwo{}, 1)
	defer n.network.Stop(context.Background())

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); n.gossip.keepAsking(ctx) }()
	defer func() { cancel(); <-ended }()
	fresh := func(replica ident.ReplicaID) bool {
		_, fresh := n.gossip.get(replica)
		return fresh
	}
	passes := func(d time.Duration) { // of the bubble's time, once all in it wait
		<-time.After(d)
		synctest.Wait()
	}
	for synctest.Wait(); !fresh(2); passes(time.Millisecond) {
	}
	for start := time.Now(); time.Since(start) < 20*longest; passes(time.Millisecond) {
		if !fresh(2) || fresh(3) {
			t.Fatalf("after %v replica 2 is shown alive: %t, and replica 3: %t", time.Since(start), fresh(2), fresh(3))
		}
	}
	two.Stop(context.Background())
	if err := <-served; err != nil {
		t.Error(err)
	}
	passes(2 * longest)
	if fresh(2) {
		t.Error("replica 2 is shown alive two election timeouts after its end")
	}
}

// startTransport is a transport of a replica; whoever starts it stops it.
func startTransport(t *testing.T, cfg transport.GRPCConfig, handler transport.Handler, replica ident.ReplicaID) *transport.GRPC {
	t.Helper()
	network, err := transport.NewGRPC(cfg, handler)
	if err != nil {
		t.Fatal(err)
	}
	network.SetIdentity(transport.Identity{ClusterUID: ident.ClusterUID{7}, Replica: replica})
	return network
}

// TestGroupsKeepNobodyWaiting: who asks a node whose groups are not described in time hears of the rest.
func TestGroupsKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	for patience, most := range map[time.Duration]time.Duration{time.Hour: housePeriod, 200 * time.Millisecond: 100 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if got := groupsPatience(ctx); got > most || got <= 0 && patience == time.Hour {
			t.Errorf("of %v groups may take %v", patience, got)
		}
	}
	if got := groupsPatience(context.Background()); got != housePeriod {
		t.Errorf("without an end groups may take %v", got)
	}
}
