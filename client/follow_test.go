package client_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/client"
)

// TestOnlyOwnNodesAreFollowed: an answer cannot send the client, and its token with it, to a node that it was not configured with.
func TestOnlyOwnNodesAreFollowed(t *testing.T) {
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a stranger was asked") }))
	defer stranger.Close()
	asked := 0
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.Header.Get("X-Follow-Leader") != "1" {
			t.Error("the client does not ask for the leader")
		}
		w.Header().Set("X-Leader", stranger.URL)
		_, _ = w.Write([]byte(`{"status":"success","results":[],"took":0}`))
	}))
	defer node.Close()
	c, err := client.New(client.Config{URLs: []string{node.URL, "http://127.0.0.1:1"}, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	const times = 3
	for range times {
		exec(t, c, "INSERT INTO app.t VALUES (1)")
	}
	if asked != times {
		t.Errorf("the node was asked %d times, want %d", asked, times)
	}
}

// TestManyTargets: the leaders of more tables than are remembered cost no more memory, and every change still arrives.
func TestManyTargets(t *testing.T) {
	there := 0
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		there++
		_, _ = w.Write([]byte(`{"status":"success","results":[],"took":0}`))
	}))
	defer other.Close()
	here := 0
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		here++
		w.Header().Set("X-Leader", other.URL)
		_, _ = w.Write([]byte(`{"status":"success","results":[],"took":0}`))
	}))
	defer node.Close()
	c, err := client.New(client.Config{URLs: []string{node.URL, other.URL}, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	const targets = client.MaxLeaders + 10
	insert := func(i int) { exec(t, c, "INSERT INTO app.t"+strconv.Itoa(i)+" VALUES (1)") }
	for i := range targets {
		insert(i)
	}
	if here != targets || there != 0 {
		t.Fatalf("%d and %d changes arrived, want %d at the first node", here, there, targets)
	}
	if insert(targets - 1); there != 1 {
		t.Error("the leader of the last table is not remembered")
	}
	if insert(0); here != targets+1 {
		t.Error("the leaders of more tables than the bound are remembered")
	}
	if exec(t, c, strings.Repeat(" ", 300)+"UPDATE app.t0 SET id = 1"); there != 2 {
		t.Error("a table behind leading space is not found")
	}
	if exec(t, c, "WITH gone AS (DELETE FROM app.t0 WHERE id = 1 RETURNING id) SELECT id FROM gone"); there != 3 {
		t.Error("the table of a change within WITH is not found")
	}
	if exec(t, c, "WITH a AS (SELECT 1), b AS (UPDATE app.t0 SET id = 2) SELECT 1"); there != 4 {
		t.Error("the table of a change behind a query is not found")
	}
	if exec(t, c, "WITH a AS (SELECT 1) SELECT * FROM a"); there != 4 {
		t.Error("a query within WITH goes to the leader of a table")
	}
}
