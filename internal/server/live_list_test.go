package server

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/config"
)

// TestLiveQueriesOfAllNodes: system.live has the live queries of every node, whichever is asked, page by page when there
// are many; those of a node that is gone are left out.
func TestLiveQueriesOfAllNodes(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, func(cfg *config.Config) { cfg.RateLimit.MaxSubscriptionsPerUser = 0 })
	waitReady(t, nodes...)
	c := loginSoon(t, nodes[0])
	c.sql("CREATE NAMESPACE chat")
	c.sql("CREATE TABLE chat.log (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	for i, n := range nodes {
		s := watch(t, n, c)
		s.subscribe(fmt.Sprintf("mine%d", i), "SELECT * FROM chat.log", "{}")
		s.expect("initial_data_batch ready")
	}
	list := func(n *Node) string {
		c.url = "http://" + n.APIAddr()
		var words []string
		for _, row := range firstResult(t, c.sql("SELECT live_id, subscription_id, node_id, table_name, user_id, status, query FROM system.live ORDER BY live_id")) {
			words = append(words, fmt.Sprintf("%v %v %v %v %v %v %v", row...))
		}
		return strings.Join(words, "\n")
	}
	const want = "1-1 mine0 1 log root active SELECT * FROM chat.log\n2-1 mine1 2 log root active SELECT * FROM chat.log\n" +
		"3-1 mine2 3 log root active SELECT * FROM chat.log"
	for _, n := range nodes {
		if got := list(n); got != want {
			t.Errorf("system.live of %s:\n%s", n.APIAddr(), got)
		}
	}

	c.url = "http://" + nodes[0].APIAddr()
	if rows := firstResult(t, c.sql("SELECT COUNT(*) FROM system.live WHERE options = '{}' AND last_ping_at >= created_at - INTERVAL '1 minute'")); fmt.Sprint(rows[0][0]) != "3" {
		t.Errorf("%v live queries have options and a last message", rows[0][0])
	}
	if rows := firstResult(t, c.sql("SELECT session_id, user_id FROM system.sessions WHERE transport = 'websocket' ORDER BY session_id")); fmt.Sprint(rows) != "[[1-1 root] [2-1 root] [3-1 root]]" {
		t.Errorf("live connections of all nodes: %v", rows)
	}

	const many = listPageRows + 48
	var subscriptions []string
	for i := range 32 {
		subscriptions = append(subscriptions, fmt.Sprintf(`{"id":"%%d-%d","sql":"SELECT * FROM chat.log"}`, i))
	}
	for at := 0; at < many; at += 32 {
		s := watch(t, nodes[2], c)
		s.send(strings.ReplaceAll(`{"type":"subscribe_all","id":"cut","subscriptions":[`+strings.Join(subscriptions, ",")+`]}`, "%d", strconv.Itoa(at)))
		for range 32 {
			s.expect("subscription_ack ready")
		}
		s.expect("cut_ready")
	}
	c.url = "http://" + nodes[0].APIAddr()
	rows := firstResult(t, c.sql("SELECT COUNT(*), COUNT(DISTINCT live_id) FROM system.live WHERE node_id = 3"))
	if got := fmt.Sprint(rows[0]); got != fmt.Sprintf("[%d %d]", many+1, many+1) {
		t.Errorf("live queries of node 3: %s, want %d", got, many+1)
	}

	closeNode(t, nodes[2])
	for deadline := time.Now().Add(tooLong); ; {
		if got := list(nodes[1]); got == want[:strings.LastIndex(want, "\n")] {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("system.live without node 3:\n%s", got)
		}
	}
}
