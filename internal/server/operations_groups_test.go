package server

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// standing is how a group stands: who leads it in which term, and where its log begins on each node.
type standing struct {
	leader ident.NodeID
	term   uint64
	first  [3]uint64
}

func standings(t *testing.T, nodes []*Node) map[shard.GroupID]standing {
	t.Helper()
	found := map[shard.GroupID]standing{}
	for i, n := range nodes {
		statuses, err := n.engine().Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range statuses {
			at := found[s.Group]
			if s.State == "leader" && s.Term >= at.term {
				at.leader, at.term = ident.NodeID(n.cfg.Cluster.NodeID), s.Term
			}
			at.first[i] = n.log.Group(s.Group).FirstIndex()
			found[s.Group] = at
		}
	}
	return found
}

// calmCluster is three nodes of which none stands for election of itself, and of which the third leads all groups.
func calmCluster(t *testing.T) ([]*Node, client) {
	t.Helper()
	nodes := openCluster(t, func(cfg *config.Config) { cfg.Cluster.ElectionTimeoutMillis = []int64{3000, 6000} })
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	wantAllTo(t, c.cluster("CLUSTER TRANSFER LEADER 3"), len(nodes[0].who().Shards.Groups()), 3)
	return nodes, c
}

// wantOnly checks that just the groups of these outcomes are led anew, by the nodes that they name, and returns how all stand now.
func wantOnly(t *testing.T, nodes []*Node, before map[shard.GroupID]standing, moved []outcome, groups ...int64) map[shard.GroupID]standing {
	t.Helper()
	now := standings(t, nodes)
	to := map[shard.GroupID]int64{}
	var named []int64
	for _, o := range moved {
		if !o.success || o.message != "" {
			t.Errorf("outcome %+v", o)
		}
		to[shard.GroupID(o.group)], named = o.target, append(named, o.group)
	}
	if !slices.Equal(named, groups) {
		t.Errorf("outcomes for groups %v, want %v", named, groups)
	}
	for group, was := range before {
		is := now[group]
		if target, ordered := to[group]; ordered && (int64(is.leader) != target || is.term <= was.term) {
			t.Errorf("group %d is led by node %d in term %d, want node %d in a term after %d", group, is.leader, is.term, target, was.term)
		} else if !ordered && (is.leader != was.leader || is.term != was.term) {
			t.Errorf("group %d, which is not concerned, went from node %d in term %d to node %d in term %d",
				group, was.leader, was.term, is.leader, is.term)
		}
	}
	return now
}

// TestOrdersAboutSomeGroups: what REBALANCE, TRIGGER ELECTION and STEPDOWN do to the groups that they name, and that they do nothing to
// the others.
func TestOrdersAboutSomeGroups(t *testing.T) {
	t.Parallel()
	nodes, c := calmCluster(t)
	at := standings(t, nodes)

	planned := c.cluster("CLUSTER REBALANCE DRY RUN ON GROUP 103, 104, 105")
	if len(planned) != 2 { // node 3 leads all three and is to lead one
		t.Fatalf("planned: %+v", planned)
	}
	groups := []int64{planned[0].group, planned[1].group}
	wantOnly(t, nodes, at, nil)
	moved := c.cluster("CLUSTER REBALANCE ON GROUP 103, 104, 105")
	if !slices.Equal(moved, planned) {
		t.Errorf("moved %+v, planned were %+v", moved, planned)
	}
	at = wantOnly(t, nodes, at, moved, groups...)
	wantOnly(t, nodes, at, c.cluster("CLUSTER REBALANCE ON GROUP 103, 104, 105"))
	wantOnly(t, nodes, at, c.cluster("CLUSTER REBALANCE ON GROUP 10")) // meta stays where it is
	_, held := nodes[2].orders.pending(nodes[2].clock.Now())
	for _, id := range nodes[0].who().Shards.Groups() {
		_, holds := held[id]
		if freed := id == 10 || id >= 103 && id <= 105; holds == freed {
			t.Errorf("group %d: held by node 3 is %v", id, holds)
		}
	}
	if rest := c.cluster("CLUSTER REBALANCE DRY RUN"); len(rest) < len(at)/2 {
		t.Errorf("a rebalance of some groups leaves %d moves", len(rest))
	}

	c.url = "http://" + nodes[1].APIAddr() // who runs the statement stands for election
	at = wantOnly(t, nodes, at, c.cluster("CLUSTER TRIGGER ELECTION ON GROUP 110, 111"), 110, 111)
	if at[110].leader != 2 || at[111].leader != 2 {
		t.Errorf("after the election at node 2: %+v, %+v", at[110], at[111])
	}
	before := at
	if got := c.cluster("CLUSTER TRIGGER ELECTION ON GROUP 110"); len(got) != 1 || !got[0].success || got[0].target != 2 {
		t.Errorf("an election at the leader: %+v", got)
	}
	at = wantOnly(t, nodes, before, nil)

	// Of those that are named node 3 leads one; without a number, whoever leads them hands over.
	at = wantOnly(t, nodes, at, c.cluster("CLUSTER STEPDOWN 3 ON GROUP 110, 112"), 112)
	if at[112].leader == 3 {
		t.Error("node 3 still leads group 112")
	}
	at = wantOnly(t, nodes, at, c.cluster("CLUSTER STEPDOWN ON GROUP 110, 113"), 110, 113)
	if at[110].leader == 2 || at[113].leader == 3 {
		t.Errorf("who stepped down still leads: %+v, %+v", at[110], at[113])
	}
	for _, statement := range []string{
		"CLUSTER REBALANCE ON GROUP 103, 99", "CLUSTER REBALANCE DRY RUN ON GROUP 99", "CLUSTER TRIGGER ELECTION ON GROUP 115, 99",
		"CLUSTER STEPDOWN ON GROUP 115, 99", "CLUSTER STEPDOWN 3 ON GROUP 115, 99", "CLUSTER PURGE --upto 5 ON GROUP 115, 99",
	} {
		if got := c.refused(statement); !strings.Contains(got, "group 99 does not exist") {
			t.Errorf("%s: %s", statement, got)
		}
	}
	wantOnly(t, nodes, at, nil)
}

// TestStepdownOfANode: a node hands over all that it leads and no other group is led anew; a repeat finds nothing to do.
func TestStepdownOfANode(t *testing.T) {
	t.Parallel()
	nodes, c := calmCluster(t)
	at := wantOnly(t, nodes, standings(t, nodes), c.cluster("CLUSTER TRANSFER LEADER 1 ON GROUP 10, 101, 102"), 10, 101, 102)
	at = wantOnly(t, nodes, at, c.cluster("CLUSTER STEPDOWN"), 10, 101, 102) // of the node that runs it
	for _, id := range []shard.GroupID{10, 101, 102} {
		if at[id].leader == 1 {
			t.Errorf("node 1 still leads group %d", id)
		}
	}
	at = wantOnly(t, nodes, at, c.cluster("CLUSTER STEPDOWN"))
	var led []int64
	for _, id := range nodes[0].who().Shards.Groups() {
		if at[id].leader == 3 {
			led = append(led, int64(id))
		}
	}
	at = wantOnly(t, nodes, at, c.cluster("CLUSTER STEPDOWN 3"), led...)
	if leads(nodes)[2] != 0 {
		t.Errorf("node 3 leads %d groups after it stepped down", leads(nodes)[2])
	}
	wantOnly(t, nodes, at, c.cluster("CLUSTER STEPDOWN 3"))
}

// TestPurgeOfSomeGroups: a purge cuts the logs of the groups that it names, on every node, up to the index that it names, and no other.
func TestPurgeOfSomeGroups(t *testing.T) {
	t.Parallel()
	nodes, c := calmCluster(t)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	for i := range 20 {
		c.sql(fmt.Sprintf("INSERT INTO shop.t VALUES (%d)", i))
	}
	before := standings(t, nodes)
	within(t, "the log of the group is cut everywhere", func() bool {
		got := c.cluster("CLUSTER PURGE --upto 12 ON GROUP 200")
		if len(got) != 3 {
			t.Fatalf("purge: %+v", got)
		}
		slices.SortFunc(got, func(a, b outcome) int { return cmp.Compare(a.target, b.target) })
		for i, o := range got {
			if !o.success || o.group != 200 || o.target != int64(i+1) || o.upto > 12 {
				t.Fatalf("purge: %+v", got)
			}
		}
		return got[0].upto == 12 && got[1].upto == 12 && got[2].upto == 12
	})
	for id, now := range standings(t, nodes) {
		want := before[id].first
		if id == 200 {
			want = [3]uint64{13, 13, 13}
		}
		if now.first != want {
			t.Errorf("the logs of group %d begin at %v, want %v", id, now.first, want)
		}
	}
}
