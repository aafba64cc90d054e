package server

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
)

// TestDamageIsToldAndRepairedByNobody damages the tables of a follower whose group can only be fetched slowly, as a snapshot.
// The node finds it by itself. Until it is whole again it neither votes in the group nor leads it, and its log, its metrics
// and system.cluster_groups of the others say so; then it has everything back, and no operator did anything.
func TestDamageIsToldAndRepairedByNobody(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t, func(cfg *config.Config) { cfg.Raft.SnapshotBytesPerSec = 150_000 })
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE='SHARED')")
	const rows = 20
	for i := range rows {
		noise := make([]byte, 20<<10)
		_, _ = rand.Read(noise) // it never fails
		c.sql(fmt.Sprintf("INSERT INTO shop.t VALUES (%d, '%s')", i, hex.EncodeToString(noise)))
	}
	c.cluster("CLUSTER SNAPSHOT") // the tables are on the disks
	within(t, "the log is cut", func() bool {
		return !slices.ContainsFunc(c.cluster("CLUSTER PURGE --upto 15 ON GROUP 200"), func(o outcome) bool { return o.upto < 15 })
	})
	victim := nodes[1]
	closeNode(t, victim)
	damageFiles(t, filepath.Join(victim.cfg.Storage.DataPath, "store"), "*.sst", 3)

	again := reopen(t, victim.cfg)
	inMetrics, inRows := 0, 0
	again.watch = func() {
		voting := false
		statuses, err := nodes[0].engine().Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range statuses {
			voting = voting || s.Group == 200 && slices.Contains(s.Voters, again.who().Replica)
		}
		row := c.sql("SELECT state, current_leader FROM system.cluster_groups WHERE group_id = 200 AND node_id = 2")
		series := scrape(t, again.Node)
		if series[`kalamdb_group_damaged{group="data:shared:00"}`] != 1 {
			return // it was not admitted yet, or is whole by now
		}
		inMetrics++
		if strings.Contains(row, `"damaged"`) {
			inRows++
		}
		if voting || series[`kalamdb_group_leader{group="data:shared:00"}`] != 0 || strings.Contains(row, `"leader"`) {
			t.Errorf("the damaged replica votes (%v) or leads: %s", voting, row)
		}
	}
	again.waitRepaired(t)
	nodes[1] = again.Node
	waitReady(t, nodes...)
	if inMetrics == 0 || inRows == 0 {
		t.Errorf("the damage was seen %d times in the metrics and %d times in system.cluster_groups", inMetrics, inRows)
	}
	for _, want := range []string{"wrong bytes were found on disk", "damaged files were put aside", "the node is repaired"} {
		if !again.lines.has(want) {
			t.Errorf("nothing in the log says %q", want)
		}
	}
	if series := scrape(t, again.Node); series[`kalamdb_group_damaged{group="data:shared:00"}`] != 0 {
		t.Error("the metrics call the repaired replica damaged")
	}
	c.url = "http://" + again.APIAddr()
	if got := c.sql("SELECT count(*), min(length(body)) FROM shop.t"); !strings.Contains(got, fmt.Sprintf(`[["%d","40960"]]`, rows)) &&
		!strings.Contains(got, fmt.Sprintf(`[["%d",40960]]`, rows)) {
		t.Errorf("the repaired node answers %s", got)
	}
}
