package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// TestWrongConfigurationIsRefused starts a node with a value that is not allowed: it must end at once and
// name the key, the value and what is allowed.
func TestWrongConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	for _, wrong := range []struct {
		key   string
		value any
		says  []string // beside the key; what is allowed and, unless it is secret, the value
	}{
		{"server.port", 70000, []string{"70000", "65535"}},
		{"server.port", "http", []string{"http"}},
		{"storage.data_path", "", []string{`""`, "directory"}},
		{"logging.level", "loud", []string{"loud", "debug", "error"}},
		{"auth.bcrypt_cost", 99, []string{"99", "4", "31"}},
		{"auth.jwt_secret", "short", []string{"32"}},
		{"cluster.node_id", 0, []string{"0", "1"}},
		{"cluster.user_shards", 0, []string{"0", "1", "10000"}},
		{"cluster.replication_mode", "most", []string{"most", "quorum", "all"}},
		{"cluster.election_timeout_ms", []int{1000, 500}, []string{"1000", "500", "least", "greatest"}},
		{"cluster.heartbeat_interval_ms", 400, []string{"400"}},
		{"cluster.snapshot_policy", "Sometimes", []string{"Sometimes", "Never"}},
		{"cluster.rpc_addr", "192.0.2.1:9188", []string{"192.0.2.1:9188", "loopback"}},
		{"cluster.rpc_addr", "nowhere", []string{"nowhere", "host:port"}},
		{"cluster.join", "perhaps", []string{"perhaps", "true", "false"}},
		{"raft.log_store", "files", []string{"files", "segments", "pebble"}},
		{"raft.log_segment_bytes", 1, []string{"1", "65536"}},
	} {
		t.Run(fmt.Sprintf("%s=%v", wrong.key, wrong.value), func(t *testing.T) {
			t.Parallel()
			n := newNode(t, testDir(t), 1)
			n.settings = n.settings.with(n.clusterSettings(nil)).with(settings{wrong.key: wrong.value})
			if wrong.key == "auth.jwt_secret" {
				n.settings["server.host"] = "0.0.0.0" // on loopback a weak secret is only warned of
			}
			n.start(t)
			n.waitEnd(t)
			if code := n.process.ProcessState.ExitCode(); code <= 0 {
				t.Errorf("ended with %v, want an exit code above zero", n.process.ProcessState)
			}
			name := wrong.key
			if wrong.key == "cluster.heartbeat_interval_ms" {
				name = "cluster.election_timeout_ms" // the pair is named by its other half
			}
			for _, part := range append([]string{name}, wrong.says...) {
				if !strings.Contains(n.log(), part) {
					t.Errorf("the node does not say %q:\n%s", part, n.log())
				}
			}
		})
	}
}

// TestUnknownKeysAreReportedOnce starts a node with keys of another version.
func TestUnknownKeysAreReportedOnce(t *testing.T) {
	n := newNode(t, testDir(t), 1)
	n.settings = n.settings.with(settings{"future.shiny": true, "server.workers": 4})
	n.start(t)
	n.waitReady(t)
	for _, key := range []string{"future", "server.workers"} {
		if strings.Count(n.log(), key) != 1 {
			t.Errorf("the log names %s %d times, want once:\n%s", key, strings.Count(n.log(), key), n.log())
		}
	}
	n.stop(t)
}

// TestShardMapCannotBeChanged starts a data directory with other shard counts, and another window of requests: refused,
// and the data is whole when the old values return.
func TestShardMapCannotBeChanged(t *testing.T) {
	n := newNode(t, testDir(t), 1)
	n.settings = n.settings.with(settings{"cluster.user_shards": 4})
	n.start(t)
	n.waitReady(t)
	root := n.root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.mine (id INT PRIMARY KEY) WITH (TYPE = 'USER')")
	root.must(t, "INSERT INTO app.mine (id) VALUES (1)")
	n.stop(t)
	right := n.settings
	for key, value := range map[string]int{"cluster.user_shards": 8, "cluster.shared_shards": 8, "cluster.request_window": 2048} {
		n.settings = right.with(settings{key: value})
		n.start(t)
		n.waitEnd(t)
		for _, part := range []string{key, strconv.Itoa(value)} {
			if code := n.process.ProcessState.ExitCode(); code <= 0 || !strings.Contains(n.log(), part) {
				t.Errorf("%s = %d: exit code %d, does not say %q:\n%s", key, value, code, part, n.log())
			}
		}
	}
	n.settings = right
	n.start(t)
	n.waitReady(t)
	if count := root.number(t, "SELECT COUNT(*) FROM app.mine"); count != 1 {
		t.Errorf("%d rows, want 1", count)
	}
}

// TestDataDirectoryHasOneOwner starts a second process on the same data: it must refuse, and the first go on.
func TestDataDirectoryHasOneOwner(t *testing.T) {
	dir := testDir(t)
	first, second := newNode(t, dir, 1), newNode(t, dir, 2)
	first.start(t)
	first.waitReady(t)
	root := first.root(t)
	root.must(t, "CREATE NAMESPACE app")
	second.settings = second.settings.with(settings{"storage.data_path": first.dataDir()})
	second.start(t)
	second.waitEnd(t)
	if code := second.process.ProcessState.ExitCode(); code <= 0 || !strings.Contains(second.log(), first.dataDir()) {
		t.Errorf("the second process ended with %d and does not name the directory:\n%s", code, second.log())
	}
	root.must(t, "CREATE TABLE app.t (id INT PRIMARY KEY) WITH (TYPE = 'SHARED')")
}
