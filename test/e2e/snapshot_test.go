package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestWipedNodeGetsEverythingBack removes one node's data, the founder's first and then another's, while
// clients write, and compares digests when it is back.
func TestWipedNodeGetsEverythingBack(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	createLedger(t, root, 4)
	l := openLedger(t, c, root, 4)
	l.write(t)
	l.waitFor(t, 50)
	for _, n := range []*node{c.nodes[0], c.nodes[2]} {
		n.kill(t)
		n.wipe(t)
		l.waitFor(t, 20)
		n.start(t)
		n.waitReady(t)
		l.waitFor(t, 20)
	}
	l.stop()
	l.wantAll(t, c.nodes)
	c.wantSameRows(t, l, root)

	// The replicas that came back vote and lead like all others: each pair of nodes carries the cluster.
	for i, n := range c.nodes {
		n.kill(t)
		root.at(c.nodes[(i+1)%3]).soon(t, "UPDATE app.ledger SET note = 'touched' WHERE id = 1")
		n.start(t)
		n.waitReady(t)
	}
	c.wantSameDigests(t, root, "ledger")
}

// TestInterruptedReturns kills a node again and again on its way back from an empty disk, and takes its disk
// away once more, before it is let in peace.
func TestInterruptedReturns(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	createLedger(t, root, 4)
	l := openLedger(t, c, root, 4)
	l.write(t)
	l.waitFor(t, 20)
	n := c.nodes[1]
	n.kill(t)
	for round := range 6 {
		if round%2 == 0 {
			n.wipe(t)
		}
		n.start(t)
		eventually(t, "the node has joined", func() error {
			if !strings.Contains(n.log(), "identity") {
				return fmt.Errorf("%s", n.log())
			}
			return nil
		})
		l.waitFor(t, round) // some writes later: not at all at first, a little further each time
		n.kill(t)
	}
	n.start(t)
	n.waitReady(t)
	l.stop()
	l.wantAll(t, c.nodes)
	c.wantSameRows(t, l, root)
	members := root.must(t, "SELECT node_id FROM system.cluster ORDER BY node_id")
	if got := fmt.Sprint(members.rows()); got != "[[1] [2] [3]]" {
		t.Errorf("members after the returns: %s", got)
	}
}

// wantSameDigests compares digests whatever the number of rows.
func (c *cluster) wantSameDigests(t *testing.T, root *client, table string) {
	t.Helper()
	c.wantEqualDigests(t, root, table, root.soonNumber(t, "SELECT COUNT(*) FROM app."+table))
}

func (c *client) soonNumber(t *testing.T, text string) int64 {
	t.Helper()
	return integer(t, c.soon(t, text).rows()[0][0])
}

// TestNodeAwayPastRetention keeps a node away until the others no longer have the log it needs. It must
// come back through a snapshot with every row.
func TestNodeAwayPastRetention(t *testing.T) {
	c := startCluster(t, settings{
		"raft.log_retention_entries": 20, "raft.log_retention_bytes": 64 << 10, "raft.log_segment_bytes": 64 << 10,
		"cluster.snapshot_policy": "LogsSinceLast(50)",
	})
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.bulk (id BIGINT PRIMARY KEY, body TEXT NOT NULL) WITH (TYPE = 'SHARED')")
	root.must(t, "INSERT INTO app.bulk (id, body) VALUES (0, 'before')")
	away := c.nodes[2]
	before := sharedState(t, root.at(away))
	away.kill(t)

	rows := int64(1)
	eventually(t, "the others cut their logs beyond the lost node's position", func() error {
		for range 40 {
			root.soon(t, "INSERT INTO app.bulk (id, body) VALUES ($1, $2)", rows, fmt.Sprintf("%0512d", rows))
			rows++
		}
		for _, n := range c.others(away) {
			if now := sharedState(t, root.at(n)); now.purged <= before.applied {
				return fmt.Errorf("%v has cut to %d, the lost node is at %d", n, now.purged, before.applied)
			}
		}
		return nil
	})
	root.must(t, "DELETE FROM app.bulk WHERE id = 0")
	rows--

	away.start(t)
	away.waitReady(t)
	c.wantEqualDigests(t, root, "bulk", rows)
	if count := root.at(away).number(t, "SELECT COUNT(*) FROM app.bulk"); count != rows {
		t.Errorf("%v counts %d rows, want %d", away, count, rows)
	}
	root.at(away).must(t, "INSERT INTO app.bulk (id, body) VALUES (0, 'after')")
	c.wantEqualDigests(t, root, "bulk", rows+1)
}

// sharedState returns a node's view of its replica of the group of shared tables.
func sharedState(t *testing.T, at *client) groupState {
	t.Helper()
	var state groupState
	eventually(t, "the state of the group of shared tables", func() error {
		groups, err := at.groups(t)
		if err != nil {
			return err
		}
		state = groups[sharedGroup]
		return nil
	})
	return state
}
