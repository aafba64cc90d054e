package server

import (
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/config"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// TestDeadWithinTwoElectionTimeouts moves the clock: a member counts as alive until just before two of the longest election timeouts after it was
// asked for its last answer, and not longer, however late that answer came: a node may die with its answer on the way.
func TestDeadWithinTwoElectionTimeouts(t *testing.T) {
	t.Parallel()
	hands := clock.NewManual(time.Unix(1_700_000_000, 0))
	n := &Node{catalog: catalog.NewStore(), cfg: config.Default(), clock: hands}
	n.cfg.Cluster.ElectionTimeoutMillis = []int64{500, 1000}
	n.gossip = newGossip(n)
	const bound = 2 * time.Second
	for _, late := range []time.Duration{0, time.Millisecond, housePeriod, bound - time.Nanosecond} {
		asked := hands.Now()
		hands.Advance(late)
		n.gossip.hear(2, &nodev1.GetNodeInfoResponse{ReplicaId: 2, ClockMicros: asked.UnixMicro()}, asked)
		hands.Advance(bound - time.Nanosecond - late)
		if _, fresh := n.gossip.get(2); !fresh {
			t.Errorf("an answer that took %v: the member is dead %v after it was asked", late, hands.Now().Sub(asked))
		}
		hands.Advance(time.Nanosecond)
		if _, fresh := n.gossip.get(2); fresh {
			t.Errorf("an answer that took %v: the member is alive %v after it was asked", late, hands.Now().Sub(asked))
		}
		if _, told := n.gossip.offset(2); told {
			t.Error("the clock of a dead member counts")
		}
	}
	// It is asked often enough to miss no more than every other time.
	if pause := n.roundPause(); 3*pause > bound {
		t.Errorf("members are asked every %v", pause)
	}
}
