package server

import (
	"fmt"
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

// TestRouteOfTheOperatorsOwn: what is configured of a peer may be another way to it than the address it knows of itself. It is used as long as
// the peer's own address is what it was when that was configured.
func TestRouteOfTheOperatorsOwn(t *testing.T) {
	t.Parallel()
	id := identity{Routes: []route{{Node: 2, Configured: "proxy:1", Called: "two:1"}, {Node: 3, Configured: "proxy:2"}}}
	for _, test := range []struct {
		node   uint64
		newest string
		moved  bool
	}{
		{2, "two:1", false},
		{2, "", false},
		{2, "two:2", true},
		{3, "three:1", false}, // nothing was known of it before
		{4, "four:1", false},  // nothing is configured of it
	} {
		if got := id.movedSince(ident.NodeID(test.node), test.newest); got != test.moved {
			t.Errorf("node %d at %q has moved: %v, want %v", test.node, test.newest, got, test.moved)
		}
	}
	var said saidAddresses
	for _, step := range []struct {
		say, recorded string // say: empty for nothing
		news          bool
		newest        string
	}{
		{"", "a:1", false, "a:1"},
		{"a:1", "a:1", true, "a:1"},
		{"a:1", "a:1", false, "a:1"},
		{"a:2", "a:1", true, "a:2"}, // it moved, which is not recorded yet
		{"", "a:2", false, "a:2"},
		{"", "a:3", false, "a:3"}, // it moved again, and others have heard of it
		{"a:4", "a:3", true, "a:4"},
	} {
		news := false
		if step.say != "" {
			news = said.take(7, step.say, step.recorded)
		}
		if got := said.newest(7, step.recorded); news != step.news || got != step.newest {
			t.Errorf("%+v: %q, news %v", step, got, news)
		}
	}
}
