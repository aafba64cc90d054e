package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/loopback"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// names is a Resolver whose records a test changes.
type names struct {
	mu    sync.Mutex // guards both
	hosts map[string][]string
	srv   map[string][]*net.SRV
}

func (n *names) LookupHost(_ context.Context, host string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if net.ParseIP(host) != nil {
		return []string{host}, nil
	}
	if found, ok := n.hosts[host]; ok {
		return slices.Clone(found), nil
	}
	return nil, errors.New("no such host")
}

func (n *names) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if found, ok := n.srv[service+proto+name]; ok {
		return name, slices.Clone(found), nil
	}
	return "", nil, errors.New("no such service")
}

// newcomer prepares a node that joins the cluster of a node.
func newcomer(t *testing.T, id uint64, of *Node) (*config.Config, Options) {
	t.Helper()
	api, rpc := listen(t), listen(t)
	cfg := testConfig(t.TempDir())
	cfg.Cluster.ClusterID, cfg.Cluster.NodeID = of.cfg.Cluster.ClusterID, id
	cfg.Cluster.RPCAddr, cfg.Cluster.APIAddr = rpc.Addr().String(), api.Addr().String()
	return cfg, Options{APIListener: api, RPCListener: rpc}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := loopback.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// openFirst founds a cluster of one.
func openFirst(t *testing.T) *Node {
	t.Helper()
	seed := &Node{cfg: config.Default()}
	seed.cfg.Cluster.ClusterID = "test"
	cfg, opts := newcomer(t, 1, seed)
	first := openNode(t, cfg, opts)
	waitReady(t, first)
	return first
}

// TestJoinByNames: a node finds its cluster behind a name with several addresses, behind a service record that
// appears later, and by a name that the system resolves; a second node of the same number is kept out.
func TestJoinByNames(t *testing.T) {
	t.Parallel()
	first := openFirst(t)
	_, port, err := net.SplitHostPort(first.RPCAddr())
	if err != nil {
		t.Fatal(err)
	}
	number, _ := strconv.ParseUint(port, 10, 16)
	book := &names{hosts: map[string][]string{"db.test": {"127.0.0.9", "127.0.0.1"}, "one.test": {"127.0.0.1"}}}

	cfg, opts := newcomer(t, 2, first)
	cfg.Cluster.Join = config.Join{Wanted: true, Addresses: []string{"db.test:" + port, "absent.test:1"}}
	opts.Resolver = book
	second := openNode(t, cfg, opts)

	cfg, opts = newcomer(t, 3, first)
	cfg.Cluster.Join = config.Join{Wanted: true, Addresses: []string{"_kalamdb._tcp.test"}}
	opts.Resolver = book
	third := openNode(t, cfg, opts)
	within(t, "node 3 says what it waits for", func() bool { return strings.Contains(third.whyWaiting(), "_kalamdb._tcp.test") })
	book.mu.Lock()
	book.srv = map[string][]*net.SRV{"_kalamdb._tcp.test": {{Target: "one.test.", Port: uint16(number)}}}
	book.hosts["one.test."], book.hosts["one.test"] = nil, []string{"127.0.0.1"}
	book.mu.Unlock()
	waitReady(t, second, third)
	if second.who().Cluster != first.who().Cluster || third.who().Cluster != first.who().Cluster {
		t.Error("a node that joined is in another cluster")
	}

	cfg, opts = newcomer(t, 3, first)
	cfg.Cluster.Join = config.Join{Wanted: true, Addresses: []string{"localhost:" + port}}
	twin := openNode(t, cfg, opts)
	within(t, "a second node 3 is refused", func() bool {
		return strings.Contains(twin.whyWaiting(), "node 3 is alive with another data directory")
	})
	if twin.self() != 0 {
		t.Error("a second node 3 is a member")
	}

	cfg, opts = newcomer(t, 4, first)
	cfg.Cluster.Join = config.Join{Wanted: true, Addresses: []string{"localhost:" + port}}
	waitReady(t, openNode(t, cfg, opts))
}

// TestRequestWindowIsTheClusters: a cluster keeps the window of requests that it was founded with. A node that is
// configured otherwise, or whose version knows no other than the default, is kept out; one that agrees is let in.
func TestRequestWindowIsTheClusters(t *testing.T) {
	t.Parallel()
	cfg, opts := newcomer(t, 1, &Node{cfg: config.Default()})
	cfg.Cluster.ClusterID, cfg.Cluster.RequestWindow = "test", 2048
	first := openNode(t, cfg, opts)
	waitReady(t, first)
	if got := first.catalog.Current().Cluster().RequestWindow; got != 2048 {
		t.Errorf("the catalog says %d", got)
	}
	answer, err := first.admit(t.Context(), &nodev1.JoinRequest{ClusterId: "test", NodeId: 2, StoreId: bytes.Repeat([]byte{7}, 16)})
	if err != nil || !strings.Contains(answer.GetRefused(), "cluster.request_window = 16384") || answer.GetRetry() {
		t.Errorf("a node with the default was answered %v, %v", answer, err)
	}
	cfg, opts = newcomer(t, 3, first)
	cfg.Cluster.Join = config.Join{Wanted: true, Addresses: []string{first.RPCAddr()}}
	cfg.Cluster.RequestWindow = 2048
	third := openNode(t, cfg, opts)
	waitReady(t, third)
	if id := third.who(); id.Window != 2048 {
		t.Errorf("the node that agrees stored %d", id.Window)
	}
}

// TestShardsAreTheClusters: a node whose shards are other than the cluster's is told both and what to do, and is nobody afterwards: no member
// is recorded and no id was used up. One of a version that does not say its shards is admitted, and one that agrees.
func TestShardsAreTheClusters(t *testing.T) {
	t.Parallel()
	first := openFirst(t)
	have := first.who().Shards
	for _, other := range []shard.Map{
		{UserShards: have.UserShards + 1, SharedShards: have.SharedShards},
		{UserShards: have.UserShards, SharedShards: have.SharedShards + 1},
		{UserShards: have.UserShards},
	} {
		answer, err := first.admit(t.Context(), &nodev1.JoinRequest{
			ClusterId: "test", NodeId: 2, StoreId: bytes.Repeat([]byte{7}, 16), LogFormat: command.LogFormat,
			UserShards: other.UserShards, SharedShards: other.SharedShards,
		})
		want := fmt.Sprintf("cluster.user_shards = %d, cluster.shared_shards = %d: the cluster was founded with %d and %d",
			other.UserShards, other.SharedShards, have.UserShards, have.SharedShards)
		if err != nil || !strings.Contains(answer.GetRefused(), want) || answer.GetRetry() {
			t.Errorf("a node with %+v was answered %v, %v", other, answer, err)
		}
	}
	cfg, opts := newcomer(t, 2, first)
	cfg.Cluster.Join = config.Join{Wanted: true, Addresses: []string{first.RPCAddr()}}
	cfg.Cluster.UserShards++
	second := openNode(t, cfg, opts)
	want := fmt.Sprintf("cluster.user_shards = %d", cfg.Cluster.UserShards)
	if err := ended(t, second); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), fmt.Sprintf("set cluster.user_shards = %d", have.UserShards)) {
		t.Errorf("the node with another division ends with %v", err)
	}
	takeDown(t, second)
	if c := first.catalog.Current(); len(c.Members()) != 1 || c.LastReplica() != 1 {
		t.Errorf("there are %d members, and %d ids were used", len(c.Members()), c.LastReplica())
	}
	cfg.Cluster.UserShards--
	waitReady(t, reopen(t, cfg).Node)
	if c := first.catalog.Current(); c.LastReplica() != 2 {
		t.Errorf("the node that agrees became replica %d", c.LastReplica())
	}
	answer, err := first.admit(t.Context(), &nodev1.JoinRequest{ClusterId: "test", NodeId: 3, StoreId: bytes.Repeat([]byte{8}, 16), LogFormat: command.LogFormat})
	if err != nil || answer.GetReplicaId() != 3 || answer.GetUserShards() != have.UserShards || answer.GetSharedShards() != have.SharedShards {
		t.Errorf("a node that does not say its shards was answered %v, %v", answer, err)
	}
}

// TestEmptyMajorityFoundsNothing: two of three nodes lost their disks and do not see the third, which still has the
// cluster. A new one must not appear.
func TestEmptyMajorityFoundsNothing(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	for _, n := range nodes {
		closeNode(t, n)
	}
	restart := func(n *Node, dir string) *Node {
		cfg := *n.cfg
		cfg.Storage.DataPath = dir
		return openNode(t, &cfg, Options{APIListener: relisten(t, n.apiAddr), RPCListener: relisten(t, n.rpcAddr)})
	}
	empty := []*Node{restart(nodes[0], t.TempDir()), restart(nodes[1], t.TempDir())}
	within(t, "node 1 waits for node 3 with founding", func() bool {
		why := empty[0].whyWaiting()
		return strings.Contains(why, "once all of cluster.peers have answered") && strings.Contains(why, "node 3 at") &&
			!strings.Contains(why, "node 2 at")
	})
	for _, n := range empty {
		if n.self() != 0 {
			t.Fatalf("node %d founded a cluster beside the old one", n.cfg.Cluster.NodeID)
		}
	}
	old := restart(nodes[2], nodes[2].cfg.Storage.DataPath)
	within(t, "node 1 finds the old cluster", func() bool {
		return strings.Contains(empty[0].whyWaiting(), "join") || empty[0].self() != 0
	})
	for _, n := range append(empty, old) {
		if uid := n.who().Cluster; n.self() != 0 && uid != nodes[2].who().Cluster {
			t.Errorf("node %d belongs to the cluster %s", n.cfg.Cluster.NodeID, uid)
		}
	}
}

// relisten takes an address again that a node has just left.
func relisten(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
