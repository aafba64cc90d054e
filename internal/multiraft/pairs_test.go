package multiraft

import (
	"errors"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// TestThreeReplicasOverPairs runs a cluster over the fallback of the log: it grows, loses power everywhere at once, cuts its
// logs and brings a node back through a snapshot, and nothing acknowledged is lost.
func TestThreeReplicasOverPairs(t *testing.T) {
	l := newLab(t, 51, 2)
	l.overPairs, l.retain = true, 10
	l.startThree()
	g, want := shard.UserShard(0), uint64(0)
	add := func(count uint64) {
		t.Helper()
		for i := range count {
			if _, err := l.propose(g, l.id(), i); err != nil {
				t.Fatal(err)
			}
			want += i
		}
	}
	add(20)
	for _, n := range l.nodes {
		n.crash()
	}
	for id := ident.ReplicaID(1); id <= 3; id++ {
		l.nodes[id].restart()
	}
	l.until(1000, "a leader", func() bool { return l.led(g) })
	add(20)
	away := l.otherThan(l.leader(g))
	away.crash()
	away.manager = nil
	l.until(400, "a leader without the node that is away", func() bool {
		n := l.leader(g)
		return n != nil && !n.manager.Live(away.replica)
	})
	add(100)
	l.until(400, "the logs are cut past the node that is away", func() bool {
		for _, n := range l.nodes {
			if n == away {
				continue
			}
			if err := errors.Join(n.store.Flush(), n.manager.Maintain()); err != nil {
				t.Fatal(err)
			}
			if n.manager.groups[g].log.FirstIndex() <= 60 {
				return false
			}
		}
		return true
	})
	away.restart()
	l.until(3000, "the node caught up", func() bool { return away.sum(g) == want })
	if away.manager.groups[g].snapsTaken.Load() == 0 {
		t.Error("the node caught up without a snapshot")
	}
}
