package server

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// visible is what operators see of each group and node: the thing, its metric, and the nodes of the story below at which it moves. A
// metric without labels is one of a group; sg is the group of shared tables.
var visible = []struct {
	thing, metric string
	moves         []int
}{
	{"applied", "group_applied_index", []int{1, 2, 3}},
	{"committed", "group_committed_index", []int{1, 2, 3}},
	{"end of the log", "group_last_index", []int{1, 2, 3}},
	{"lag in entries", "group_lag_entries", []int{3}},
	{"lag in bytes", "group_lag_bytes", []int{3}},
	{"lag in time", "group_lag_seconds", []int{3}},
	{"lag of a follower", `group_follower_lag_entries{group="data:shared:00",node="3"}`, []int{1}},
	{"leader", "group_leader", []int{1, 2}},
	{"leader known", "group_has_leader", []int{1}},
	{"term", "group_term", []int{1, 2, 3}},
	{"elections", "group_elections_total", []int{2}},
	{"last word of a majority", "group_quorum_ack_seconds", []int{1}},
	{"propose latency of a group", "group_propose_seconds_count", []int{1}},
	{"propose latency of a group", "group_propose_seconds_sum", []int{1}},
	{"propose latency of a group, the latest", "group_propose_latest_seconds", []int{1}},
	{"propose latency", `propose_seconds_bucket{class="shared_data",le="+Inf"}`, []int{1}},
	{"log append latency", `log_append_seconds_bucket{le="+Inf"}`, []int{1, 2, 3}},
	{"log append latency", `log_append_seconds_sum{}`, []int{1, 2, 3}},
	{"groups in a write of the log", `log_batch_groups_bucket{le="+Inf"}`, []int{1, 2, 3}},
	{"entries in a batch of the store", `apply_batch_entries_bucket{le="+Inf"}`, []int{1, 2, 3}},
	{"snapshots on their way", `snapshots_active{direction="sent"}`, []int{1}},
	{"snapshots on their way", `snapshots_active{direction="received"}`, []int{3}},
	{"bytes of snapshots", `snapshot_bytes_total{direction="sent"}`, []int{1}},
	{"bytes of a group's snapshots", `group_snapshot_bytes_total{direction="sent",group="data:shared:00"}`, []int{1}},
	{"bytes of a group's snapshots", `group_snapshot_bytes_total{direction="received",group="data:shared:00"}`, []int{3}},
	{"progress of a snapshot", `snapshot_transfer_bytes{direction="sent",group="data:shared:00",node="3"}`, []int{1}},
	{"progress of a snapshot", `snapshot_transfer_pairs{direction="received",group="data:shared:00",node="1"}`, []int{3}},
	{"progress of a snapshot", `snapshot_transfer_percent{direction="received",group="data:shared:00",node="1"}`, []int{3}},
	{"depth of a queue", "group_waiting_proposals", []int{1}},
	{"depth of a queue", "group_waiting_bytes", []int{1}},
	{"depth of a queue", "worker_inbox_items{}", nil},
	{"depth of a queue", `transport_queue_bytes{lane="bulk"}`, nil},
	{"refusals", `proposals_refused_total{reason="waiting"}`, []int{1}},
	{"refusals", `proposals_refused_total{reason="too_large"}`, []int{1}},
	{"refusals", `proposals_refused_total{reason="not_leader"}`, []int{2}},
	{"refusals", `proposals_refused_total{reason="follower_lag"}`, nil},
	{"refusals", `proposals_refused_total{reason="disk_full"}`, nil},
	{"refusals of a group", `group_refused_total{group="data:shared:00",reason="waiting"}`, []int{1}},
	{"refusals of a group", `group_refused_total{group="data:shared:00",reason="follower_lag"}`, nil},
}

// seriesOf is the name of a series in what a node exports.
func seriesOf(metric string, group shard.GroupID) string {
	name, labels, labelled := strings.Cut(metric, "{")
	if !labelled {
		return fmt.Sprintf("kalamdb_%s{group=%q}", name, group.String())
	}
	if labels == "}" {
		return "kalamdb_" + name
	}
	return "kalamdb_" + metric
}

// reach is the least and the greatest value of each series of each node that were ever seen.
type reach map[int]map[string][2]float64

func (r reach) look(t *testing.T, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		id := int(n.cfg.Cluster.NodeID)
		if r[id] == nil {
			r[id] = map[string][2]float64{}
		}
		for series, value := range scrape(t, n) {
			seen, known := r[id][series]
			if !known {
				seen = [2]float64{value, value}
			}
			r[id][series] = [2]float64{min(seen[0], value), max(seen[1], value)}
		}
	}
}

// TestOperatorsSeeWhatIsListed lives through a story in which everything happens that operators are to see, and wants each metric of
// the list to be there for each group on each node, under the name that the page for operators gives it, and to have moved.
func TestOperatorsSeeWhatIsListed(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, func(cfg *config.Config) {
		cfg.Raft.SnapshotBytesPerSec, cfg.Raft.MaxWaitingBytes = 256<<10, 96<<10
		cfg.Cluster.ElectionTimeoutMillis = []int64{3000, 6000}
	})
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	seen := reach{}
	c.cluster("CLUSTER TRANSFER LEADER 1 ON GROUP 200")
	seen.look(t, nodes...)
	everyGroupHas(t, nodes)

	fillBehind(t, nodes, c, 40)
	back := openNode(t, nodes[2].cfg, Options{APIListener: relisten(t, nodes[2].apiAddr), RPCListener: relisten(t, nodes[2].rpcAddr)})
	nodes[2] = back
	within(t, "node 3 has the snapshot", func() bool {
		seen.look(t, nodes...)
		return back.engine() != nil && back.engine().Applied(shard.SharedShard(0)) >= nodes[1].engine().Applied(shard.SharedShard(0))
	})
	waitReady(t, back)
	refusalsMove(t, nodes[0], nodes[1])
	c.cluster("CLUSTER TRANSFER LEADER 2 ON GROUP 200")
	seen.look(t, nodes...)
	c.cluster("CLUSTER TRANSFER LEADER 1 ON GROUP 200")
	c.sql("INSERT INTO shop.t VALUES (1000, '')")
	seen.look(t, nodes...)
	waitAlone(t, nodes, seen)

	for _, v := range visible {
		series := seriesOf(v.metric, shard.SharedShard(0))
		for _, node := range v.moves {
			if r, there := seen[node][series]; !there || r[0] == r[1] {
				t.Errorf("%s: %s of node %d did not move: %v (there: %v)", v.thing, series, node, r, there)
			}
		}
		for node := range seen {
			if _, there := seen[node][series]; !there && v.moves == nil {
				t.Errorf("%s: node %d has no %s", v.thing, node, series)
			}
		}
	}
	documented(t, seen)
}

// everyGroupHas checks that each node tells of each group what does not depend on who leads it.
func everyGroupHas(t *testing.T, nodes []*Node) {
	t.Helper()
	for _, n := range nodes {
		series := scrape(t, n)
		for _, group := range n.who().Shards.Groups() {
			for _, v := range visible {
				if strings.Contains(v.metric, "{") || v.metric == "group_quorum_ack_seconds" {
					continue
				}
				if name := seriesOf(v.metric, group); !has(series, name) {
					t.Errorf("%s: node %d has no %s", v.thing, n.cfg.Cluster.NodeID, name)
				}
			}
			leads := series[seriesOf("group_leader", group)] == 1
			if got := has(series, seriesOf("group_quorum_ack_seconds", group)); got != leads {
				t.Errorf("node %d leads %s: %v, and says when it heard a majority: %v", n.cfg.Cluster.NodeID, group, leads, got)
			}
		}
	}
}

func has(series map[string]float64, name string) bool {
	_, there := series[name]
	return there
}

// waitAlone leaves node 1 without the others, so that what is proposed to it waits, and nobody leads in the end.
func waitAlone(t *testing.T, nodes []*Node, seen reach) {
	t.Helper()
	closeNode(t, nodes[1])
	closeNode(t, nodes[2])
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, _, err := nodes[0].engine().Propose(ctx, shard.SharedShard(0), ident.RequestID{2}, make([]byte, 100))
		ended <- err
	}()
	within(t, "a proposal waits, and nobody leads", func() bool {
		seen.look(t, nodes[0])
		return seen[1][seriesOf("group_waiting_proposals", 200)][1] > 0 && seen[1][seriesOf("group_has_leader", 200)][0] == 0
	})
	cancel()
	if err := <-ended; err == nil {
		t.Errorf("a proposal without a majority was done")
	}
}

// documented checks that docs/ops/run.md names every metric of the list, and that whatever it names is exported.
func documented(t *testing.T, seen reach) {
	t.Helper()
	page, err := os.ReadFile("../../docs/ops/run.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "\n| Metric | Says |\n")
	table, _, ends := strings.Cut(table, "\n\n")
	if !found || !ends {
		t.Fatal("docs/ops/run.md has no table of metrics")
	}
	exported := map[string]bool{}
	for _, node := range seen {
		for series := range node {
			name, _, _ := strings.Cut(strings.TrimPrefix(series, "kalamdb_"), "{")
			exported[family(name)] = true
		}
	}
	named := map[string]bool{}
	names := regexp.MustCompile("`([a-z_]+)[^`]*`")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		for _, match := range names.FindAllStringSubmatch(cells[1], -1) {
			named[match[1]] = true
			if !exported[match[1]] {
				t.Errorf("docs/ops/run.md names %s, which no node exports", match[1])
			}
		}
	}
	for _, v := range visible {
		name, _, _ := strings.Cut(v.metric, "{")
		if !named[family(name)] {
			t.Errorf("%s: docs/ops/run.md does not name %s", v.thing, family(name))
		}
	}
}

// family is the name of a metric without what its form adds.
func family(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}
