package server

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/metrics"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
)

// TestSettingsReachTheEngine: what a file says of retention, pressure, balance, timers and workers is what the engine is opened with.
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
workers = 3
log_writes = 2
[cluster]
heartbeat_interval_ms = 100
election_timeout_ms = [300, 600]
cluster_id = "c"
snapshot_policy = "LogsSinceLast(900)"
max_snapshots_to_keep = 2
`), func(string) string { return "" })
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	n := &Node{cfg: cfg, logger: slog.New(slog.DiscardHandler), metrics: metrics.New(metrics.Build{})}
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
	engine := n.engineConfig(identity{Replica: 7, Shards: shard.Map{UserShards: 2, SharedShards: 1}})
	if engine.TickInterval != 20*time.Millisecond || engine.HeartbeatTicks != 5 || engine.ElectionTicks != 15 {
		t.Errorf("a tick of %v, %d to a heartbeat, %d to an election", engine.TickInterval, engine.HeartbeatTicks, engine.ElectionTicks)
	}
	if engine.Replica != 7 || len(engine.Groups) != 4 || engine.Workers != 3 || engine.LogWrites != 2 {
		t.Errorf("replica %d, groups %v, %d workers, %d writes of the log", engine.Replica, engine.Groups, engine.Workers, engine.LogWrites)
	}
	if !engine.NoBalance || engine.MaxWaiting != 11 || engine.MaxWaitingBytes != 65536 || engine.MaxFollowerLag != 321 || engine.SnapshotReceive != 2 {
		t.Errorf("bounds = %+v", engine)
	}
}

// TestSettingsReachTheCaches: what a file says of memory for caches and buffers is what they are opened with.
func TestSettingsReachTheCaches(t *testing.T) {
	t.Parallel()
	for file, want := range map[string][6]int64{
		"": {64 << 20, 64 << 20, 64 << 20, 1024, 16_384, 8 << 20},
		"[storage]\nblock_cache_bytes = 1048577\ncold_cache_bytes = 1048578\n[raft]\nlog_cache_bytes = 3\n[limits]\nplan_cache_entries = 4\nchange_buffer_entries = 17\nchange_buffer_bytes = 65537": {
			1048577, 1048578, 3, 4, 17, 65537,
		},
		"[raft]\nlog_cache_bytes = 0": {64 << 20, 64 << 20, -1, 1024, 16_384, 8 << 20},
	} {
		cfg, warnings, err := config.Parse([]byte(file), func(string) string { return "" })
		if err != nil || len(warnings) > 0 {
			t.Fatal(warnings, err)
		}
		n := &Node{cfg: cfg, logger: slog.New(slog.DiscardHandler), fs: &disk.Watched{}}
		feed := feedConfig(cfg)
		got := [6]int64{
			n.storeOptions().CacheBytes, n.coldConfig().CacheBytes, n.logConfig().CacheBytes, int64(n.sqlLimits().PlanCacheEntries),
			int64(feed.MaxChanges), int64(feed.MaxBytes),
		}
		if got != want {
			t.Errorf("%q: caches of %d, want %d", file, got, want)
		}
	}
}
