package e2e

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// Groups of the default shard map that tests name.
const (
	metaGroup   = 10
	sharedGroup = 200
)

// cluster is several nodes that belong together.
type cluster struct {
	nodes []*node
}

// prepareCluster makes the files of a cluster that is founded from a static list of peers.
func prepareCluster(t *testing.T, size int, extra settings) *cluster {
	t.Helper()
	dir := testDir(t)
	c := &cluster{}
	var peers []map[string]any
	for id := 1; id <= size; id++ {
		n := newNode(t, dir, id)
		c.nodes = append(c.nodes, n)
		peers = append(peers, n.peer())
	}
	for _, n := range c.nodes {
		n.settings = n.settings.with(n.clusterSettings(peers)).with(extra)
	}
	return c
}

func (n *node) peer() map[string]any {
	return map[string]any{"node_id": n.id, "rpc_addr": n.rpcAddr, "api_addr": n.apiAddr}
}

func (n *node) clusterSettings(peers []map[string]any) settings {
	return settings{
		"cluster.cluster_id":            "e2e",
		"cluster.node_id":               n.id,
		"cluster.rpc_addr":              n.rpcAddr,
		"cluster.api_addr":              n.apiAddr,
		"cluster.peers":                 peers,
		"cluster.heartbeat_interval_ms": 100,
		"cluster.election_timeout_ms":   []int{500, 1000},
		"cluster.reconnect_interval_ms": 250,
	}
}

// startCluster founds a cluster of three nodes and returns when all are ready.
func startCluster(t *testing.T, extra settings) *cluster {
	t.Helper()
	c := prepareCluster(t, 3, extra)
	c.start(t)
	return c
}

// start starts every node that does not run and waits until all are ready.
func (c *cluster) start(t *testing.T) {
	t.Helper()
	for _, n := range c.nodes {
		if !n.running() {
			n.start(t)
		}
	}
	for _, n := range c.nodes {
		n.waitReady(t)
	}
}

// others returns the nodes beside one.
func (c *cluster) others(but *node) []*node {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool { return n == but })
}

// groupState is one node's view of one of its replicas. Unknown numbers are -1.
type groupState struct {
	group, leader, applied, purged int64
	state                          string
}

// groups returns a node's view of its replicas by group.
func (c *client) groups(t *testing.T) (map[int64]groupState, error) {
	t.Helper()
	got, err := c.sql(t.Context(), "SELECT group_id, state, current_leader, last_applied, purged "+
		"FROM system.cluster_groups WHERE node_id IN (SELECT node_id FROM system.cluster WHERE is_self) LIMIT 1000")
	if err != nil {
		return nil, err
	}
	if !got.ok() || len(got.rows()) == 0 {
		return nil, fmt.Errorf("system.cluster_groups: %v", got)
	}
	groups := map[int64]groupState{}
	for _, row := range got.rows() {
		state, _ := row[1].(string)
		g := groupState{
			group: integer(t, row[0]), state: state, leader: integer(t, row[2]),
			applied: integer(t, row[3]), purged: integer(t, row[4]),
		}
		groups[g.group] = g
	}
	return groups, nil
}

// leaderOf returns the node that says it leads the group, asking the given nodes only.
func (c *cluster) leaderOf(t *testing.T, root *client, group int64, among []*node) *node {
	t.Helper()
	var leader *node
	eventually(t, fmt.Sprintf("group %d has a leader", group), func() error {
		for _, n := range among {
			groups, err := root.at(n).groups(t)
			if err != nil {
				return err
			}
			if groups[group].state == "leader" {
				leader = n
				return nil
			}
		}
		return errors.New("no node says it leads")
	})
	return leader
}

// busiestGroup returns the data group with the longest history.
func (c *cluster) busiestGroup(t *testing.T, root *client) int64 {
	t.Helper()
	groups, err := root.groups(t)
	if err != nil {
		t.Fatal(err)
	}
	busiest := groupState{applied: -1}
	for _, g := range groups {
		if g.group != metaGroup && g.applied > busiest.applied {
			busiest = g
		}
	}
	return busiest.group
}

// digest is what a node has of one table in one group.
type digest struct {
	group, applied, rows int64
	digest               string
}

func (c *client) digests(t *testing.T, table string) ([]digest, error) {
	t.Helper()
	got, err := c.sql(t.Context(), "SELECT group_id, applied_index, row_count, digest FROM system.table_digests "+
		"WHERE namespace_id = 'app' AND table_name = $1 ORDER BY group_id LIMIT 1000", table)
	if err != nil {
		return nil, err
	}
	if !got.ok() || len(got.rows()) == 0 {
		return nil, fmt.Errorf("system.table_digests: %v", got)
	}
	var digests []digest
	for _, row := range got.rows() {
		hash, _ := row[3].(string)
		digests = append(digests, digest{
			group: integer(t, row[0]), applied: integer(t, row[1]), rows: integer(t, row[2]), digest: hash,
		})
	}
	return digests, nil
}

// wantEqualDigests waits until every node holds the same rows, deletions included, at the same applied
// index. There must be at least the given number of them in all groups together; nothing may write meanwhile.
func (c *cluster) wantEqualDigests(t *testing.T, root *client, table string, rows int64) {
	t.Helper()
	eventually(t, "equal digests of app."+table, func() error {
		var first []digest
		for i, n := range c.nodes {
			digests, err := root.at(n).digests(t, table)
			if err != nil {
				return fmt.Errorf("%v: %w", n, err)
			}
			if i == 0 {
				first = digests
			}
			if !slices.Equal(digests, first) {
				return fmt.Errorf("%v has %v, %v has %v", c.nodes[0], first, n, digests)
			}
		}
		var total int64
		for _, d := range first {
			total += d.rows
		}
		if total < rows {
			return fmt.Errorf("all nodes have %d rows, want %d or more", total, rows)
		}
		return nil
	})
}
