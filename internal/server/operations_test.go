package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// outcome is one row of the answer to a CLUSTER statement.
type outcome struct {
	action        string
	group         int64 // -1 for NULL
	success       bool
	message       string
	snapshot      int64
	target        int64
	upto          int64
	hasSnapshotIn bool
}

// cluster runs a CLUSTER statement that must be accepted.
func (c client) cluster(statement string) []outcome {
	c.t.Helper()
	var answer struct {
		Results []struct {
			Rows [][]any `json:"rows"`
		} `json:"results"`
	}
	if err := json.Unmarshal([]byte(c.sql(statement)), &answer); err != nil {
		c.t.Fatal(err)
	}
	if len(answer.Results) != 1 {
		c.t.Fatalf("%s: %d results", statement, len(answer.Results))
	}
	number := func(cell any) int64 {
		if cell == nil {
			return -1
		}
		n, err := strconv.ParseInt(fmt.Sprint(cell), 10, 64)
		if err != nil {
			c.t.Fatalf("%s: %v is no number", statement, cell)
		}
		return n
	}
	var outcomes []outcome
	for _, row := range answer.Results[0].Rows {
		o := outcome{group: number(row[1]), snapshot: number(row[4]), target: number(row[5]), upto: number(row[6])}
		o.action, _ = row[0].(string)
		o.success, _ = row[2].(bool)
		o.message, _ = row[3].(string)
		o.hasSnapshotIn = row[7] != nil
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// rows runs a query and returns its rows.
func (c client) rows(query string) [][]any {
	c.t.Helper()
	var answer struct {
		Results []struct {
			Rows [][]any `json:"rows"`
		} `json:"results"`
	}
	if err := json.Unmarshal([]byte(c.sql(query)), &answer); err != nil || len(answer.Results) != 1 {
		c.t.Fatalf("%s: %+v, %v", query, answer, err)
	}
	return answer.Results[0].Rows
}

// refused runs a statement that must be refused and returns the body.
func (c client) refused(statement string) string {
	c.t.Helper()
	status, body := c.post("/v1/api/sql", map[string]any{"sql": statement})
	if status == http.StatusOK {
		c.t.Fatalf("%s: %s, want a refusal", statement, body)
	}
	return string(body)
}

// leads counts the groups that each node leads.
func leads(nodes []*Node) []int {
	counts := make([]int, len(nodes))
	for i, n := range nodes {
		counts[i] = n.engine().LeaderCount()
	}
	return counts
}

func wantAllTo(t *testing.T, outcomes []outcome, groups int, target int64) {
	t.Helper()
	if len(outcomes) != groups {
		t.Fatalf("%d outcomes, want %d: %+v", len(outcomes), groups, outcomes)
	}
	for _, o := range outcomes {
		if !o.success || o.message != "" || o.target != target {
			t.Errorf("%+v: want success with target %d", o, target)
		}
	}
}

// within polls until ok holds.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(tooLong)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
		<-ticker.C
	}
}

func TestLeadershipMovesOnDemand(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	groups := len(nodes[0].who().Shards.Groups())
	all := func(i int) func() bool { return func() bool { return leads(nodes)[i] == groups } }

	wantAllTo(t, c.cluster("CLUSTER TRANSFER LEADER 3"), groups, 3)
	within(t, "node 3 leads", all(2))
	wantAllTo(t, c.cluster("CLUSTER TRANSFER LEADER 3"), groups, 3) // a repeat finds it done
	wantAllTo(t, c.cluster("CLUSTER TRANSFER LEADER TO 1 ON GROUP 10, 200"), 2, 1)
	if got := nodes[0].engine().Leader(shard.Meta); got != nodes[0].self() {
		t.Errorf("meta is led by replica %d after it was moved to node 1", got)
	}

	// Node 3 was given all but two by hand; the balancer would spread them, and does when it is asked.
	planned := c.cluster("CLUSTER REBALANCE DRY RUN")
	if len(planned) < groups/2 || leads(nodes)[2] != groups-2 {
		t.Errorf("a dry run plans %d moves and leaves %v", len(planned), leads(nodes))
	}
	moved := c.cluster("CLUSTER REBALANCE")
	if len(moved) != len(planned) {
		t.Errorf("%d groups moved, %d were planned", len(moved), len(planned))
	}
	for _, count := range leads(nodes) {
		if count < groups/3-1 || count > groups/3+2 {
			t.Errorf("leaders after the rebalance: %v", leads(nodes))
			break
		}
	}
	if again := c.cluster("CLUSTER REBALANCE DRY RUN"); len(again) != 0 {
		t.Errorf("a balanced cluster would move %+v", again)
	}

	wantAllTo(t, c.cluster("CLUSTER TRIGGER ELECTION"), groups, 1)
	within(t, "node 1 leads", all(0))
	for _, o := range c.cluster("CLUSTER STEPDOWN") {
		if !o.success || o.target == 1 {
			t.Errorf("step down: %+v", o)
		}
	}
	if counts := leads(nodes); counts[0] != 0 || counts[1] < groups/3 || counts[2] < groups/3 {
		t.Errorf("after node 1 stepped down: %v", counts)
	}
	wantAllTo(t, c.cluster("CLUSTER TRANSFER LEADER 2 ON GROUP 10"), 1, 2)
	if stepped := c.cluster("CLUSTER STEPDOWN ON GROUP 10"); len(stepped) != 1 || !stepped[0].success || stepped[0].target == 2 {
		t.Errorf("step down of meta: %+v", stepped)
	}
}

func TestDrainedNodeGetsNoLeadership(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	groups := len(nodes[0].who().Shards.Groups())
	if got := c.cluster("CLUSTER DRAIN 2"); len(got) != 1 || !got[0].success || got[0].target != 2 || got[0].action != "drain" {
		t.Fatalf("drain: %+v", got)
	}
	// Nothing keeps it from being elected where a leader was not heard of; it gives such a leadership away.
	within(t, "the drained node leads nothing", func() bool {
		counts := leads(nodes)
		return counts[1] == 0 && counts[0]+counts[2] == groups
	})
	toDrained := func(o outcome) bool { return o.target == 2 }
	within(t, "no leader would give it a group", func() bool { return !slices.ContainsFunc(c.cluster("CLUSTER REBALANCE DRY RUN"), toDrained) })
	if got := c.cluster("CLUSTER REBALANCE"); slices.ContainsFunc(got, toDrained) {
		t.Errorf("a rebalance without the drained node: %+v", got)
	}
	within(t, "the view says so", func() bool {
		return strings.Contains(c.sql("SELECT node_id, status FROM system.cluster"), `["2","draining"]`)
	})
	if got := c.cluster("CLUSTER RESUME 2"); len(got) != 1 || !got[0].success {
		t.Fatalf("resume: %+v", got)
	}
	within(t, "the balancer brings leaderships back", func() bool { return leads(nodes)[1] >= groups/3-1 })
}

func TestOrdersThatCannotBeFollowed(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	for statement, want := range map[string]string{
		"CLUSTER TRANSFER LEADER 9":             "node 9 is not a member",
		"CLUSTER TRANSFER LEADER 2 ON GROUP 11": "group 11 does not exist",
		"CLUSTER DRAIN 7":                       "node 7 is not a member",
		"CLUSTER LEAVE 7":                       "node 7 is not a member",
		"CLUSTER LEAVE":                         "CLUSTER LEAVE n",
		"CLUSTER DRAIN 3 ON GROUP 10":           "which concerns every group",
		"CLUSTER LEAVE 3 ON GROUP 11":           "group 11 does not exist",
		"CLUSTER LIST":                          "system.cluster",
		"CLUSTER JOIN 4 nowhere api":            "is not host:port",
	} {
		if got := c.refused(statement); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %q in it", statement, got, want)
		}
	}
	// A node that answers under another number, and one that is a member already.
	if got := c.refused("CLUSTER JOIN 4 '" + nodes[1].RPCAddr() + "' ''"); !strings.Contains(got, "is node 2") {
		t.Error(got)
	}
	if got := c.cluster("CLUSTER JOIN 2 '" + nodes[1].RPCAddr() + "' ''"); len(got) != 1 || !got[0].success {
		t.Errorf("inviting a member: %+v", got)
	}
	c.sql("CREATE USER ann WITH PASSWORD 'password-of-ann' ROLE user")
	ann := login(t, nodes[0], "ann", "password-of-ann")
	if got := ann.refused("CLUSTER SNAPSHOT"); !strings.Contains(got, "PERMISSION_DENIED") {
		t.Error(got)
	}

	alone := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, alone)
	if got := login(t, alone, "root", rootPassword).refused("CLUSTER SNAPSHOT"); !strings.Contains(got, "runs alone") {
		t.Error(got)
	}
}

func TestLogsAreCutOnDemand(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[1], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	for i := range 20 {
		c.sql(fmt.Sprintf("INSERT INTO shop.t VALUES (%d)", i))
	}
	groups := len(nodes[0].who().Shards.Groups())
	taken := c.cluster("CLUSTER SNAPSHOT")
	if len(taken) != 3*groups {
		t.Fatalf("%d outcomes, want one for each node and group", len(taken))
	}
	for _, o := range taken {
		if !o.success || o.snapshot < 1 || o.hasSnapshotIn != (o.target == 2) {
			t.Errorf("snapshot: %+v", o)
		}
	}
	within(t, "everything is cut", func() bool {
		for _, o := range c.cluster("CLUSTER PURGE --upto 15 ON GROUP 200") {
			if !o.success || o.group != 200 {
				t.Fatalf("purge: %+v", o)
			}
			if o.upto < 15 {
				return false
			}
		}
		return true
	})
	if first := nodes[0].log.Group(200).FirstIndex(); first != 16 {
		t.Errorf("the log of group 200 starts at %d, want 16", first)
	}
	// As far as it is safe, and no further.
	for _, o := range c.cluster("CLUSTER PURGE --upto 1000000") {
		if o.success && o.upto > 1000 {
			t.Errorf("purge: %+v", o)
		}
	}
	c.sql("INSERT INTO shop.t VALUES (100)")
	for _, n := range nodes {
		c.url = "http://" + n.APIAddr()
		if got := c.sql("SELECT count(*) FROM shop.t"); !strings.Contains(got, `"rows":[["21"]]`) {
			t.Errorf("node %s: %s", n.APIAddr(), got)
		}
	}
}

func TestRemovedNodeStopsAndSaysWhy(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	groups := len(nodes[0].who().Shards.Groups())

	// The statement may go to any node, also to the one that leaves.
	c.url = "http://" + nodes[2].APIAddr()
	wantAllTo(t, c.cluster("CLUSTER LEAVE 3"), groups, 3)
	ended := make(chan error, 1)
	go func() { ended <- nodes[2].Wait() }()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "removed from the cluster") {
			t.Errorf("the removed node ended with %v", err)
		}
	case <-time.After(tooLong):
		t.Fatal("the removed node goes on")
	}
	cfg := nodes[2].cfg
	closeNode(t, nodes[2])
	if _, err := Open(t.Context(), cfg, Options{}); err == nil || !strings.Contains(err.Error(), "empty data directory") {
		t.Errorf("a removed data directory starts: %v", err)
	}

	c.url = "http://" + nodes[1].APIAddr()
	wantAllTo(t, c.cluster("CLUSTER LEAVE 3"), groups, 3) // a repeat finds it done
	c.sql("INSERT INTO shop.t VALUES (1)")
	wantAllTo(t, c.cluster("CLUSTER LEAVE 2"), groups, 2) // two of two agree, then the second one goes
	within(t, "node 2 stops", func() bool {
		select {
		case <-nodes[1].failed:
			return true
		default:
			return false
		}
	})
	closeNode(t, nodes[1])
	c.url = "http://" + nodes[0].APIAddr()
	c.sql("INSERT INTO shop.t VALUES (2)")
	if got := c.refused("CLUSTER LEAVE 1"); !strings.Contains(got, "only member") {
		t.Error(got)
	}

	// An empty directory joins again, by invitation.
	fourth := testConfig(t.TempDir())
	fourth.Cluster = nodes[1].cfg.Cluster
	fourth.Cluster.NodeID, fourth.Cluster.Join.Wanted, fourth.Cluster.Peers = 4, true, nil
	fourth.Cluster.APIAddr = ""
	n := openNode(t, fourth, Options{})
	wantAllTo(t, c.cluster("CLUSTER JOIN 4 '"+n.RPCAddr()+"' ''"), 1, 4)
	waitReady(t, n)
	c.url = "http://" + n.APIAddr()
	if got := c.sql("SELECT count(*) FROM shop.t"); !strings.Contains(got, `"rows":[["2"]]`) {
		t.Error(got)
	}
}

func TestLeavingMustKeepAMajorityAlive(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	closeNode(t, nodes[2])
	within(t, "node 3 is not heard of", func() bool { return !nodes[0].heardOf(nodes[2].self()) })
	if got := c.refused("CLUSTER LEAVE 2"); !strings.Contains(got, "cannot leave") {
		t.Error(got)
	}
	groups := len(nodes[0].who().Shards.Groups())
	wantAllTo(t, c.cluster("CLUSTER LEAVE 3"), groups, 3) // the dead one may
	c.sql("CREATE NAMESPACE shop")
}
