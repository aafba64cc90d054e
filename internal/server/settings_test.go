package server

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// TestSettingsReachTheEngine: what a file says of retention, pressure and balance is what the engine is opened with.
func TestSettingsReachTheEngine(t *testing.T) {
	t.Parallel()
	cfg, warnings, err := config.Parse([]byte(`
[raft]
log_retention_entries = 5000
meta_log_retention_entries = 700
shared_log_retention_bytes = 1048576
balance_leaders = false
max_waiting_proposals = 11
max_waiting_bytes = 65536
max_follower_lag_entries = 321
[cluster]
cluster_id = "c"
snapshot_policy = "LogsSinceLast(900)"
max_snapshots_to_keep = 2
`), func(string) string { return "" })
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	n := &Node{cfg: cfg}
	retain, byClass := n.retention()
	if diff := cmp.Diff(multiraft.Retention{Entries: 900, Bytes: 64 << 20}, retain); diff != "" {
		t.Errorf("retention (-want +got):\n%s", diff)
	}
	want := map[shard.Class]multiraft.Retention{
		shard.ClassMeta: {Entries: 700}, shard.ClassUser: {}, shard.ClassShared: {Bytes: 1 << 20},
	}
	if diff := cmp.Diff(want, byClass); diff != "" {
		t.Errorf("retention by class (-want +got):\n%s", diff)
	}
	engine := n.bounds(multiraft.Config{})
	if !engine.NoBalance || engine.MaxWaiting != 11 || engine.MaxWaitingBytes != 65536 || engine.MaxFollowerLag != 321 || engine.SnapshotReceive != 2 {
		t.Errorf("bounds = %+v", engine)
	}
}
