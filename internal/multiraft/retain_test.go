package multiraft

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// TestRetentionByClass: what a class does not say for itself is what all groups keep; the meta group is more patient
// with its leader than the others.
func TestRetentionByClass(t *testing.T) {
	cfg := Config{
		RetainEntries: 100, RetainBytes: 1000, ElectionTicks: 10,
		Retain: map[shard.Class]Retention{shard.ClassMeta: {Entries: 7}, shard.ClassShared: {Entries: 8, Bytes: 9}},
	}
	for group, want := range map[shard.GroupID]Retention{
		shard.Meta: {7, 1000}, shard.UserShard(3): {100, 1000}, shard.SharedShard(0): {8, 9},
	} {
		if got := cfg.retain(group); got != want {
			t.Errorf("%s keeps %+v, want %+v", group, got, want)
		}
	}
	if meta, data := cfg.electionTicks(shard.Meta), cfg.electionTicks(shard.UserShard(0)); meta != 15 || data != 10 {
		t.Errorf("election timeouts: meta %d ticks, data %d; want 15 and 10", meta, data)
	}
}
