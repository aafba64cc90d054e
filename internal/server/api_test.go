package server

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
)

func TestSettingsShowTextsPlainAndSecretsNot(t *testing.T) {
	t.Parallel()
	cfg := testConfig("/var/lib/kalamdb")
	cfg.Auth.JWTSecret = "a secret that nobody may read"
	shown := make(map[string]string)
	for _, setting := range settingRows(cfg) {
		shown[setting.Name] = setting.Value
	}
	for name, want := range map[string]string{
		"storage.data_path": "/var/lib/kalamdb", "auth.jwt_secret": "***", "auth.root_password": "***", "server.port": "0",
		"cluster.cluster_id": "", "cluster.snapshot_policy": config.Default().Cluster.SnapshotPolicy.String(),
	} {
		if got, ok := shown[name]; !ok || got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

// TestStatisticsHaveOneNameEach: a client reads system.stats into a map.
func TestStatisticsHaveOneNameEach(t *testing.T) {
	t.Parallel()
	node := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, node)
	answer := login(t, node, "root", rootPassword).sql("SELECT metric_name FROM system.stats")
	var body struct {
		Results []struct {
			Rows [][]string `json:"rows"`
		} `json:"results"`
	}
	if err := json.Unmarshal([]byte(answer), &body); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, row := range body.Results[0].Rows {
		if seen[row[0]] {
			t.Errorf("%s is there twice", row[0])
		}
		seen[row[0]] = true
	}
	if !seen["node_id"] || !seen["server_version"] {
		t.Errorf("statistics = %v", seen)
	}
}

// TestMissingCertificatesAreNamedByKey: the operator has to know which setting is wrong.
func TestMissingCertificatesAreNamedByKey(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	cfg.Cluster.ClusterID, cfg.Cluster.RPCAddr = "c", "127.0.0.1:0"
	cfg.RPCTLS.Enabled, cfg.RPCTLS.CACert = true, "/absent/ca.pem"
	node, err := Open(t.Context(), cfg, Options{})
	if err == nil {
		closeNode(t, node)
		t.Fatal("a node without certificates started")
	}
	if !strings.Contains(err.Error(), `rpc_tls.ca_cert = "/absent/ca.pem"`) {
		t.Errorf("err = %v", err)
	}
}
