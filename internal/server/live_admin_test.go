package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestLiveAdministration: SUBSCRIBE TO says where to subscribe, system.live shows live queries, KILL LIVE QUERY ends them.
func TestLiveAdministration(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, nil)
	row := firstResult(t, c.sql("SUBSCRIBE TO chat.log WHERE id > 5 OPTIONS (last_rows = 3)"))[0]
	var told struct {
		ID  string `json:"id"`
		SQL string `json:"sql"`
	}
	if err := json.Unmarshal([]byte(fmt.Sprint(row[2])), &told); err != nil {
		t.Fatal(err)
	}
	if row[0] != "active" || row[1] != "ws://"+n.APIAddr()+"/v1/ws" || !strings.HasPrefix(told.ID, "sub-") {
		t.Errorf("SUBSCRIBE TO: %v", row)
	}
	for statement, want := range map[string]string{
		"SUBSCRIBE TO chat.nothing": "not found", "SUBSCRIBE TO SELECT id FROM chat.log ORDER BY id": "ORDER BY",
		"SUBSCRIBE TO chat.log OPTIONS (first_rows = 1)": "last_rows", "KILL LIVE QUERY 1-999": "not found",
		"KILL LIVE QUERY 7-1": "node 7 is not a member", "KILL LIVE QUERY nonsense": "not found",
	} {
		if status, body := c.post("/v1/api/sql", map[string]any{"sql": statement}); status != 400 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %s", statement, status, body)
		}
	}

	s := watch(t, n, c)
	s.subscribe(told.ID, told.SQL, "")
	c.sql("INSERT INTO chat.log VALUES (1, 'x'), (7, 'y'), (8, 'z')")
	s.expect("insert 7", "insert 8")
	rows := firstResult(t, c.sql("SELECT live_id, subscription_id, namespace_id, table_name, user_id, query, status, changes, node_id FROM system.live"))
	if len(rows) != 1 {
		t.Fatalf("system.live: %v", rows)
	}
	id := fmt.Sprint(rows[0][0])
	rows[0] = rows[0][1:]
	if got, want := fmt.Sprint(rows[0]), fmt.Sprintf("[%s chat log root %s active 2 1]", told.ID, told.SQL); got != want {
		t.Errorf("system.live: %s, want %s", got, want)
	}
	if body := c.sql("KILL LIVE QUERY '" + id + "'"); !strings.Contains(body, "Live query killed: "+id) {
		t.Errorf("KILL LIVE QUERY: %s", body)
	}
	s.expect("error LIVE_QUERY_KILLED")
	c.sql("INSERT INTO chat.log VALUES (9, 'nobody')")
	s.subscribe("again", "SELECT * FROM chat.log", "{}")
	s.expect("initial_data_batch 1 7 8 9 ready")
	if rows := firstResult(t, c.sql("SELECT live_id FROM system.live")); len(rows) != 1 {
		t.Errorf("system.live after the kill: %v", rows)
	}
}

// TestKillWithinACut: one of several live queries that begin together is ended before its rows are fetched. The others begin all the same.
func TestKillWithinACut(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, nil)
	c.sql("CREATE TABLE chat.more (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	c.sql("INSERT INTO chat.log VALUES (1, 'x'), (2, 'y'), (3, 'z')")
	c.sql("INSERT INTO chat.more VALUES (1)")
	s := watch(t, n, c)
	s.send(`{"type":"subscribe_all","id":"both","subscriptions":[{"id":"a","sql":"SELECT * FROM chat.log","options":{"batch_size":2}},` +
		`{"id":"b","sql":"SELECT * FROM chat.more","options":{}}]}`)
	s.expect("subscription_ack loading", "initial_data_batch 1 2 loading", "subscription_ack ready", "initial_data_batch 1 ready")
	id := fmt.Sprint(firstResult(t, c.sql("SELECT live_id FROM system.live WHERE subscription_id = 'a'"))[0][0])
	c.sql("KILL LIVE QUERY '" + id + "'")
	s.expect("error LIVE_QUERY_KILLED")
	s.send(`{"type":"ping"}`)
	s.expect("cut_ready")
	c.sql("INSERT INTO chat.log VALUES (4, 'nobody')")
	c.sql("INSERT INTO chat.more VALUES (2)")
	s.expect("insert 2")
}

// firstResult returns the rows of an answer's first result.
func firstResult(t *testing.T, body string) [][]any {
	t.Helper()
	var answer struct {
		Results []struct {
			Rows [][]any `json:"rows"`
		} `json:"results"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || len(answer.Results) == 0 {
		t.Fatalf("%s: %v", body, err)
	}
	return answer.Results[0].Rows
}
