package server

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// scrape reads the metrics of a node by series.
func scrape(t *testing.T, n *Node) map[string]float64 {
	t.Helper()
	response, err := http.Get("http://" + n.APIAddr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end or the test has failed
	series := map[string]float64{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		line := lines.Text()
		space := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || space < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		series[line[:space]] = value
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return series
}

const sharedGroup = `{group="data:shared:00"}`

// TestMetricsMove: each number that operators are told to watch changes when what it counts happens.
func TestMetricsMove(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, func(cfg *config.Config) { cfg.Raft.MaxWaitingBytes = 64 << 10 })
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	c.cluster("CLUSTER TRANSFER LEADER 1 ON GROUP 200")
	before, other := scrape(t, nodes[0]), scrape(t, nodes[1])
	for i := range 50 {
		c.sql(fmt.Sprintf("INSERT INTO shop.t VALUES (%d)", i))
	}
	c.url = "http://" + nodes[1].APIAddr()
	c.sql("INSERT INTO shop.t VALUES (50)")
	after := scrape(t, nodes[0])
	grown := func(was, is map[string]float64, series string, least float64) {
		t.Helper()
		first, ok := was[series]
		last, still := is[series]
		if !ok || !still || last-first < least {
			t.Errorf("%s went from %v (%v) to %v (%v), want %v more", series, first, ok, last, still, least)
		}
	}
	for _, name := range []string{"applied_index", "committed_index", "last_index"} {
		grown(before, after, "kalamdb_group_"+name+sharedGroup, 51)
	}
	grown(before, after, "kalamdb_group_log_bytes"+sharedGroup, 51)
	grown(before, after, `kalamdb_propose_seconds_count{class="shared_data"}`, 51)
	grown(before, after, "kalamdb_group_propose_seconds_count"+sharedGroup, 51)
	grown(before, after, "kalamdb_group_propose_seconds_sum"+sharedGroup, 51*1e-6)
	if other := scrape(t, nodes[1])["kalamdb_group_propose_seconds_count"+sharedGroup]; other != 0 {
		t.Errorf("a follower counts %v proposals", other)
	}
	if latest := after["kalamdb_group_propose_latest_seconds"+sharedGroup]; latest <= 0 || latest > 10 {
		t.Errorf("the latest proposals took %v s", latest)
	}
	grown(before, after, `kalamdb_propose_attempts_total{outcome="done"}`, 50)
	refusalsMove(t, nodes[0], nodes[1])
	for _, name := range []string{"log_append_seconds_count", "log_batch_groups_count", "apply_batch_entries_count", "log_syncs_total"} {
		grown(before, after, "kalamdb_"+name, 10)
	}
	grown(other, scrape(t, nodes[1]), `kalamdb_propose_attempts_total{outcome="done"}`, 1)
	for series, want := range map[string]float64{
		"kalamdb_group_leader" + sharedGroup: 1, "kalamdb_group_has_leader" + sharedGroup: 1,
		"kalamdb_group_waiting_proposals" + sharedGroup: 0, "kalamdb_group_waiting_bytes" + sharedGroup: 0,
		`kalamdb_proposals_refused_total{reason="follower_lag"}`: 0, `kalamdb_proposals_refused_total{reason="waiting"}`: 0,
		`kalamdb_snapshots_active{direction="sent"}`: 0,
	} {
		if got, ok := after[series]; !ok || got != want {
			t.Errorf("%s = %v (%v), want %v", series, got, ok, want)
		}
	}
	for _, series := range []string{
		"kalamdb_group_term" + sharedGroup, "kalamdb_group_elections_total" + sharedGroup,
		"kalamdb_group_quorum_ack_seconds" + sharedGroup, "kalamdb_group_lag_seconds" + sharedGroup,
		"kalamdb_group_lag_bytes" + sharedGroup, `kalamdb_group_follower_lag_entries{group="data:shared:00",node="2"}`,
		"kalamdb_worker_inbox_items", "kalamdb_worker_dropped_messages_total", "kalamdb_propose_hints_total",
		`kalamdb_read_barriers_total{level="linearizable"}`, "kalamdb_read_barriers_spared_total", "kalamdb_lease_reads_total",
		`kalamdb_propose_attempts_total{outcome="not_leader"}`, `kalamdb_propose_attempts_total{outcome="disk_full"}`,
		`kalamdb_group_snapshot_bytes_total{direction="received",group="data:shared:00"}`,
		`kalamdb_snapshot_bytes_total{direction="received"}`, "kalamdb_log_truncated_entries_total", "kalamdb_cpu_percent",
		"kalamdb_disk_tight", "kalamdb_store_hangs", "kalamdb_refused_messages_total", "kalamdb_snapshot_failures_total",
		`kalamdb_transport_queue_bytes{lane="bulk"}`,
	} {
		if _, ok := after[series]; !ok {
			t.Errorf("%s is missing", series)
		}
	}
	elections := scrape(t, nodes[2])["kalamdb_group_elections_total"+sharedGroup]
	c.cluster("CLUSTER TRANSFER LEADER 3 ON GROUP 200")
	if got := scrape(t, nodes[2])["kalamdb_group_elections_total"+sharedGroup]; got != elections+1 {
		t.Errorf("node 3 counts %v elections after it was given a group, %v before", got, elections)
	}
	lagUnderAFollowerThatIsAway(t, nodes, c)
	if len(after) > 4000 {
		t.Errorf("%d series on a node with %d groups", len(after), len(nodes[0].who().Shards.Groups()))
	}
}

// refusalsMove makes the engine refuse proposals for each reason that can be brought about at once.
func refusalsMove(t *testing.T, leader, follower *Node) {
	t.Helper()
	for reason, c := range map[string]struct {
		n       *Node
		bytes   int
		refused func(error) bool
	}{
		"not_leader": {follower, 10, func(err error) bool {
			_, refused := errors.AsType[*multiraft.NotLeaderError](err)
			return refused
		}},
		"too_large": {leader, 5 << 20, func(err error) bool { return errors.Is(err, multiraft.ErrTooLarge) }},
		"waiting":   {leader, 100 << 10, func(err error) bool { return errors.Is(err, multiraft.ErrOverloaded) }},
	} {
		series := fmt.Sprintf("kalamdb_proposals_refused_total{reason=%q}", reason)
		before := scrape(t, c.n)[series]
		_, _, err := c.n.engine().Propose(t.Context(), shard.SharedShard(0), ident.RequestID{1}, make([]byte, c.bytes))
		if !c.refused(err) {
			t.Errorf("%s: %v", reason, err)
		}
		if after := scrape(t, c.n)[series]; after < before+1 {
			t.Errorf("%s went from %v to %v", series, before, after)
		}
	}
}

// lagUnderAFollowerThatIsAway closes node 2: the leader sees it fall behind, and every node shows what the leader sees.
func lagUnderAFollowerThatIsAway(t *testing.T, nodes []*Node, c client) {
	t.Helper()
	closeNode(t, nodes[1])
	c.url = "http://" + nodes[2].APIAddr()
	for i := range 20 {
		c.sql(fmt.Sprintf("INSERT INTO shop.t VALUES (%d)", 100+i))
	}
	if got := scrape(t, nodes[2])[`kalamdb_group_follower_lag_entries{group="data:shared:00",node="2"}`]; got < 20 {
		t.Errorf("the leader says that a node which is away lags %v entries behind, want 20", got)
	}
	c.url = "http://" + nodes[0].APIAddr()
	within(t, "another node shows how far the one that is away is behind", func() bool {
		return fmt.Sprint(c.rows("SELECT lag_entries >= 20, lag_ms IS NULL FROM system.cluster_groups "+
			"WHERE group_id = 200 AND node_id = 2 AND state = 'offline'")) == "[[true true]]"
	})
	rows := c.rows("SELECT node_id, propose_ms > 0, lag_entries IS NOT NULL, lag_bytes IS NOT NULL, lag_ms IS NOT NULL, " +
		"snapshot_bytes_sent IS NOT NULL, snapshot_bytes_received IS NOT NULL, snapshot_progress_pct IS NULL FROM system.cluster_groups " +
		"WHERE group_id = 200 AND state = 'leader'")
	if fmt.Sprint(rows) != "[[3 true true true true true true true]]" {
		t.Errorf("what node 1 shows of the group at its leader: %v", rows)
	}
}

// TestViewsAreTrueEverywhere: every node shows every replica of every node, and a dead one within two election
// timeouts.
func TestViewsAreTrueEverywhere(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, func(cfg *config.Config) { cfg.Cluster.ElectionTimeoutMillis = []int64{500, 1000} })
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	groups := len(nodes[0].who().Shards.Groups())
	within(t, "every node shows all replicas and one leader for each group", func() bool {
		for _, n := range nodes {
			c.url = "http://" + n.APIAddr()
			rows := c.rows("SELECT count(*), count(DISTINCT node_id), sum(CASE WHEN state = 'leader' THEN 1 ELSE 0 END), " +
				"count(current_leader), count(millis_since_quorum_ack) FROM system.cluster_groups")
			want := fmt.Sprintf("[%d 3 %d %d %d]", 3*groups, groups, 3*groups, groups)
			if fmt.Sprint(rows[0]) != want {
				return false
			}
		}
		return true
	})
	rows := c.rows("SELECT count(*) FROM system.cluster WHERE status = 'active' AND os IS NOT NULL AND arch IS NOT NULL " +
		"AND hostname IS NOT NULL AND cpu_usage_percent IS NOT NULL AND memory_usage_mb > 0 AND replication_lag IS NOT NULL")
	if fmt.Sprint(rows[0]) != "[3]" {
		t.Errorf("members of whom everything is known: %v", rows)
	}
	c.url = "http://" + nodes[0].APIAddr()
	closeNode(t, nodes[2])
	dead := nodes[0].clock.Now()
	shown := dead // when it was last asked for and shown alive: how long the answer takes is not of interest
	within(t, "node 3 is shown offline", func() bool {
		asked := nodes[0].clock.Now()
		if fmt.Sprint(c.rows("SELECT status FROM system.cluster WHERE node_id = 3")) == "[[offline]]" {
			return true
		}
		shown = asked
		return false
	})
	_, longest := nodes[0].cfg.Cluster.ElectionTimeout()
	if took := shown.Sub(dead); took >= 2*longest {
		t.Errorf("a dead node is shown alive for %v, want less than %v", took, 2*longest)
	}
	if got := c.rows("SELECT count(*) FROM system.cluster_groups WHERE node_id = 3 AND state = 'offline'"); fmt.Sprint(got[0]) != fmt.Sprintf("[%d]", groups) {
		t.Errorf("replicas of the dead node that are shown offline: %v", got)
	}
}
