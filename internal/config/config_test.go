package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/config"
)

var rewrite = flag.Bool("rewrite", false, "write the reference page instead of comparing it")

func noEnvironment(string) string { return "" }

func environment(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

func TestWrongValuesAreRefusedByName(t *testing.T) {
	t.Parallel()
	cluster := "[cluster]\ncluster_id = \"c\"\n"
	for _, test := range []struct {
		name string
		text string
		want []string // parts of the error
	}{
		{"port too large", "[server]\nport = 70000", []string{"server.port", "70000", "0 to 65535"}},
		{"port negative", "[server]\nport = -1", []string{"server.port", "-1"}},
		{"port not a number", "[server]\nport = \"http\"", []string{"server.port", "line 2", "0 to 65535"}},
		{"host empty", "[server]\nhost = \"\"", []string{"server.host", `""`}},
		{"credentials key too short", "[storage]\ncredentials_key = \"c2hvcnQ=\"", []string{"storage.credentials_key", `"***"`, "32 random bytes"}},
		{"data path empty", "[storage]\ndata_path = \"\"", []string{"storage.data_path", `""`, "directory"}},
		{"bcrypt cost", "[auth]\nbcrypt_cost = 3", []string{"auth.bcrypt_cost", "3", "4 to 31"}},
		{"log level", "[logging]\nlevel = \"loud\"", []string{"logging.level", `"loud"`, "debug, info, warn, error"}},
		{"replication mode", cluster + "replication_mode = \"some\"", []string{"cluster.replication_mode", `"some"`, "quorum, all"}},
		{"snapshot policy", cluster + "snapshot_policy = \"Sometimes\"", []string{"snapshot_policy", "Sometimes", "LogsSinceLast(N)"}},
		{"snapshot policy of zero", cluster + "snapshot_policy = \"LogsSinceLast(0)\"", []string{"LogsSinceLast(0)"}},
		{"node id zero", cluster + "node_id = 0", []string{"cluster.node_id", "from 1"}},
		{"one election timeout", cluster + "election_timeout_ms = [500]", []string{"cluster.election_timeout_ms", "[500]"}},
		{"election timeouts reversed", cluster + "election_timeout_ms = [900, 600]", []string{"cluster.election_timeout_ms", "[900 600]"}},
		{
			"election timeout near the heartbeat", cluster + "heartbeat_interval_ms = 400",
			[]string{"cluster.election_timeout_ms", "heartbeat_interval_ms", "400"},
		},
		{"rpc address without port", cluster + "rpc_addr = \"10.0.0.1\"", []string{"cluster.rpc_addr", "host:port"}},
		{"plaintext off loopback", cluster + "rpc_addr = \"10.0.0.1:9188\"", []string{"cluster.rpc_addr", "allow_insecure_rpc"}},
		{"api address", cluster + "api_addr = \"ftp://x\"", []string{"cluster.api_addr", `"ftp://x"`}},
		{"peers without a cluster", "[[cluster.peers]]\nnode_id = 2\nrpc_addr = \"127.0.0.1:2\"", []string{"cluster.cluster_id"}},
		{"a join that is a number", cluster + "join = 3", []string{"cluster.join", "true, false"}},
		{"a join of numbers", cluster + "join = [3]", []string{"cluster.join", "list of addresses"}},
		{"a join without a port", cluster + "join = [\"a:1\", \"db.example.org\"]", []string{"cluster.join[1]", "host:port", "SRV"}},
		{"a mode of a class", cluster + "meta_replication_mode = \"some\"", []string{"cluster.meta_replication_mode", "default, quorum, all"}},
		{
			"two peers with one id",
			cluster + "[[cluster.peers]]\nnode_id = 2\nrpc_addr = \"127.0.0.1:2\"\n[[cluster.peers]]\nnode_id = 2\nrpc_addr = \"127.0.0.1:3\"",
			[]string{"cluster.peers[1].node_id", "2"},
		},
		{
			"two peers with one address",
			cluster + "[[cluster.peers]]\nnode_id = 2\nrpc_addr = \"127.0.0.1:2\"\n[[cluster.peers]]\nnode_id = 3\nrpc_addr = \"127.0.0.1:2\"",
			[]string{"cluster.peers[1].rpc_addr"},
		},
		{"peer without port", cluster + "[[cluster.peers]]\nnode_id = 2\nrpc_addr = \"127.0.0.1:0\"", []string{"cluster.peers[0].rpc_addr"}},
		{"tls without files", "[rpc_tls]\nenabled = true", []string{"rpc_tls.ca_cert", "rpc_tls.server_cert", "rpc_tls.server_key"}},
		{"default above cap", "[limits]\ndefault_query_limit = 2000", []string{"limits.default_query_limit", "2000", "1000"}},
		{"sql above body", "[limits]\nmax_sql_bytes = 67108864", []string{"limits.max_sql_bytes", "request_body_limit_bytes"}},
		{"refresh shorter than access", "[auth]\njwt_refresh_expiry_hours = 1", []string{"auth.jwt_refresh_expiry_hours", "24"}},
		{"password bounds", "[auth]\nmin_password_length = 20\nmax_password_length = 10", []string{"auth.min_password_length"}},
		{"proxy range", "[security]\ntrusted_proxy_ranges = [\"10.0.0.0/99\"]", []string{"security.trusted_proxy_ranges", "10.0.0.0/99"}},
		{
			"credentials for everyone", "[security.cors]\nallowed_origins = [\"*\"]\nallow_credentials = true",
			[]string{"security.cors.allow_credentials"},
		},
		{"collector off without limit", "[performance]\ngc_percent = -1\nmemory_limit_bytes = 0", []string{"performance.gc_percent"}},
		{"no TOML", "[server\nport = 1", []string{"line 1"}},
		{"key twice", "[server]\nport = 1\nport = 2", []string{"port"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := config.Parse([]byte(test.text), noEnvironment)
			if err == nil {
				t.Fatalf("Parse accepted %q", test.text)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not mention %q", err, part)
				}
			}
		})
	}
}

// TestValuesOfAWrongTypeAreRefusedByName: with the value and what is allowed, in the words of the file.
func TestValuesOfAWrongTypeAreRefusedByName(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, want string }{
		{"[server]\nport = \"http\"", `line 2, column 8: server.port = "http": allowed: whole numbers from 0 to 65535`},
		{"[server]\nport = 1.5", `server.port = 1.5: allowed: whole numbers`},
		{"[server]\nport = []", `server.port = []: allowed`},
		{"[server]\nenable_http2 = 1", `server.enable_http2 = 1: allowed: true, false`},
		{"[storage]\ndata_path = 5", `storage.data_path = 5: allowed: text`},
		{"[auth]\njwt_secret = 12345", `auth.jwt_secret = ***: allowed: text`},
		{"[cluster]\nnode_id = -1", `cluster.node_id = -1: allowed: whole numbers from 1`},
		{"[cluster]\nsnapshot_policy = 5", `cluster.snapshot_policy = 5: allowed: LogsSinceLast(N), Never`},
		{"[cluster]\nsnapshot_policy = \"Sometimes\"", `cluster.snapshot_policy = "Sometimes": allowed: LogsSinceLast(N), Never`},
		{"[cluster]\nelection_timeout_ms = 500", `cluster.election_timeout_ms = 500: allowed: two whole numbers`},
		{"[cluster]\nelection_timeout_ms = [\"a\", 2]", `cluster.election_timeout_ms = ["a", 2]: allowed: two whole numbers`},
		{"[cluster]\npeers = \"a\"", `cluster.peers = "a": allowed: tables`},
		{"[cluster]\npeers = [1]", `cluster.peers[0] = 1: allowed: tables`},
		{"[cluster]\npeers = [{node_id = \"2\"}]", `cluster.peers[0].node_id = "2": allowed: a number`},
		{"[cluster]\npeers = [{node_id = 2, rpc_addr = 9188}]", `cluster.peers[0].rpc_addr = 9188: allowed: host:port`},
		{"[security.cors]\nallowed_origins = \"*\"", `security.cors.allowed_origins = "*": allowed: list of text`},
	} {
		_, _, err := config.Parse([]byte(test.text), noEnvironment)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "config.") {
			t.Errorf("%q: err = %v, want %s", test.text, err, test.want)
		}
	}
	_, _, err := config.Parse([]byte("[server]\nport = true\n[cluster]\njoin = 2"), noEnvironment)
	if err == nil || !strings.Contains(err.Error(), "server.port = true") || !strings.Contains(err.Error(), "cluster.join = 2") {
		t.Errorf("err = %v, want both keys", err)
	}
}

func TestAllWrongValuesAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, _, err := config.Parse([]byte("[server]\nport = 70000\n[auth]\nbcrypt_cost = 99"), noEnvironment)
	if err == nil || !strings.Contains(err.Error(), "server.port") || !strings.Contains(err.Error(), "auth.bcrypt_cost") {
		t.Fatalf("err = %v, want both keys", err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("hunter2-", 20)
	_, _, err := config.Parse([]byte("[auth]\nroot_password = \""+secret+"\""), noEnvironment)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("err = %v, want a refusal that hides the password", err)
	}
	cfg := config.Default()
	cfg.Auth.JWTSecret = secret
	for _, setting := range config.Describe(cfg) {
		if strings.Contains(setting.Value, "hunter2") {
			t.Errorf("%s shows the secret: %s", setting.Name, setting.Value)
		}
		if setting.Name == "auth.jwt_secret" && setting.Value != "***" {
			t.Errorf("%s = %s, want ***", setting.Name, setting.Value)
		}
	}
}

func TestUnknownKeysGiveOneWarning(t *testing.T) {
	t.Parallel()
	cfg, warnings, err := config.Parse([]byte(`
[server]
port = 9000
ui_path = "ui"
[flush]
default_row_limit = 1
[datafusion]
memory_limit = 2
`), noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || cfg.Server.Port != 9000 {
		t.Fatalf("warnings = %v, port = %d", warnings, cfg.Server.Port)
	}
	// Of an unknown section the name is enough; nothing is named twice.
	if diff := cmp.Diff([]string{"datafusion", "flush", "server.ui_path"}, warnings[0].Keys); diff != "" {
		t.Error(diff)
	}
}

func TestWrongEnvironmentIsRefusedByName(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"KALAMDB_SERVER_PORT":   "eighty",
		"KALAMDB_NODE_ID":       "-1",
		"KALAMDB_CLUSTER_PEERS": "2@127.0.0.1:9189",
		"KALAMDB_CLUSTER_JOIN":  "perhaps",
		"KALAMDB_LOG_LEVEL":     "loud",
	} {
		_, _, err := config.Parse(nil, environment(map[string]string{name: value}))
		if err == nil || !strings.Contains(err.Error(), value) {
			t.Errorf("%s=%s: err = %v, want a refusal that names the value", name, value, err)
		}
	}
}

func TestEnvironmentOverridesFile(t *testing.T) {
	t.Parallel()
	text := "[server]\nhost = \"127.0.0.2\"\nport = 1\n[storage]\ndata_path = \"file\"\n[cluster]\ncluster_id = \"file\"\nnode_id = 1\n"
	cfg, warnings, err := config.Parse([]byte(text), environment(map[string]string{
		"KALAMDB_SERVER_HOST":                             "127.0.0.3",
		"KALAMDB_SERVER_PORT":                             "8099",
		"KALAMDB_DATA_DIR":                                "/data",
		"KALAMDB_CLUSTER_ID":                              "prod",
		"KALAMDB_CLUSTER_NODE_ID":                         "7",
		"KALAMDB_CLUSTER_RPC_ADDR":                        "db7.internal:9188",
		"KALAMDB_CLUSTER_API_ADDR":                        "http://db7.internal:8080",
		"KALAMDB_CLUSTER_PEERS":                           "8@db8.internal:9188@http://db8.internal:8080; 9@db9.internal:9188@db9.internal:8080;",
		"KALAMDB_LOG_LEVEL":                               "debug",
		"KALAMDB_ROOT_PASSWORD":                           "root password",
		"KALAMDB_JWT_SECRET":                              "secret",
		"KALAMDB_RATE_LIMIT_AUTH_REQUESTS_PER_IP_PER_SEC": "5000",
		"KALAMDB_RPC_TLS_ENABLED":                         "true",
		"KALAMDB_RPC_TLS_CA_CERT":                         "ca.pem",
		"KALAMDB_RPC_TLS_SERVER_CERT":                     "cert.pem",
		"KALAMDB_RPC_TLS_SERVER_KEY":                      "key.pem",
		"KALAMDB_RPC_TLS_REQUIRE_CLIENT_CERT":             "false",
	}))
	if err != nil || len(warnings) != 0 {
		t.Fatalf("err = %v, warnings = %v", err, warnings)
	}
	want := config.Default()
	want.Server.Host, want.Server.Port, want.Storage.DataPath = "127.0.0.3", 8099, "/data"
	want.Cluster.ClusterID, want.Cluster.NodeID = "prod", 7
	want.Cluster.RPCAddr, want.Cluster.APIAddr = "db7.internal:9188", "http://db7.internal:8080"
	want.Cluster.Peers = []config.Peer{
		{NodeID: 8, RPCAddr: "db8.internal:9188", APIAddr: "http://db8.internal:8080"},
		{NodeID: 9, RPCAddr: "db9.internal:9188", APIAddr: "db9.internal:8080"},
	}
	want.Logging.Level = "debug"
	want.Auth.RootPassword, want.Auth.JWTSecret = "root password", "secret"
	want.RateLimit.MaxAuthRequestsPerIP = 5000
	want.RPCTLS = config.RPCTLS{Enabled: true, CACert: "ca.pem", ServerCert: "cert.pem", ServerKey: "key.pem"}
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Fatal(diff)
	}
}

func TestFirstOfTwoVariablesWins(t *testing.T) {
	t.Parallel()
	cfg, _, err := config.Parse(nil, environment(map[string]string{"KALAMDB_NODE_ID": "3", "KALAMDB_CLUSTER_NODE_ID": "4"}))
	if err != nil || cfg.Cluster.NodeID != 3 {
		t.Fatalf("node id = %d, err = %v", cfg.Cluster.NodeID, err)
	}
}

func TestLoadReadsFiles(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	if _, _, err := config.Load(filepath.Join(directory, "absent.toml"), noEnvironment); err == nil {
		t.Error("Load accepted a missing file")
	}
	if _, _, err := config.Load(directory, noEnvironment); err == nil {
		t.Error("Load accepted a directory")
	}
	large := filepath.Join(directory, "large.toml")
	if err := os.WriteFile(large, []byte("#"+strings.Repeat("x", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := config.Load(large, noEnvironment); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("Load of a large file: %v", err)
	}
	good := filepath.Join(directory, "good.toml")
	if err := os.WriteFile(good, []byte("[cluster]\ncluster_id = \"c\"\nsnapshot_policy = \"Never\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(good, noEnvironment)
	if err != nil || cfg.Standalone() || cfg.Cluster.SnapshotPolicy.LogsSinceLast != 0 {
		t.Errorf("cfg = %+v, err = %v", cfg, err)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	cfg, warnings, err := config.Load("", noEnvironment)
	if err != nil || len(warnings) != 0 {
		t.Fatalf("err = %v, warnings = %v", err, warnings)
	}
	if !cfg.Standalone() || !cfg.Server.Loopback() {
		t.Errorf("standalone = %v, loopback = %v, want both", cfg.Standalone(), cfg.Server.Loopback())
	}
	least, greatest := cfg.Cluster.ElectionTimeout()
	if least != 500*time.Millisecond || greatest != time.Second || cfg.Cluster.HeartbeatInterval() != 250*time.Millisecond {
		t.Errorf("timers = %v, %v, %v", least, greatest, cfg.Cluster.HeartbeatInterval())
	}
}

func TestLoopbackAddresses(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "[::1]": true, "localhost": true, "LOCALHOST": true,
		"::ffff:127.0.0.1": true, "0.0.0.0": false, "::": false, "10.0.0.1": false, "localhost.example.com": false, "": false,
	} {
		if got := (config.Server{Host: host}).Loopback(); got != want {
			t.Errorf("Loopback(%q) = %v, want %v", host, got, want)
		}
	}
}

func TestOthersLeavesOutTheNodeItself(t *testing.T) {
	t.Parallel()
	cluster := config.Cluster{NodeID: 2, Peers: []config.Peer{{NodeID: 1}, {NodeID: 2}, {NodeID: 3}}}
	if diff := cmp.Diff([]config.Peer{{NodeID: 1}, {NodeID: 3}}, cluster.Others()); diff != "" {
		t.Fatal(diff)
	}
}

func TestJoinIsAFlagOrAList(t *testing.T) {
	t.Parallel()
	addresses := config.Join{Wanted: true, Addresses: []string{"db.example.org:9188", "_kalamdb._tcp.example.org"}}
	for _, test := range []struct {
		file, variable string
		want           config.Join
	}{
		{"", "", config.Join{}},
		{"join = true", "", config.Join{Wanted: true}},
		{"join = false", "", config.Join{}},
		{"join = []", "", config.Join{}},
		{`join = ["db.example.org:9188", "_kalamdb._tcp.example.org"]`, "", addresses},
		{"join = false", "true", config.Join{Wanted: true}},
		{"join = true", "db.example.org:9188, _kalamdb._tcp.example.org", addresses},
	} {
		cfg, warnings, err := config.Parse([]byte("[cluster]\ncluster_id = \"c\"\n"+test.file),
			environment(map[string]string{"KALAMDB_CLUSTER_JOIN": test.variable}))
		if err != nil || len(warnings) > 0 {
			t.Errorf("%q: %v, %v", test.file, warnings, err)
			continue
		}
		if diff := cmp.Diff(test.want, cfg.Cluster.Join); diff != "" {
			t.Errorf("%q with %q (-want +got):\n%s", test.file, test.variable, diff)
		}
	}
}

func TestSnapshotPolicyRoundTrip(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"Never", "LogsSinceLast(1)", "LogsSinceLast(50000)"} {
		var policy config.SnapshotPolicy
		if err := policy.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if policy.String() != text {
			t.Errorf("%q became %q", text, policy)
		}
	}
}

func TestEverySettingIsDocumented(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for _, setting := range config.Describe(config.Default()) {
		if setting.Doc == "" || setting.Allowed == "" || names[setting.Name] || strings.HasSuffix(setting.Name, ".") {
			t.Errorf("setting %+v: want a name of its own, a meaning and allowed values", setting)
		}
		names[setting.Name] = true
	}
	if len(names) < 70 {
		t.Errorf("only %d settings are described", len(names))
	}
}

// TestReferencePage compares the page with the tags; run with -rewrite to write it anew.
func TestReferencePage(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "ops", "config.md")
	want := config.Reference()
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Fatalf("the reference page differs from the code; run the test with -rewrite:\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[server]\nport = 1\n", "1@a:1@b:2")
	f.Add("[cluster]\ncluster_id = \"c\"\nelection_timeout_ms = [1, 2]\npeers = [{node_id = 1}]\n", "")
	f.Add("[cluster]\nsnapshot_policy = \"LogsSinceLast(9)\"\n[flush]\na.b.c = 1\n", ";;@@")
	f.Add("server = 1\ncluster = [1]\n", "1@@")
	f.Fuzz(func(t *testing.T, text, peers string) {
		cfg, _, err := config.Parse([]byte(text), environment(map[string]string{"KALAMDB_CLUSTER_PEERS": peers}))
		if err != nil {
			return
		}
		if err := cfg.Validate(); err != nil {
			t.Fatalf("Parse returned what Validate refuses: %v", err)
		}
		if least, greatest := cfg.Cluster.ElectionTimeout(); least <= 0 || greatest <= least {
			t.Fatalf("election timeout %v, %v", least, greatest)
		}
		config.Describe(cfg)
	})
}
