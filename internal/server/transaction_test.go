package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// inside sends a statement in a transaction and returns the status, the head and the body of the answer.
func (c client) inside(id, sql string) (int, http.Header, string) {
	c.t.Helper()
	encoded, err := json.Marshal(map[string]any{"sql": sql})
	if err != nil {
		c.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url+"/v1/api/sql", bytes.NewReader(encoded))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+c.token)
	if id != "" {
		request.Header.Set("X-Transaction-ID", id)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	answer, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(answer)
}

// begin opens a transaction and returns its id.
func (c client) begin() string {
	c.t.Helper()
	status, header, body := c.inside("new", "BEGIN")
	id := header.Get("X-Transaction-ID")
	if status != http.StatusOK || id == "" || !strings.Contains(body, "Transaction started ("+id+")") {
		c.t.Fatalf("BEGIN: %d, id %q, %s", status, id, body)
	}
	return id
}

// continues runs a statement that must succeed and leave the transaction open.
func (c client) continues(id, sql string) string {
	c.t.Helper()
	status, header, body := c.inside(id, sql)
	if status != http.StatusOK || header.Get("X-Transaction-ID") != id {
		c.t.Fatalf("%s: %d, id %q, %s", sql, status, header.Get("X-Transaction-ID"), body)
	}
	return body
}

func TestTransactionsOnThreeNodes(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	clients := make([]client, len(nodes))
	for i, n := range nodes {
		clients[i] = login(t, n, "root", rootPassword)
	}
	a, b := clients[0], clients[1]
	a.sql("CREATE NAMESPACE shop")
	a.sql("CREATE TABLE shop.stock (id BIGINT PRIMARY KEY, n INT)")
	a.sql("CREATE TABLE shop.orders (id BIGINT PRIMARY KEY, item BIGINT, n INT)")
	a.sql("INSERT INTO shop.stock VALUES (1, 10), (2, 10)")

	// One request: all of it or nothing, on any node.
	for i, c := range clients {
		body := c.sql(fmt.Sprintf("BEGIN; UPDATE shop.stock SET n = n - 1 WHERE id = 1; INSERT INTO shop.orders VALUES (%d, 1, 1); COMMIT", i))
		if !strings.Contains(body, "Transaction committed (") {
			t.Errorf("node %d: %s", i+1, body)
		}
	}
	if status, _, body := a.inside("", "BEGIN; DELETE FROM shop.orders WHERE id >= 0; INSERT INTO shop.stock VALUES (1, 1); COMMIT"); status != http.StatusBadRequest {
		t.Errorf("a failing batch: %d %s", status, body)
	}
	if status, _, body := a.inside("", "BEGIN; DELETE FROM shop.orders WHERE id >= 0"); status != http.StatusBadRequest {
		t.Errorf("a batch that leaves its transaction open: %d %s", status, body)
	}

	// Several requests: nobody sees anything before the commit, and everybody all of it after.
	sockets := watch(t, nodes[2], clients[2])
	sockets.send(`{"type":"subscribe","subscription":{"id":"s","sql":"SELECT * FROM shop.orders WHERE id >= 100","options":{}}}`)
	for sockets.next().Type != "initial_data_batch" {
	}
	id := b.begin()
	b.continues(id, "INSERT INTO shop.orders VALUES (100, 1, 2), (101, 2, 2)")
	b.continues(id, "UPDATE shop.orders SET n = 3 WHERE id = 101")
	if body := b.continues(id, "SELECT n FROM shop.orders WHERE id = 101"); !strings.Contains(body, `[[3]]`) {
		t.Errorf("inside: %s", body)
	}
	for i, c := range clients {
		if body := c.sql("SELECT count(*) FROM shop.orders"); !strings.Contains(body, `[["3"]]`) {
			t.Errorf("node %d before the commit: %s", i+1, body)
		}
	}
	status, header, body := a.inside(id, "COMMIT")
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" ||
		!strings.Contains(body, "NOT_LEADER") || !strings.Contains(body, "Leader: http://"+nodes[1].APIAddr()) {
		t.Errorf("at another node: %d %s", status, body)
	}
	a.sql("INSERT INTO shop.orders VALUES (102, 1, 1)") // what is told after it was told in the order of the log
	if status, header, body = b.inside(id, "COMMIT"); status != http.StatusOK || header.Get("X-Transaction-ID") != "" {
		t.Fatalf("COMMIT: %d %s", status, body)
	}
	for i, c := range clients {
		if body := c.sql("SELECT count(*), sum(n) FROM shop.orders"); !strings.Contains(body, `[["6","9"]]`) {
			t.Errorf("node %d after the commit: %s", i+1, body)
		}
	}
	for _, want := range []string{"102", "100", "101"} {
		change := sockets.next()
		if change.Type != "change" || change.ChangeType != "insert" || change.Rows[0]["id"] != want {
			t.Errorf("live: %+v, want the insert of %s", change, want)
		}
	}
	conflictOnThreeNodes(t, nodes, a, b)
}

// conflictOnThreeNodes lets two nodes change the same rows, and then stops a third one in the middle.
func conflictOnThreeNodes(t *testing.T, nodes []*Node, a, b client) {
	t.Helper()
	first, second := a.begin(), b.begin()
	a.continues(first, "UPDATE shop.stock SET n = n - (SELECT n FROM shop.stock WHERE id = 2) WHERE id = 1")
	b.continues(second, "UPDATE shop.stock SET n = n - (SELECT n FROM shop.stock WHERE id = 1) WHERE id = 2")
	if status, _, body := a.inside(first, "COMMIT"); status != http.StatusOK {
		t.Fatalf("the first COMMIT: %d %s", status, body)
	}
	status, header, body := b.inside(second, "COMMIT")
	if status != http.StatusConflict || header.Get("Retry-After") == "" || !strings.Contains(body, "TRANSACTION_CONFLICT") {
		t.Errorf("the second COMMIT: %d %s", status, body)
	}
	if status, _, body = b.inside(second, "SELECT 1"); status != http.StatusBadRequest || !strings.Contains(body, "TRANSACTION_NOT_FOUND") {
		t.Errorf("after it: %d %s", status, body)
	}
	id := a.begin()
	a.continues(id, "UPDATE shop.stock SET n = 77 WHERE id = 1")
	closeNode(t, nodes[2])
	if status, _, body = a.inside(id, "COMMIT"); status != http.StatusOK {
		t.Fatalf("COMMIT without the third node: %d %s", status, body)
	}
	if body = b.sql("SELECT n FROM shop.stock WHERE id = 1"); !strings.Contains(body, "[[77]]") {
		t.Errorf("after it: %s", body)
	}
}
