package server

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/shard"
)

// progress is what the metrics of one node said of a snapshot on its way, one scrape after the other.
type progress struct{ bytes, pairs, percent []float64 }

// note adds what a scrape says, if it says something.
func (p *progress) note(series map[string]float64, labels string) {
	for name, seen := range map[string]*[]float64{"bytes": &p.bytes, "pairs": &p.pairs, "percent": &p.percent} {
		if value, ok := series["kalamdb_snapshot_transfer_"+name+labels]; ok {
			*seen = append(*seen, value)
		}
	}
}

// want checks that all of it grew step by step.
func (p *progress) want(t *testing.T, who string) {
	t.Helper()
	for name, seen := range map[string][]float64{"bytes": p.bytes, "pairs": p.pairs, "percent": p.percent} {
		steps := slices.Compact(slices.Clone(seen))
		if !slices.IsSorted(seen) || len(steps) < 3 {
			t.Errorf("%s: snapshot_transfer_%s while the snapshot was on its way: %v, want at least three values that grow", who, name, steps)
		}
	}
	if n := len(p.percent); n > 0 && (p.percent[0] > 50 || p.percent[n-1] < 50 || p.percent[n-1] > 99) {
		t.Errorf("%s: percent done: %v", who, slices.Compact(slices.Clone(p.percent)))
	}
}

// fillBehind closes node 3, writes rows that do not compress well, and cuts the logs, so that node 3 needs a snapshot of the shared group.
func fillBehind(t *testing.T, nodes []*Node, c client, rows int) {
	t.Helper()
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE='SHARED')")
	closeNode(t, nodes[2])
	behind := nodes[0].log.Group(200).LastIndex()
	body := make([]byte, 32<<10)
	for i := range rows {
		if _, err := rand.Read(body); err != nil {
			t.Fatal(err)
		}
		c.sql(fmt.Sprintf("INSERT INTO shop.t VALUES (%d, '%s')", i, hex.EncodeToString(body)))
	}
	within(t, "the logs are cut beyond what node 3 has", func() bool {
		c.cluster("CLUSTER PURGE --upto 1000000 ON GROUP 200")
		return nodes[0].log.Group(200).FirstIndex() > behind+1 && nodes[1].log.Group(200).FirstIndex() > behind+1
	})
}

// TestSnapshotProgressShows: while a snapshot is on its way, slowly, its bytes, keys and about the part that is done show and grow in
// the metrics of both ends and in the views of any node; afterwards only the totals stay.
func TestSnapshotProgressShows(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, func(cfg *config.Config) { cfg.Raft.SnapshotBytesPerSec = 512 << 10 })
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	fillBehind(t, nodes, c, 80)
	wantAllTo(t, c.cluster("CLUSTER TRANSFER LEADER 1 ON GROUP 200"), 1, 1)
	for _, n := range nodes[:2] {
		for series := range scrape(t, n) {
			if strings.HasPrefix(series, "kalamdb_snapshot_transfer_") {
				t.Errorf("%s shows while nothing is on its way", series)
			}
		}
	}

	back := openNode(t, nodes[2].cfg, Options{APIListener: relisten(t, nodes[2].apiAddr), RPCListener: relisten(t, nodes[2].rpcAddr)})
	var sender, receiver progress
	shown := map[string]bool{} // what the views of node 2, which has no part in it, said of whom
	within(t, "node 3 has the snapshot", func() bool {
		sender.note(scrape(t, nodes[0]), `{direction="sent",group="data:shared:00",node="3"}`)
		receiver.note(scrape(t, back), `{direction="received",group="data:shared:00",node="1"}`)
		c.url = "http://" + nodes[1].APIAddr()
		for _, row := range c.rows("SELECT node_id FROM system.cluster_groups WHERE group_id = 200 AND snapshot_progress_pct > 0") {
			shown[fmt.Sprint(row[0])] = true
		}
		return back.engine() != nil && back.engine().Applied(shard.SharedShard(0)) >= nodes[1].engine().Applied(shard.SharedShard(0))
	})
	sender.want(t, "sender")
	receiver.want(t, "receiver")
	if len(shown) != 2 || !shown["1"] || !shown["3"] {
		t.Errorf("node 2 showed a snapshot on its way at the nodes %v, want 1 and 3", shown)
	}

	within(t, "nothing is on its way any more", func() bool {
		return scrape(t, nodes[0])[`kalamdb_snapshots_active{direction="sent"}`] == 0 && scrape(t, back)[`kalamdb_snapshots_active{direction="received"}`] == 0
	})
	for who, end := range map[*Node]struct {
		direction, node string
		seen            progress
	}{nodes[0]: {"sent", "3", sender}, back: {"received", "1", receiver}} {
		series := scrape(t, who)
		labels := fmt.Sprintf(`{direction=%q,group="data:shared:00",node=%q}`, end.direction, end.node)
		if bytes, there := series["kalamdb_snapshot_transfer_bytes"+labels]; there {
			t.Errorf("a snapshot that is there shows %v bytes %s", bytes, end.direction)
		}
		total := series[fmt.Sprintf(`kalamdb_group_snapshot_bytes_total{direction=%q,group="data:shared:00"}`, end.direction)]
		if n := len(end.seen.bytes); n == 0 || total < end.seen.bytes[n-1] || total < 80*(32<<10) {
			t.Errorf("%v bytes of snapshots were %s", total, end.direction)
		}
		if all := series[fmt.Sprintf(`kalamdb_snapshot_bytes_total{direction=%q}`, end.direction)]; all < total {
			t.Errorf("of all groups %v bytes were %s, of one %v", all, end.direction, total)
		}
	}
	c.url = "http://" + back.APIAddr()
	if got := fmt.Sprint(c.rows("SELECT count(*), sum(CHAR_LENGTH(body)) FROM shop.t")); got != fmt.Sprintf("[[80 %d]]", 80*(64<<10)) {
		t.Errorf("node 3 has %s", got)
	}
}
