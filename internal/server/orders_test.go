package server

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// TestOrdersOutliveARestart: what is stored is what was asked, and holds end.
func TestOrdersOutliveARestart(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	load := func() *orders {
		t.Helper()
		o, err := loadOrders(disk.Local(), dir)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	take := func(order nodev1.Order, groups ...uint64) {
		t.Helper()
		if err := load().take(&nodev1.OperateRequest{Order: order, Groups: groups}, now); err != nil {
			t.Fatal(err)
		}
	}
	want := func(at time.Time, draining bool, holds map[shard.GroupID]time.Duration) {
		t.Helper()
		gotDraining, got := load().pending(at)
		if gotDraining != draining || len(got) != len(holds) {
			t.Fatalf("draining %v, holds %v; want %v, %v", gotDraining, got, draining, holds)
		}
		for group, period := range holds {
			if got[group] != period {
				t.Errorf("%s is held for %v, want %v", group, got[group], period)
			}
		}
	}
	want(now, false, nil)
	take(nodev1.Order_ORDER_DRAIN)
	take(nodev1.Order_ORDER_HOLD, 10, 200)
	want(now, true, map[shard.GroupID]time.Duration{10: multiraft.HoldFor, 200: multiraft.HoldFor})
	want(now.Add(-time.Hour), true, map[shard.GroupID]time.Duration{10: multiraft.HoldFor, 200: multiraft.HoldFor})
	want(now.Add(time.Minute), true, map[shard.GroupID]time.Duration{
		10: multiraft.HoldFor - time.Minute, 200: multiraft.HoldFor - time.Minute,
	})
	want(now.Add(multiraft.HoldFor), true, nil)
	take(nodev1.Order_ORDER_REBALANCE, 10)
	take(nodev1.Order_ORDER_RESUME)
	want(now, false, map[shard.GroupID]time.Duration{200: multiraft.HoldFor})
	if err := os.WriteFile(filepath.Join(dir, ordersFile), []byte("00000000 {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadOrders(disk.Local(), dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged file: %v", err)
	}
}

// TestDrainedNodeStaysDrained restarts a drained node: it leads nothing until it is told to.
func TestDrainedNodeStaysDrained(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.cluster("CLUSTER DRAIN 2")
	closeNode(t, nodes[1])
	cfg := *nodes[1].cfg
	nodes[1] = openNode(t, &cfg, Options{
		APIListener: relisten(t, nodes[1].apiAddr), RPCListener: relisten(t, nodes[1].rpcAddr),
	})
	waitReady(t, nodes[1])
	within(t, "the others know that node 2 is drained", func() bool {
		status := ""
		for _, row := range c.rows("SELECT status FROM system.cluster WHERE node_id = 2") {
			status, _ = row[0].(string)
		}
		return status == "draining"
	})
	// Every leader plans for itself, and each hears of it in its own time.
	within(t, "no leader would give node 2 a group, and it leads none", func() bool {
		given := slices.ContainsFunc(c.cluster("CLUSTER REBALANCE DRY RUN"), func(p outcome) bool { return p.target == 2 })
		return !given && nodes[1].engine().LeaderCount() == 0
	})
	c.cluster("CLUSTER RESUME 2")
	within(t, "node 2 leads again", func() bool {
		c.cluster("CLUSTER REBALANCE")
		return nodes[1].engine().LeaderCount() > 0
	})
	// A stop by itself is no order.
	closeNode(t, nodes[1])
	if draining, _ := nodes[1].orders.pending(time.Now()); draining {
		t.Error("a node that was stopped would start drained")
	}
}
