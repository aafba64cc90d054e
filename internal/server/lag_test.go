package server

import (
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// TestLag: a replica is behind by the entries that somebody has committed and it has not applied, since it had applied all
// that was.
func TestLag(t *testing.T) {
	t.Parallel()
	wall := clock.NewManual(time.Unix(1000, 0))
	g := newGossip(&Node{clock: wall, cfg: config.Default()})
	group := shard.UserShard(0)
	note := func(index uint64) { g.noteCommits(map[uint64]uint64{uint64(group): index}, wall.Now()) }
	want := func(applied, entries uint64, behind time.Duration) {
		t.Helper()
		if gotEntries, gotBehind := g.lag(group, applied); gotEntries != entries || gotBehind != behind {
			t.Errorf("with %d applied: %d entries, %v behind, want %d, %v", applied, gotEntries, gotBehind, entries, behind)
		}
	}
	want(0, 0, 0) // nobody has said anything
	note(10)
	want(10, 0, 0)
	wall.Advance(time.Second)
	note(10)
	want(9, 1, time.Second) // it was never seen level, so since the first word
	wall.Advance(time.Second)
	note(20)
	want(20, 0, 0)
	want(21, 0, 0)            // it knows more than was heard
	want(10, 10, time.Second) // level until somebody last said 10
	want(15, 5, time.Second)  // within what came in one go
	wall.Advance(3 * time.Second)
	want(10, 10, 4*time.Second)
	for i := range uint64(10 * maxCommitSamples) {
		wall.Advance(time.Second)
		note(100 + i)
	}
	if n := len(g.lags[group]); n > maxCommitSamples {
		t.Errorf("%d samples are kept, at most %d are to be", n, maxCommitSamples)
	}
	last := uint64(100 + 10*maxCommitSamples - 1)
	want(last-2, 2, 2*time.Second)
	want(10, last-10, 10*maxCommitSamples*time.Second+4*time.Second)
	const ago = 600
	if entries, behind := g.lag(group, last-ago); entries != ago || behind < ago*time.Second || behind > (ago+ago/4)*time.Second {
		t.Errorf("a replica that applied everything until %d s ago: %d entries, %v", ago, entries, behind)
	}
}

// TestBehindLeader: of a replica that says nothing, the leader of the group tells how far it is.
func TestBehindLeader(t *testing.T) {
	t.Parallel()
	leader := &nodev1.GetNodeInfoResponse{Groups: []*nodev1.GroupStatus{
		{Group: 10, LastIndex: 5}, {Group: 100, LastIndex: 50, Progress: []*nodev1.PeerProgress{{ReplicaId: 2, Match: 43}, {ReplicaId: 3, Match: 60}}},
	}}
	for _, c := range []struct {
		leader         *nodev1.GetNodeInfoResponse
		group, replica uint64
		want           int64 // -1 for not known
	}{
		{leader, 100, 2, 7},
		{leader, 100, 3, 0},
		{leader, 100, 4, -1},
		{leader, 10, 2, -1},
		{nil, 100, 2, -1},
	} {
		got := int64(-1)
		if lag := behindLeader(c.leader, c.group, ident.ReplicaID(c.replica)); lag != nil {
			got = int64(*lag)
		}
		if got != c.want {
			t.Errorf("group %d, replica %d: %d, want %d", c.group, c.replica, got, c.want)
		}
	}
}
