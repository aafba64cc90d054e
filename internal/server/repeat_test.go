package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/rowvalue"
)

// sendNamed sends a statement under a key on a connection of its own. With patience it returns status and body;
// without, the connection is cut as soon as the request is on it.
func (c client) sendNamed(key, age, statement string, patience bool) (int, string) {
	c.t.Helper()
	body, err := json.Marshal(map[string]any{"sql": statement})
	if err != nil {
		c.t.Fatal(err)
	}
	connection, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = connection.Close() }() // it is cut on purpose
	_, err = fmt.Fprintf(connection, "POST /v1/api/sql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+
		"Authorization: Bearer %s\r\nIdempotency-Key: %s\r\nIdempotency-Age: %s\r\nContent-Length: %d\r\n\r\n%s",
		c.token, key, age, len(body), body)
	if err != nil {
		c.t.Fatal(err)
	}
	if !patience {
		return 0, ""
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var text strings.Builder
	if _, err := bufio.NewReader(response.Body).WriteTo(&text); err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, text.String()
}

// TestBrokenConnectionAppliesOnce: a client that lost its connection sends the change again, over other nodes, and
// it is applied once and answered as it would have been the first time.
func TestBrokenConnectionAppliesOnce(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY, n BIGINT) WITH (TYPE='SHARED')")
	c.sql("INSERT INTO shop.t VALUES (1, 0)")
	const plus = "UPDATE shop.t SET n = n + 1 WHERE id = 1 RETURNING n"
	for i := range 20 {
		key := fmt.Sprintf("key-%d", i)
		c.url = "http://" + nodes[i%3].APIAddr()
		c.sendNamed(key, "", plus, false)
		insert := fmt.Sprintf("INSERT INTO shop.t VALUES (%d, 0)", i+2)
		c.sendNamed(key, "", insert, false)
		for j := 1; j <= 2; j++ {
			c.url = "http://" + nodes[(i+j)%3].APIAddr()
			want := fmt.Sprintf(`"rows":[["%d"]]`, i+1)
			if status, body := c.sendNamed(key, "5", plus, true); status != http.StatusOK || !strings.Contains(body, want) {
				t.Fatalf("repeat %d of %s: %d %s, want %s", j, key, status, body, want)
			}
			if status, body := c.sendNamed(key, "5", insert, true); status != http.StatusOK || !strings.Contains(body, "Inserted 1 row") {
				t.Fatalf("repeat %d of an INSERT: %d %s", j, status, body)
			}
		}
	}
	if got := c.sql("SELECT n FROM shop.t WHERE id = 1"); !strings.Contains(got, `[["20"]]`) {
		t.Errorf("after 20 requests, each sent three times: %s", got)
	}
}

// TestModeByClassAndRequest: one class of groups waits for all, one request does, and both name the node that is
// missing; what is not asked to wait goes on without it, and so does taking the node out.
func TestModeByClassAndRequest(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, func(cfg *config.Config) { cfg.Cluster.SharedReplicationMode = "all" })
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.ours (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	c.sql("CREATE TABLE shop.mine (id BIGINT PRIMARY KEY) WITH (TYPE='USER')")
	c.sql("INSERT INTO shop.ours VALUES (1)")
	for _, n := range nodes {
		if rows, _, err := rowvalue.TableDigest(n.store, shard.SharedShard(0), mustTable(t, n, "shop", "ours")); err != nil || rows != 1 {
			t.Errorf("node %d stores %d rows when the write was answered, %v", n.cfg.Cluster.NodeID, rows, err)
		}
	}
	closeNode(t, nodes[2])
	within(t, "a write to a shared table is refused", func() bool {
		status, body := c.post("/v1/api/sql", map[string]any{"sql": "INSERT INTO shop.ours VALUES (2)"})
		return status == http.StatusServiceUnavailable && strings.Contains(string(body), "node 3")
	})
	c.sql("INSERT INTO shop.mine VALUES (1)")
	status, body := c.post("/v1/api/sql", map[string]any{"sql": "INSERT INTO shop.mine VALUES (2)", "replication_mode": "all"})
	if status != http.StatusServiceUnavailable || !strings.Contains(string(body), "node 3") {
		t.Errorf("a request for all without node 3: %d %s", status, body)
	}
	if status, body := c.post("/v1/api/sql", map[string]any{"sql": "INSERT INTO shop.ours VALUES (3)", "replication_mode": "quorum"}); status != http.StatusOK {
		t.Errorf("a request for a quorum without node 3: %d %s", status, body)
	}
	c.sql("CLUSTER LEAVE 3")
	c.sql("INSERT INTO shop.ours VALUES (4)")
}
