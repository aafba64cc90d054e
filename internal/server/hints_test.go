package server

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/executor"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// mistaken believes as often as mistakes says that another replica leads one group.
type mistaken struct {
	clusterPeers
	group    shard.GroupID
	believed ident.ReplicaID
	mistakes atomic.Int64
}

func (m *mistaken) Leader(group shard.GroupID) ident.ReplicaID {
	if group == m.group && m.mistakes.Add(-1) >= 0 {
		return m.believed
	}
	return m.clusterPeers.Leader(group)
}

// Forward does not look who leads meanwhile: a node that is mistaken does not know.
func (m *mistaken) Forward(
	ctx context.Context, to ident.ReplicaID, mode executor.Mode, group shard.GroupID, id ident.RequestID, data []byte,
) executor.Attempt {
	return m.ask(ctx, to, mode, group, id, data)
}

// TestFollowedHintsAreCounted: a node takes another for the leader, which is not, and says who is. The change is made there, once, and the metric
// counts the hint and the attempt that came before.
func TestFollowedHintsAreCounted(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	root := login(t, nodes[0], "root", rootPassword)
	root.sql("CREATE NAMESPACE shop")
	root.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY, n BIGINT) WITH (TYPE='SHARED')")
	root.sql("INSERT INTO shop.t VALUES (1, 0)")
	root.cluster("CLUSTER TRANSFER LEADER 2 ON GROUP 200")
	for _, n := range nodes {
		within(t, "all know who leads", func() bool { return n.engine().Leader(200) == nodes[1].self() })
	}

	n := nodes[0]
	peers := &mistaken{clusterPeers: clusterPeers{manager: n.engine(), network: n.network}, group: 200, believed: nodes[2].self()}
	proposing := executor.NewRaft(managerProposer{n.engine()}, peers, n.clock, n.random, time.Minute, n.modes(), nil)
	n.mu.Lock()
	n.proposing = proposing
	n.mu.Unlock()
	n.exec.set(proposing)
	const hints, refused = "kalamdb_propose_hints_total", `kalamdb_propose_attempts_total{outcome="not_leader"}`
	before := scrape(t, n)
	root.sql("UPDATE shop.t SET n = n + 1 WHERE id = 1")
	if after := scrape(t, n); after[hints] != before[hints] || after[refused] != before[refused] {
		t.Errorf("without a mistake the hints went from %v to %v", before[hints], after[hints])
	}
	peers.mistakes.Store(1)
	root.sql("UPDATE shop.t SET n = n + 1 WHERE id = 1")
	if after := scrape(t, n); after[hints] != before[hints]+1 || after[refused] != before[refused]+1 {
		t.Errorf("the hints went from %v to %v, the refused attempts from %v to %v, want one more of each",
			before[hints], after[hints], before[refused], after[refused])
	}
	if got := root.grid("SELECT n FROM shop.t"); got != "2" {
		t.Errorf("the row was changed to %s by two changes", got)
	}
}
