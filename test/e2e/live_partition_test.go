package e2e

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	kalam "github.com/kalamdb/kalamdb-go/client"
	"github.com/kalamdb/kalamdb-go/internal/loopback"
)

// startWiredCluster is startCluster with wires between the nodes, so that they can be cut off from each other while clients
// reach them all.
func startWiredCluster(t *testing.T, extra settings) (*cluster, *loopback.Wires) {
	t.Helper()
	c, wires := prepareCluster(t, 3, extra), loopback.NewWires()
	t.Cleanup(wires.Close)
	for _, from := range c.nodes {
		var peers []map[string]any
		for _, to := range c.nodes {
			peer := to.peer()
			if from != to {
				address, err := wires.Lay(t.Context(), from.id, to.id, to.rpcAddr)
				if err != nil {
					t.Fatal(err)
				}
				peer["rpc_addr"] = address
			}
			peers = append(peers, peer)
		}
		from.settings = from.settings.with(settings{"cluster.peers": peers})
	}
	c.start(t)
	return c, wires
}

// TestLiveClientsUnderPartition: clients follow live queries at every node while each in turn is cut off, both ways or deaf or
// silent, and leaderships move; some of them read slowly, and in the end a hundred come at once. Writers go on at the
// other nodes. Whoever stayed at the node that was cut off, or went elsewhere, was told exactly what the log holds.
func TestLiveClientsUnderPartition(t *testing.T) {
	c, wires := startWiredCluster(t, settings{"rate_limit.max_subscriptions_per_user": 0})
	root := c.liveTables(t)

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	watched := c.watch(ctx, t, 0, 3) // one at each node reads slowly
	watched.write(ctx, t, partitionWriter)
	watched.more(t, 20)
	for i, n := range c.nodes {
		// The node that is cut off leads what the clients follow, so that others have to take over.
		root.at(n).soon(t, fmt.Sprintf("CLUSTER TRANSFER LEADER %d ON GROUP %d", n.id, sharedGroup))
		wires.Cut([]loopback.Direction{
			loopback.Alone(n.id), func(from, _ int) bool { return from == n.id }, func(_, to int) bool { return to == n.id },
		}[i])
		watched.more(t, 40)
		wires.Mend()
		watched.more(t, 20)
	}
	watched.end(ctx, t, root, nil)
	if t.Failed() {
		return
	}
	c.compareLog(ctx, t, root, watched.watchers, 50)
	for i, w := range watched.watchers[:2] { // the third one does not see the large rows
		if w.resumed == 0 {
			t.Errorf("client %d did not read, and was not told that it is slow", i)
		}
	}
	c.storm(ctx, t, watched.watchers[2])
}

// partitionWriter changes rows until it is told to stop; acknowledged counts what succeeded.
func partitionWriter(ctx context.Context, t *testing.T, c *kalam.Client, number int, acknowledged *atomic.Int64) {
	t.Helper()
	statements := []string{
		"INSERT INTO app.live VALUES ($1, $2, '') ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n",
		"UPDATE app.live SET n = n + $2 WHERE id >= $1 - 3 AND id <= $1", "DELETE FROM app.live WHERE id = $1 - 2 AND $2 > 0",
	}
	for i := 0; ctx.Err() == nil; i++ {
		if _, err := c.Exec(t.Context(), statements[i%3], number*1000+i%20, i); err != nil {
			t.Errorf("a change was not carried out: %v", err)
			return
		}
		acknowledged.Add(1)
	}
}
