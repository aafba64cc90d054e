package server

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
)

// TestModeAllNamesWhoIsBehind: of three nodes one goes on speaking and writes no log. A write in mode all is committed, and its client hears which
// node has not applied it, at the node that leads and at one that passes the write on to it.
func TestModeAllNamesWhoIsBehind(t *testing.T) {
	t.Parallel()
	slow := newTroubled()
	nodes := openClusterOn(t, [3]disk.FS{2: slow}, func(cfg *config.Config) {
		cfg.Raft.BalanceLeaders = false
		cfg.Cluster.SharedReplicationMode, cfg.Cluster.ReplicationTimeoutMilli = "all", 5000
	})
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	groups := len(nodes[0].who().Shards.Groups())
	within(t, "the first node leads everything, as all know", func() bool {
		c.cluster("CLUSTER TRANSFER LEADER 1")
		for _, n := range nodes {
			if n.engine().Leader(200) != nodes[0].self() {
				return false
			}
		}
		return nodes[0].engine().LeaderCount() == groups
	})
	other := login(t, nodes[1], "root", rootPassword)

	id := 0
	// write makes a row at each of two nodes while the third writes no log, and returns the answers.
	write := func() (answers [2]string) {
		still := make(chan struct{})
		slow.on("/log/", func() error { <-still; return nil }, faultfs.Write, faultfs.Sync)
		var writing sync.WaitGroup
		for i, at := range []client{c, other} {
			id++
			statement := fmt.Sprintf("INSERT INTO shop.t VALUES (%d)", id)
			writing.Go(func() {
				status, body := at.post("/v1/api/sql", map[string]any{"sql": statement})
				answers[i] = fmt.Sprintf("%d %s", status, body)
			})
		}
		writing.Wait()
		slow.fault.Store(nil)
		close(still)
		return answers
	}
	refused := func(answer string) bool {
		return strings.Contains(answer, "no answer from node 3; nothing was written")
	}
	answers := write()
	for refused(answers[0]) || refused(answers[1]) {
		// It counted as silent before it was asked: then there is nothing to be behind with.
		within(t, "node 3 is heard of", func() bool { return nodes[0].engine().Live(nodes[2].self()) })
		answers = write()
	}
	for i, answer := range answers {
		if !strings.HasPrefix(answer, "504 ") || !strings.Contains(answer, "committed, not yet applied on node 3") {
			t.Errorf("at node %d: %s", i+1, answer)
		}
	}
	want := fmt.Sprintf(`["%d"],["%d"]`, id-1, id)
	if got := c.sql("SELECT id FROM shop.t ORDER BY id"); !strings.Contains(got, want) {
		t.Errorf("what was committed: %s, want %s", got, want)
	}
}
