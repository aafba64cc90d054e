package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
)

const rootPassword = "correct horse battery"

// testConfig is a small, quick configuration on loopback.
func testConfig(dir string) *config.Config {
	cfg := config.Default()
	cfg.Server.Port = 0
	cfg.Storage.DataPath = dir
	cfg.Auth.RootPassword, cfg.Auth.BcryptCost = rootPassword, 4
	cfg.Raft.LogSegmentBytes = 1 << 20
	cfg.Cluster.HeartbeatIntervalMillis = 100
	cfg.Cluster.ElectionTimeoutMillis = []int64{300, 600}
	cfg.Cluster.PeerWaitInitialMillis, cfg.Cluster.PeerWaitMaxDelayMillis = 50, 200
	cfg.RateLimit.MaxQueriesPerSec = 0
	return cfg
}

func openNode(t *testing.T, cfg *config.Config, opts Options) *Node {
	t.Helper()
	level := slog.LevelError
	if os.Getenv("KALAMDB_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	// A busy machine takes minutes for a test: the leader would merge by itself what the test merges.
	opts.jobsByHand = true
	n, err := Open(t.Context(), cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNode(t, n) })
	return n
}

func closeNode(t *testing.T, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), tooLong)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// tooLong is when tests give up on what does not come. What comes takes as long as the machine needs, which may have little time for
// tests, or look for races.
const tooLong = 3 * time.Minute

// waitReady polls readiness until the nodes are ready.
func waitReady(t *testing.T, nodes ...*Node) {
	t.Helper()
	deadline := time.Now().Add(tooLong)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for _, n := range nodes {
		for {
			readiness := clusterView{n}.Ready(t.Context())
			if readiness.Ready {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("node %d is not ready: %+v", n.cfg.Cluster.NodeID, readiness)
			}
			select {
			case <-n.failed:
				t.Fatalf("node %d failed: %v", n.cfg.Cluster.NodeID, n.failure)
			case <-ticker.C:
			}
		}
	}
}

type client struct {
	t     *testing.T
	url   string
	token string
}

func login(t *testing.T, n *Node, user, password string) client {
	t.Helper()
	c := client{t: t, url: "http://" + n.APIAddr()}
	status, body := c.post("/v1/api/auth/login", map[string]any{"user": user, "password": password})
	if status != http.StatusOK {
		t.Fatalf("login: %d %s", status, body)
	}
	var grant struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &grant); err != nil {
		t.Fatal(err)
	}
	c.token = grant.AccessToken
	return c
}

func (c client) post(path string, body any) (int, []byte) {
	c.t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url+path, bytes.NewReader(encoded))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	answer, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, answer
}

// sql runs a statement that must succeed and returns the answer without its duration.
func (c client) sql(text string) string {
	c.t.Helper()
	status, body := c.post("/v1/api/sql", map[string]any{"sql": text})
	if status != http.StatusOK {
		c.t.Fatalf("%s: %d %s", text, status, body)
	}
	return string(body)
}

// openCluster starts three nodes in this process that form one cluster; change may adapt the configurations.
func openCluster(t *testing.T, change ...func(*config.Config)) []*Node {
	t.Helper()
	return openClusterOn(t, [3]disk.FS{}, change...)
}

// openClusterOn is openCluster on these disks; nil is the machine's.
func openClusterOn(t *testing.T, disks [3]disk.FS, change ...func(*config.Config)) []*Node {
	t.Helper()
	const n = 3
	api, rpc := make([]net.Listener, n), make([]net.Listener, n)
	var peers []config.Peer
	for i := range n {
		api[i], rpc[i] = listen(t), listen(t)
		peers = append(peers, config.Peer{
			NodeID: uint64(i + 1), RPCAddr: rpc[i].Addr().String(), APIAddr: api[i].Addr().String(),
		})
	}
	nodes := make([]*Node, n)
	for i := range n {
		cfg := testConfig(t.TempDir())
		cfg.Cluster.ClusterID, cfg.Cluster.NodeID = "test", uint64(i+1)
		cfg.Cluster.RPCAddr, cfg.Cluster.APIAddr = peers[i].RPCAddr, peers[i].APIAddr
		cfg.Cluster.Peers = peers
		for _, apply := range change {
			apply(cfg)
		}
		nodes[i] = openNode(t, cfg, Options{APIListener: api[i], RPCListener: rpc[i], fs: disks[i]})
	}
	return nodes
}

func TestThreeNodesServeSQL(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	for i, n := range nodes {
		c.url = "http://" + n.APIAddr()
		c.sql(fmt.Sprintf("CREATE TABLE shop.t%d (id BIGINT PRIMARY KEY, name TEXT) WITH (TYPE='SHARED')", i))
		for j, m := range nodes {
			c.url = "http://" + m.APIAddr()
			c.sql(fmt.Sprintf("INSERT INTO shop.t%d (id, name) VALUES (%d, 'row')", i, j))
		}
	}
	for _, n := range nodes {
		c.url = "http://" + n.APIAddr()
		for i := range nodes {
			if got := c.sql(fmt.Sprintf("SELECT count(*) FROM shop.t%d", i)); !strings.Contains(got, `"rows":[["3"]]`) {
				t.Errorf("node %s: %s", n.APIAddr(), got)
			}
		}
	}
}

func TestStandaloneServesSQLAndRemembers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := openNode(t, testConfig(dir), Options{})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.orders (id BIGINT PRIMARY KEY, amount DECIMAL(10,2)) WITH (TYPE='USER')")
	c.sql("INSERT INTO shop.orders VALUES (1, 2.50), (2, -0.25)")
	closeNode(t, n)
	n = openNode(t, testConfig(dir), Options{})
	waitReady(t, n)
	c = login(t, n, "root", rootPassword)
	if got := c.sql("SELECT id, amount FROM shop.orders ORDER BY id DESC"); !strings.Contains(got, `["2","-0.25"],["1","2.50"]`) {
		t.Errorf("after a restart: %s", got)
	}
}

func TestReplicationModeAll(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, func(cfg *config.Config) { cfg.Cluster.ReplicationMode = "all" })
	waitReady(t, nodes...)
	c := login(t, nodes[1], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	c.sql("INSERT INTO shop.t VALUES (1), (2)")
	group := shard.SharedShard(0)
	for _, n := range nodes {
		rows, _, err := rowvalue.TableDigest(n.store, group, mustTable(t, n, "shop", "t"))
		if err != nil || rows != 2 {
			t.Errorf("node %d stores %d rows when the write was answered, %v", n.cfg.Cluster.NodeID, rows, err)
		}
	}
	closeNode(t, nodes[2])
	deadline := time.Now().Add(tooLong)
	for {
		status, body := c.post("/v1/api/sql", map[string]any{"sql": "INSERT INTO shop.t VALUES (3)"})
		if status == http.StatusServiceUnavailable && strings.Contains(string(body), "node 3") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("without node 3 a write for all is answered %d %s", status, body)
		}
	}
}

// TestReadLevels reads on a node that is left alone: only a local read, and a bounded one of what it has just read, are
// answered.
func TestReadLevels(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, func(cfg *config.Config) { cfg.Cluster.ReplicationTimeoutMilli = 500 })
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	c.sql("INSERT INTO shop.t VALUES (1), (2)")
	read := func(level string, more map[string]any) (int, string) {
		body := map[string]any{"sql": "SELECT count(*) FROM shop.t", "read_level": level}
		maps.Copy(body, more)
		status, answer := c.post("/v1/api/sql", body)
		return status, string(answer)
	}
	for _, level := range []string{"linearizable", "lease", "bounded", "local"} {
		if status, answer := read(level, nil); status != http.StatusOK || !strings.Contains(answer, `"rows":[["2"]]`) {
			t.Errorf("%s: %d %s", level, status, answer)
		}
	}
	closeNode(t, nodes[1])
	closeNode(t, nodes[2])
	if status, answer := read("bounded", map[string]any{"max_staleness_ms": 600_000}); status != http.StatusOK {
		t.Errorf("bounded by ten minutes on a node alone: %d %s", status, answer)
	}
	if status, answer := read("local", nil); status != http.StatusOK || !strings.Contains(answer, `"rows":[["2"]]`) {
		t.Errorf("local on a node alone: %d %s", status, answer)
	}
	for _, level := range []string{"linearizable", "lease"} {
		if status, answer := read(level, nil); status == http.StatusOK {
			t.Errorf("%s on a node alone: %d %s", level, status, answer)
		}
	}
	if status, answer := read("bounded", map[string]any{"max_staleness_ms": 1}); status == http.StatusOK {
		t.Errorf("bounded by a millisecond on a node alone: %d %s", status, answer)
	}
	if status, answer := c.post("/v1/api/sql", map[string]any{"sql": "INSERT INTO shop.t VALUES (3)", "read_level": "local"}); status == http.StatusOK {
		t.Errorf("a change on a node alone: %d %s", status, answer)
	}
}

func mustTable(t *testing.T, n *Node, namespace, name string) ident.TableID {
	t.Helper()
	var id ident.TableID
	within(t, fmt.Sprintf("node %d knows %s.%s", n.cfg.Cluster.NodeID, namespace, name), func() bool {
		table, ok := n.catalog.Current().Table(namespace, name)
		if ok {
			id = table.ID
		}
		return ok
	})
	return id
}
