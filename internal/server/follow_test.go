package server

import (
	"net/http"
	"strings"
	"testing"

	kalam "github.com/kalamdb/kalamdb-go/client"
)

// TestChangesGoToTheLeader: who asks is told which node leads what it changed, and the client sends the next change there, also when
// another node leads since, and goes on elsewhere when that node is gone.
func TestChangesGoToTheLeader(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	root := login(t, nodes[0], "root", rootPassword)
	root.sql("CREATE NAMESPACE shop")
	root.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY, n BIGINT) WITH (TYPE='SHARED')")
	root.sql("INSERT INTO shop.t VALUES (0, 0)")
	root.cluster("CLUSTER TRANSFER LEADER 2 ON GROUP 200")
	urls := make([]string, len(nodes))
	for i, n := range nodes {
		urls[i] = "http://" + n.APIAddr()
	}
	within(t, "nodes 1 and 3 name node 2", func() bool {
		return toldLeader(t, root, urls[0], true) == urls[1] && toldLeader(t, root, urls[2], true) == urls[1]
	})
	if told := toldLeader(t, root, urls[1], true); told != "" {
		t.Errorf("the leader names %q", told)
	}
	if told := toldLeader(t, root, urls[0], false); told != "" {
		t.Errorf("who does not ask is told of %q", told)
	}

	c, err := kalam.New(kalam.Config{URLs: urls, User: "root", Password: rootPassword})
	if err != nil {
		t.Fatal(err)
	}
	follows := func(sql, where string) bool {
		t.Helper()
		response, err := c.Do(t.Context(), kalam.Request{SQL: sql, Params: []any{1}})
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return response.Node == where
	}
	if follows("UPDATE shop.t SET n = n + $1 WHERE id = 0", urls[1]) {
		t.Error("the first change went to the leader, which nobody had named")
	}
	for _, sql := range []string{
		"UPDATE shop.t SET n = n + $1 WHERE id = 0", "update  Shop.T SET n = n - $1 WHERE id = 0", "INSERT INTO shop.t(id) VALUES ($1)", "DELETE FROM shop.t WHERE id = $1",
	} {
		if !follows(sql, urls[1]) {
			t.Errorf("%s did not go to the leader", sql)
		}
	}
	root.cluster("CLUSTER TRANSFER LEADER 3 ON GROUP 200")
	within(t, "the client goes to the new leader", func() bool { return follows("UPDATE shop.t SET n = n + $1 WHERE id = 0", urls[2]) })
	closeNode(t, nodes[2])
	within(t, "the client goes to the leader after that", func() bool {
		return follows("UPDATE shop.t SET n = n + $1 WHERE id = 0", urls[0]) || follows("UPDATE shop.t SET n = n + $1 WHERE id = 0", urls[1])
	})
}

// toldLeader sends a change to a node and returns the leader that its answer names.
func toldLeader(t *testing.T, c client, url string, ask bool) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/api/sql", strings.NewReader(`{"sql":"UPDATE shop.t SET n = n + 1 WHERE id = 0"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+c.token)
	if ask {
		request.Header.Set("X-Follow-Leader", "1")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing of it is read
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %s", url, response.Status)
	}
	return response.Header.Get("X-Leader")
}
