package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// elsewhere stops a node and starts it again on other addresses, with what its own configuration says of itself and nothing else changed.
func elsewhere(t *testing.T, n *Node) *Node {
	t.Helper()
	closeNode(t, n)
	api, rpc := listen(t), listen(t)
	cfg := *n.cfg
	cfg.Cluster.RPCAddr, cfg.Cluster.APIAddr = rpc.Addr().String(), api.Addr().String()
	return openNode(t, &cfg, Options{APIListener: api, RPCListener: rpc})
}

// wantAt checks that a node leads what it is asked to, so that all others reach it, and that all of them show where it is.
func wantAt(t *testing.T, moved *Node, nodes ...*Node) {
	t.Helper()
	waitReady(t, moved)
	want := fmt.Sprintf("%s|%s|active", moved.RPCAddr(), moved.APIAddr())
	for _, n := range nodes {
		c := login(t, n, "root", rootPassword)
		within(t, fmt.Sprintf("node %d shows where node %d is", n.cfg.Cluster.NodeID, moved.cfg.Cluster.NodeID), func() bool {
			return c.grid(fmt.Sprintf("SELECT rpc_addr, api_addr, status FROM system.cluster WHERE node_id = %d", moved.cfg.Cluster.NodeID)) == want
		})
	}
	wantLeads(t, moved, nodes...)
}

// wantLeads checks that a node is ready and leads what others ask it to.
func wantLeads(t *testing.T, moved *Node, nodes ...*Node) {
	t.Helper()
	waitReady(t, moved)
	for _, n := range nodes {
		c := login(t, n, "root", rootPassword)
		within(t, fmt.Sprintf("node %d gives its leadership to node %d", n.cfg.Cluster.NodeID, moved.cfg.Cluster.NodeID), func() bool {
			c.cluster(fmt.Sprintf("CLUSTER TRANSFER LEADER %d ON GROUP 200", n.cfg.Cluster.NodeID))
			c.cluster(fmt.Sprintf("CLUSTER TRANSFER LEADER %d ON GROUP 200", moved.cfg.Cluster.NodeID))
			return n.engine().Leader(200) == moved.self()
		})
	}
}

// TestConfiguredPeerThatMoved: a node comes back at other ports than the others' configuration says. They reach it without a restart, also after one,
// and when only its own vote makes a majority.
func TestConfiguredPeerThatMoved(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	nodes[1] = elsewhere(t, nodes[1])
	wantAt(t, nodes[1], nodes...)

	closeNode(t, nodes[0])
	cfg := *nodes[0].cfg
	nodes[0] = openNode(t, &cfg, Options{APIListener: relisten(t, nodes[0].apiAddr), RPCListener: relisten(t, nodes[0].rpcAddr)})
	waitReady(t, nodes[0])
	wantAt(t, nodes[1], nodes[0])

	closeNode(t, nodes[2])
	nodes[1] = elsewhere(t, nodes[1])
	wantAt(t, nodes[1], nodes[0], nodes[1])
}

// TestJoinedNodeThatMoved is the same for nodes that have joined a cluster of one, of which each in turn moves, the first one included.
func TestJoinedNodeThatMoved(t *testing.T) {
	t.Parallel()
	nodes := []*Node{openFirst(t)}
	for id := uint64(2); id <= 3; id++ {
		cfg, opts := newcomer(t, id, nodes[0])
		cfg.Cluster.Join = config.Join{Wanted: true, Addresses: []string{nodes[0].RPCAddr()}}
		nodes = append(nodes, openNode(t, cfg, opts))
		waitReady(t, nodes...)
	}
	for i := range nodes {
		nodes[i] = elsewhere(t, nodes[i])
		wantAt(t, nodes[i], nodes...)
	}
}

// TestPeersThatChangedPlaces: two nodes come back each at the address that the other had, so that whoever goes by the configuration finds the wrong one.
func TestPeersThatChangedPlaces(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	two, three := nodes[1].rpcAddr, nodes[2].rpcAddr
	closeNode(t, nodes[1])
	closeNode(t, nodes[2])
	for i, addr := range map[int]string{1: three, 2: two} {
		cfg := *nodes[i].cfg
		cfg.Cluster.RPCAddr = addr
		nodes[i] = openNode(t, &cfg, Options{APIListener: relisten(t, nodes[i].apiAddr), RPCListener: relisten(t, addr)})
	}
	waitReady(t, nodes...)
	wantAt(t, nodes[1], nodes...)
	wantAt(t, nodes[2], nodes...)
}

// TestPeerThatMovedTwice: a node was away during the first move of another, which then is all that can make a majority with it: it reads of the first
// place after it has heard of the second.
func TestPeerThatMovedTwice(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	closeNode(t, nodes[0])
	nodes[1] = elsewhere(t, nodes[1])
	wantAt(t, nodes[1], nodes[1], nodes[2])
	closeNode(t, nodes[2])
	nodes[1] = elsewhere(t, nodes[1])
	cfg := *nodes[0].cfg
	nodes[0] = openNode(t, &cfg, Options{APIListener: relisten(t, nodes[0].apiAddr), RPCListener: relisten(t, nodes[0].rpcAddr)})
	wantAt(t, nodes[1], nodes[0], nodes[1])
}

// TestRouteOfTheOperatorsOwn: what is configured of a peer leads to it, and goes on doing so when the peer takes to calling its address something that
// nobody else can use.
func TestRouteOfTheOperatorsOwn(t *testing.T) {
	t.Parallel()
	for _, own := range []string{"127.0.0.2:1", "0.0.0.0:9188"} {
		t.Run(own, func(t *testing.T) {
			t.Parallel()
			nodes := openCluster(t)
			waitReady(t, nodes...)
			closeNode(t, nodes[1])
			cfg := *nodes[1].cfg
			way := cfg.Cluster.RPCAddr
			cfg.Cluster.RPCAddr, cfg.Cluster.AllowInsecureRPC = own, true
			nodes[1] = openNode(t, &cfg, Options{APIListener: relisten(t, nodes[1].apiAddr), RPCListener: relisten(t, way)})
			for _, n := range []*Node{nodes[0], nodes[2]} {
				within(t, fmt.Sprintf("node %d has what node 2 calls its address", n.cfg.Cluster.NodeID), func() bool {
					m, ok := n.catalog.Current().Member(nodes[1].self())
					return ok && m.RPCAddr == own
				})
			}
			wantLeads(t, nodes[1], nodes...)
			for _, n := range []*Node{nodes[0], nodes[2]} {
				within(t, fmt.Sprintf("node %d uses the configured way", n.cfg.Cluster.NodeID), func() bool {
					addr, _ := addressBook{n}.Address(nodes[1].self())
					return addr == way
				})
			}
		})
	}
}

// TestWayConfiguredWithAMove: in one stop of all nodes, one gets an address of its own that nobody else can use, and the others another way to it.
func TestWayConfiguredWithAMove(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	for _, n := range nodes {
		closeNode(t, n)
	}
	rpc := listen(t)
	way := rpc.Addr().String()
	for _, i := range []int{0, 2, 1} {
		cfg := *nodes[i].cfg
		cfg.Cluster.Peers = slices.Clone(cfg.Cluster.Peers)
		cfg.Cluster.Peers[1].RPCAddr = way
		opts := Options{APIListener: relisten(t, nodes[i].apiAddr), RPCListener: rpc}
		if i == 1 {
			cfg.Cluster.RPCAddr = "127.0.0.2:1"
		} else {
			opts.RPCListener = relisten(t, nodes[i].rpcAddr)
		}
		nodes[i] = openNode(t, &cfg, opts)
		if i == 2 {
			waitReady(t, nodes[0], nodes[2])
		}
	}
	wantLeads(t, nodes[1], nodes...)
}

// TestWaysInTurn: what is known of a peer's address comes in the order in which it is to be tried, and where the peer was found comes first.
func TestWaysInTurn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		configured, recorded string
		steps                []string // "say x", "find x" or "record x", what is tried then, and whether that is a move
	}{
		"nothing is known": {"", "", []string{
			"record ||", "say a:1|a:1|",
		}},
		"the configured way comes first and again": {"proxy:1", "a:1", []string{
			"say a:1|proxy:1 a:1|", "say a:2|proxy:1 a:2 a:1|moved", "find a:1|a:1 proxy:1 a:2|", "find a:2|a:2 proxy:1 a:1|",
			"find proxy:1|proxy:1 a:2 a:1|", "say a:3|proxy:1 a:3 a:1|moved",
		}},
		"who is found elsewhere is looked for where it says": {"proxy:1", "a:1", []string{
			"find a:1|a:1 proxy:1|", "say a:2|a:2 proxy:1 a:1|moved", "record a:2|a:2 proxy:1|", "say a:2|a:2 proxy:1|",
		}},
		"what is recorded may be older than what is said": {"", "a:1", []string{
			"say c:1|c:1 a:1|moved", "record b:1|c:1 b:1|", "record c:1|c:1|", "find c:1|c:1|", "record d:1|c:1 d:1|",
		}},
		"where it was found may be known no more": {"proxy:1", "a:1", []string{
			"find a:1|a:1 proxy:1|", "record b:1|proxy:1 b:1|",
		}},
	} {
		var w ways
		recorded := test.recorded
		for _, step := range test.steps {
			parts := strings.Split(step, "|")
			does, addr, _ := strings.Cut(parts[0], " ")
			moved := ""
			switch does {
			case "say":
				if w.take(7, addr, recorded) {
					moved = "moved"
				}
			case "find":
				w.found(7, addr, test.configured)
			case "record":
				recorded = addr
			}
			if got := strings.Join(w.find(7, test.configured, recorded), " "); got != parts[1] || moved != parts[2] {
				t.Errorf("%s: %s: %q, %q", name, step, got, moved)
			}
		}
	}
}

// TestOnlyMembersAreHeard: what replicas that are none say of their addresses is not kept, nor what one said before it was removed.
func TestOnlyMembersAreHeard(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	n := nodes[0]
	addMemberTo(t, n, 4, 4, "n4:1")
	var fourth ident.ReplicaID
	within(t, "node 4 is recorded", func() bool {
		m, ok := catalogMember(n.catalog.Current(), 4)
		if ok {
			fourth = m.Replica
		}
		return ok
	})
	heard := func(replica ident.ReplicaID) bool {
		n.ways.mu.Lock()
		defer n.ways.mu.Unlock()
		_, ok := n.ways.by[replica]
		return ok
	}
	handler := peerHandler{n}
	if !handler.HandleAddress(fourth, "n4:2") || !heard(fourth) {
		t.Errorf("what a member says is not heard")
	}
	for replica := range ident.ReplicaID(100) {
		if stranger := 1000 + replica; handler.HandleAddress(stranger, "x:1") || heard(stranger) {
			t.Fatalf("what replica %d says is kept", stranger)
		}
	}
	addMemberTo(t, n, 4, 5, "n4:1") // takes its place
	within(t, "the removed one is forgotten", func() bool { return !heard(fourth) })
	if handler.HandleAddress(fourth, "n4:3") || heard(fourth) {
		t.Error("what a removed replica says is kept")
	}
}
