package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// clusterHealth is a part of what a node says about its cluster.
type clusterHealth struct {
	Status      string           `json:"status"`
	ClusterID   string           `json:"cluster_id"`
	IsCluster   bool             `json:"is_cluster_mode"`
	NodeID      int              `json:"node_id"`
	TotalGroups int              `json:"total_groups"`
	Nodes       []map[string]any `json:"nodes"`
}

// TestHealthAndViews reads what a node says about itself and its cluster.
func TestHealthAndViews(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	for _, n := range c.nodes {
		at := root.at(n)
		var health struct {
			Status     string `json:"status"`
			APIVersion string `json:"api_version"`
		}
		at.getJSON(t, "/health", &health)
		if health.Status != "healthy" || health.APIVersion != "v1" {
			t.Errorf("%v: health %+v", n, health)
		}
		eventually(t, fmt.Sprintf("%v finds the cluster healthy", n), func() error {
			var state clusterHealth
			at.getJSON(t, "/v1/api/cluster/health", &state)
			if state.Status != "healthy" || !state.IsCluster || state.ClusterID != "e2e" || state.NodeID != n.id ||
				state.TotalGroups != 34 || len(state.Nodes) != 3 {
				return fmt.Errorf("%+v", state)
			}
			return nil
		})
		for _, path := range []string{"/livez", "/readyz", "/metrics", "/v1/api/healthcheck"} {
			if status, raw, err := at.send(t.Context(), http.MethodGet, path, nil); err != nil || status != http.StatusOK {
				t.Errorf("%v: %s: %d %s, %v", n, path, status, raw, err)
			}
		}
		// The settings of the collector have reached the runtime; its own are 100 % and no limit.
		_, raw, _ := at.send(t.Context(), http.MethodGet, "/metrics", nil)
		for _, want := range []string{"\nkalamdb_", "\ngo_gc_gogc_percent 400\n", "\ngo_gc_gomemlimit_bytes 4.294967296e+09\n"} {
			if !strings.Contains(string(raw), want) {
				t.Errorf("%v: /metrics has no %q:\n%.500s", n, want, raw)
			}
		}
		got := at.must(t, "SELECT node_id, is_self FROM system.cluster ORDER BY node_id")
		if want := fmt.Sprintf("[[1 %v] [2 %v] [3 %v]]", n.id == 1, n.id == 2, n.id == 3); fmt.Sprint(got.rows()) != want {
			t.Errorf("%v: system.cluster %v, want %s", n, got.rows(), want)
		}
	}
	leaders := map[int64]int{}
	for _, n := range c.nodes {
		groups, err := root.at(n).groups(t)
		if err != nil {
			t.Fatal(err)
		}
		if len(groups) != 34 {
			t.Errorf("%v shows %d groups, want 34", n, len(groups))
		}
		for _, g := range groups {
			if g.state == "leader" {
				leaders[g.group]++
			}
		}
	}
	if len(leaders) != 34 {
		t.Errorf("%d groups have a leader, want 34: %v", len(leaders), leaders)
	}
}

func (c *client) getJSON(t *testing.T, path string, into any) {
	t.Helper()
	status, raw, err := c.send(t.Context(), http.MethodGet, path, nil)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d %s, %v", path, status, raw, err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("%s: %s: %v", path, raw, err)
	}
}

// TestReadyNodeLetsRootIn logs in once, at the moment the first start is ready: the account must be there.
func TestReadyNodeLetsRootIn(t *testing.T) {
	n := newNode(t, testDir(t), 1)
	n.settings = n.settings.with(settings{"auth.bcrypt_cost": 12}) // making the account takes its time
	n.start(t)
	n.waitReady(t)
	anonymous := &client{base: n.url(), http: http.DefaultClient}
	status, raw, err := anonymous.post(t.Context(), "/v1/api/auth/login", map[string]any{"user": "root", "password": rootPassword})
	if err != nil || status != http.StatusOK {
		t.Errorf("login of root as soon as the node is ready: %d %s, %v", status, raw, err)
	}
}
