package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestKillReachesOtherNodes: KILL LIVE QUERY ends a live query wherever it is.
func TestKillReachesOtherNodes(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := loginSoon(t, nodes[0])
	c.sql("CREATE NAMESPACE chat")
	c.sql("CREATE TABLE chat.log (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	s := watch(t, nodes[2], c)
	s.subscribe("mine", "SELECT * FROM chat.log", "{}")
	s.expect("initial_data_batch ready")
	there := c
	there.url = "http://" + nodes[2].APIAddr()
	id := fmt.Sprint(firstResult(t, there.sql("SELECT live_id FROM system.live"))[0][0])
	if !strings.HasPrefix(id, "3-") {
		t.Fatalf("the live query of node 3 has id %s", id)
	}
	if body := c.sql("KILL LIVE QUERY '" + id + "'"); !strings.Contains(body, "Live query killed: "+id) {
		t.Errorf("KILL LIVE QUERY: %s", body)
	}
	s.expect("error LIVE_QUERY_KILLED")
	if rows := firstResult(t, there.sql("SELECT live_id FROM system.live")); len(rows) != 0 {
		t.Errorf("system.live of node 3 after the kill: %v", rows)
	}
	c.sql("INSERT INTO chat.log VALUES (1)")
	s.subscribe("again", "SELECT * FROM chat.log", "{}")
	s.expect("initial_data_batch 1 ready") // and nothing for the one that was ended
	for statement, want := range map[string]string{
		"KILL LIVE QUERY '" + id + "'": "it has ended", "KILL LIVE QUERY 9-1": "node 9 is not a member", "KILL LIVE QUERY x-1": "not found",
	} {
		if body := c.refused(statement); !strings.Contains(body, want) {
			t.Errorf("%s: %s, want %q", statement, body, want)
		}
	}
	closeNode(t, nodes[2])
	if status, body := c.post("/v1/api/sql", map[string]any{"sql": "KILL LIVE QUERY 3-2"}); status != http.StatusServiceUnavailable ||
		!strings.Contains(string(body), "cannot be asked") {
		t.Errorf("a node that is away: %d %s", status, body)
	}
}

// TestStreamRowsLeaveEveryNode: presence. Rows of a STREAM table cease to exist on all nodes when their time is over,
// whoever wrote them and whoever leads; those who follow are told of each that goes, once, and a result counts them.
func TestStreamRowsLeaveEveryNode(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := loginSoon(t, nodes[0])
	c.sql("CREATE NAMESPACE chat")
	c.sql("CREATE STREAM TABLE chat.here (id BIGINT PRIMARY KEY, room TEXT) WITH (TTL_SECONDS = 2)")
	var sockets []*socket
	for _, n := range nodes {
		s := watch(t, n, c)
		s.subscribe("rows", "SELECT * FROM chat.here", "{}")
		s.expect("initial_data_batch ready")
		sockets = append(sockets, s)
	}
	counter := watch(t, nodes[1], c)
	counter.subscribe("count", "SELECT COUNT(*) AS id FROM chat.here", "{}")
	counter.expect("initial_data_batch 0 ready")
	for i, n := range nodes {
		c.url = "http://" + n.APIAddr()
		c.sql(fmt.Sprintf("INSERT INTO chat.here VALUES (%d, 'lobby')", i))
	}
	c.cluster("CLUSTER TRANSFER LEADER 2")
	for _, s := range sockets {
		s.expect("insert 0", "insert 1", "insert 2")
	}
	for _, s := range sockets {
		gone := map[string]int{}
		for range nodes {
			gone[s.next().words()]++
		}
		if gone["delete 0"] != 1 || gone["delete 1"] != 1 || gone["delete 2"] != 1 {
			t.Errorf("told of those who left: %v", gone)
		}
	}
	for last := ""; last != "update 0"; {
		last = counter.next().words()
	}
	for _, n := range nodes {
		c.url = "http://" + n.APIAddr()
		if rows := firstResult(t, c.sql("SELECT * FROM chat.here")); len(rows) != 0 {
			t.Errorf("rows on %s: %v", n.APIAddr(), rows)
		}
		for _, digest := range firstResult(t, c.sql("SELECT row_count FROM system.table_digests WHERE table_name = 'here'")) {
			t.Errorf("%v stored rows are left on %s", digest, n.APIAddr())
		}
	}
}
