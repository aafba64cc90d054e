package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/api/httpapi"
	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// readyz asks a node over HTTP.
func readyz(t *testing.T, n *Node) (answer httpapi.Readiness) {
	t.Helper()
	status, body, err := fresh(t.Context(), http.MethodGet, "http://"+n.APIAddr()+"/readyz", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if answer.Ready != (status == http.StatusOK) || answer.Ready != (len(answer.Reasons) == 0) {
		t.Errorf("/readyz of node %d: %d %s", n.cfg.Cluster.NodeID, status, body)
	}
	return answer
}

// wantReasons waits until a node gives exactly these reasons.
func wantReasons(t *testing.T, n *Node, what string, want []httpapi.NotReady) {
	t.Helper()
	total := len(n.who().Shards.Groups())
	var last httpapi.Readiness
	defer func() {
		if t.Failed() {
			t.Logf("%s: node %d says %+v", what, n.cfg.Cluster.NodeID, last)
		}
	}()
	within(t, what, func() bool {
		last = readyz(t, n)
		groups := last.Groups
		return cmp.Equal(last.Reasons, want) && groups != nil && *groups == httpapi.GroupCount{Total: total, Ready: total - len(want)}
	})
}

// ofAllGroups is the same reason for every group of a node.
func ofAllGroups(n *Node, reason string) []httpapi.NotReady {
	var all []httpapi.NotReady
	for _, id := range n.who().Shards.Groups() {
		all = append(all, httpapi.NotReady{GroupID: uint64(id), Reason: reason})
	}
	return all
}

// TestReadyzOfOneThatIsNoMember: a node that looks for its cluster says where, and names no group.
func TestReadyzOfOneThatIsNoMember(t *testing.T) {
	t.Parallel()
	nowhere := listen(t)
	addr := nowhere.Addr().String()
	if err := nowhere.Close(); err != nil {
		t.Fatal(err)
	}
	cfg, opts := newcomer(t, 2, &Node{cfg: config.Default()})
	cfg.Cluster.ClusterID = "test"
	cfg.Cluster.Join = config.Join{Wanted: true, Addresses: []string{addr}}
	n := openNode(t, cfg, opts)
	within(t, "the node says where it looks", func() bool {
		answer := readyz(t, n)
		if answer.Ready || len(answer.Reasons) != 1 || answer.Reasons[0].GroupID != 0 || answer.Groups != nil {
			t.Fatalf("%+v", answer)
		}
		why := answer.Reasons[0].Reason
		return strings.HasPrefix(why, "not a member of the cluster yet: ") && strings.Contains(why, addr+" does not answer")
	})
}

// TestReadyzNamesTheGroup: one of two voters of one group is gone, while the other groups have three: both nodes that are left name that group alone. A
// drained node is ready all the same: it serves through the others.
func TestReadyzNamesTheGroup(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	within(t, "all members have said that they know votes by group", func() bool { return nodes[0].commonFormat() >= command.VotesFormat })
	c := login(t, nodes[0], "root", rootPassword)
	wantGroups(t, c.cluster("CLUSTER LEAVE 3 ON GROUP 103"), 3, 103)
	c.cluster("CLUSTER DRAIN 3")
	for _, n := range nodes {
		wantReasons(t, n, "all are ready", nil)
	}
	closeNode(t, nodes[1])
	for _, n := range []*Node{nodes[0], nodes[2]} {
		wantReasons(t, n, "one group has no leader", []httpapi.NotReady{{GroupID: 103, Reason: "no leader"}})
	}
	nodes[1] = openNode(t, nodes[1].cfg, Options{APIListener: relisten(t, nodes[1].apiAddr), RPCListener: relisten(t, nodes[1].rpcAddr)})
	for _, n := range nodes {
		wantReasons(t, n, "all are ready again", nil)
	}
}

// TestReadyzOfALogThatStandsStill: a node whose log finds no room, or whose disk does not answer, says so at once, for each of its groups, and is ready when it
// goes on. Its account of the cluster is not held up either.
func TestReadyzOfALogThatStandsStill(t *testing.T) {
	t.Parallel()
	d := newTroubled()
	nodes := openClusterOn(t, [3]disk.FS{2: d}, func(cfg *config.Config) { cfg.Raft.LogCacheBytes = 1 << 20 })
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE='SHARED')")
	full := faultfs.Hook(func(op faultfs.Op) error {
		if strings.Contains(op.Path, "/log/") && strings.HasSuffix(op.Path, ".tmp") && (op.Kind == faultfs.Create || op.Kind == faultfs.Write) {
			return syscall.ENOSPC
		}
		return nil
	})
	d.fault.Store(&full)
	stuck := nodes[2]
	body := strings.Repeat("x", 100<<10)
	noRoom := ofAllGroups(stuck, "the log finds no room on the disk")
	for id := 0; ; id++ {
		c.sql(fmt.Sprintf("INSERT INTO shop.t VALUES (%d, '%s')", id, body))
		// A node that others starve may say something else on the way.
		if slices.Contains(readyz(t, stuck).Reasons, noRoom[0]) {
			break
		}
		if id > 1000 {
			t.Fatal("the log never runs out of room")
		}
	}
	wantReasons(t, stuck, "the log finds no room", noRoom)
	var health struct {
		Status string `json:"status"`
	}
	status, answer, err := fresh(t.Context(), http.MethodGet, "http://"+stuck.APIAddr()+"/v1/api/cluster/health", c.token, "")
	if err != nil || json.Unmarshal([]byte(answer), &health) != nil || status != http.StatusOK || health.Status != httpapi.StatusUnhealthy {
		t.Errorf("the cluster's health at a node whose log stands still: %d %s, %v", status, answer, err)
	}
	d.fault.Store(nil)
	wantReasons(t, stuck, "the log has room", nil)

	still := make(chan struct{})
	d.on("/log/", func() error { <-still; return nil }, faultfs.Write, faultfs.Sync)
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.sql("INSERT INTO shop.t VALUES (-1, '')")
	}()
	wantReasons(t, stuck, "the disk does not answer", ofAllGroups(stuck, "the disk of the log does not answer"))
	<-written
	d.fault.Store(nil)
	close(still)
	wantReasons(t, stuck, "the disk answers", nil)
}
