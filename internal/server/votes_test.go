package server

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// role is what a node says of its replica of a group.
func role(t *testing.T, n *Node, group shard.GroupID) string {
	t.Helper()
	statuses, err := n.engine().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statuses {
		if s.Group == group {
			return s.State
		}
	}
	return ""
}

// wantGroups checks that an order went well in just these groups.
func wantGroups(t *testing.T, got []outcome, node int64, groups ...int64) {
	t.Helper()
	if len(got) != len(groups) {
		t.Fatalf("outcomes %+v, want one for each of %v", got, groups)
	}
	for i, o := range got {
		if !o.success || o.group != groups[i] || o.target != node {
			t.Errorf("outcome %+v, want success for node %d in group %d", o, node, groups[i])
		}
	}
}

// TestVotesByGroup: a node leaves some groups: it votes there no more, over a restart, and serves everything all the same. The last
// votes are kept. A JOIN of some groups gives these back, one without groups all; a new node may begin with some.
func TestVotesByGroup(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	within(t, "all members have said that they know votes by group", func() bool { return nodes[0].commonFormat() >= command.VotesFormat })
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	wantAllTo(t, c.cluster("CLUSTER TRANSFER LEADER 3 ON GROUP 10, 200"), 2, 3)

	wantGroups(t, c.cluster("CLUSTER LEAVE 3 ON GROUP 10, 200"), 3, 10, 200)
	wantGroups(t, c.cluster("CLUSTER LEAVE 3 ON GROUP 200"), 3, 200) // a repeat finds it done
	rows := 0
	serves := func(n *Node) {
		t.Helper()
		waitReady(t, n)
		at := login(t, n, "root", rootPassword)
		rows++
		at.sql(fmt.Sprintf("INSERT INTO shop.t VALUES (%d)", rows))
		rows++
		c.sql(fmt.Sprintf("INSERT INTO shop.t VALUES (%d)", rows))
		if got := at.sql("SELECT count(*) FROM shop.t"); !strings.Contains(got, fmt.Sprintf(`"rows":[["%d"]]`, rows)) {
			t.Errorf("node %d does not see %d rows: %s", n.cfg.Cluster.NodeID, rows, got)
		}
	}
	observes := func(n *Node, groups ...shard.GroupID) {
		t.Helper()
		for _, id := range groups {
			within(t, fmt.Sprintf("node %d observes group %d", n.cfg.Cluster.NodeID, id), func() bool { return role(t, n, id) == "observer" })
		}
	}
	observes(nodes[2], 10, 200)
	serves(nodes[2])
	within(t, "the views say so", func() bool {
		groups := c.sql("SELECT group_id FROM system.cluster_groups WHERE node_id = 3 AND state = 'observer' ORDER BY group_id")
		return strings.Contains(groups, `[["10"],["200"]]`) &&
			strings.Contains(c.sql("SELECT node_id, status FROM system.cluster"), `["3","active"]`)
	})
	if got := c.cluster("CLUSTER TRANSFER LEADER 3 ON GROUP 200"); len(got) != 1 || got[0].success {
		t.Errorf("a node without a vote was made the leader: %+v", got)
	}

	wantGroups(t, c.cluster("CLUSTER LEAVE 2 ON GROUP 200"), 2, 200)
	for _, statement := range []string{"CLUSTER LEAVE 1 ON GROUP 200", "CLUSTER LEAVE 1"} {
		if got := c.refused(statement); !strings.Contains(got, "must keep its vote in group 200") {
			t.Errorf("%s: %s", statement, got)
		}
	}

	cfg := nodes[2].cfg
	closeNode(t, nodes[2])
	again := openNode(t, cfg, Options{APIListener: relisten(t, nodes[2].apiAddr), RPCListener: relisten(t, nodes[2].rpcAddr)})
	observes(again, 10, 200)
	serves(again)

	join := "CLUSTER JOIN 3 '" + again.RPCAddr() + "' ''"
	wantGroups(t, c.cluster(join+" ON GROUP 10"), 3, 10)
	if got := role(t, again, 200); got != "observer" {
		t.Errorf("node 3 is %s in group 200, which was not named", got)
	}
	if got := c.cluster(join); len(got) != 1 || !got[0].success {
		t.Errorf("join of all groups: %+v", got)
	}
	within(t, "node 3 votes in group 200", func() bool { return role(t, again, 200) == "follower" || role(t, again, 200) == "leader" })

	cfg4, opts4 := newcomer(t, 4, nodes[0])
	cfg4.Cluster.Join = config.Join{Wanted: true}
	cfg4.Cluster.UserShards, cfg4.Cluster.SharedShards = nodes[0].cfg.Cluster.UserShards, nodes[0].cfg.Cluster.SharedShards
	fourth := openNode(t, cfg4, opts4)
	wantGroups(t, c.cluster("CLUSTER JOIN 4 '"+fourth.RPCAddr()+"' '' ON GROUP 200"), 4, 200)
	m, ok := catalogMember(nodes[0].catalog.Current(), ident.NodeID(4))
	if groups := len(fourth.who().Shards.Groups()); !ok || len(m.Observes) != groups-1 {
		t.Errorf("node 4 is recorded as %+v, it votes in one of %d groups", m, groups)
	}
	observes(fourth, 10, 100)
	serves(fourth)
}
