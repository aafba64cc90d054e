package server

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/applier"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/jobs"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// aheadClock is the machine's clock, set wrong.
type aheadClock struct {
	clock.Real
	by time.Duration
}

func (c aheadClock) Now() time.Time { return c.Real.Now().Add(c.by) }

// TestClockThatRunsAheadForgetsNothing lets the clock of one of three nodes run ten days ahead: it marks no time and removes no deletion, in the row store and
// in segments. The others do what is due.
func TestClockThatRunsAheadForgetsNothing(t *testing.T) {
	t.Parallel()
	cfg, opts := newcomer(t, 1, &Node{cfg: config.Default()})
	cfg.Cluster.ClusterID = "test"
	cfg.Cluster.UserShards = 1
	first := openNode(t, cfg, opts)
	waitReady(t, first)
	nodes := []*Node{first}
	for i := uint64(2); i <= 3; i++ {
		cfg, opts := newcomer(t, i, first)
		cfg.Cluster.UserShards = 1
		cfg.Cluster.Join = config.Join{Wanted: true, Addresses: []string{first.RPCAddr()}}
		if i == 3 {
			opts.clock = aheadClock{by: 10 * 24 * time.Hour}
		}
		n := openNode(t, cfg, opts)
		waitReady(t, n)
		nodes = append(nodes, n)
	}
	within(t, "the clocks of the first two agree, the third knows that its own is wrong", func() bool {
		third := nodes[2].clocksAgree() // until it has heard of the others it does not know
		return first.clocksAgree() == nil && nodes[1].clocksAgree() == nil && third != nil && !errors.Is(third, jobs.ErrNothingToDo)
	})
	root := login(t, first, "root", rootPassword)
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE TABLE app.t (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE = 'SHARED')")
	root.sql("INSERT INTO app.t VALUES (1, 'a'), (2, 'b')")
	root.sql("DELETE FROM app.t WHERE id = 1")
	retain := func(n *Node) error {
		return jobs.Retention(n.catalog, n.store, n.exec, n.cold, n.clock, n.clocksAgree).Run(t.Context(), &jobs.Work{Job: &commandv1.Job{}})
	}
	for range 2 { // the first run of a clock that is wrong would mark, the second remove
		if err := retain(nodes[2]); err == nil || errors.Is(err, jobs.ErrNothingToDo) || !strings.Contains(err.Error(), "the clock of node 3 agrees with those of 1 of 3 members") {
			t.Errorf("retention at the node whose clock is wrong: %v", err)
		}
	}
	marks, err := applier.LoadMarks(first.store, shard.SharedShard(0))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range marks {
		if time.UnixMicro(m.Micros).After(time.Now().Add(time.Hour)) {
			t.Errorf("the time is marked as %v", time.UnixMicro(m.Micros))
		}
	}
	if err := retain(first); err != nil && !errors.Is(err, jobs.ErrNothingToDo) {
		t.Errorf("retention at a node whose clock is right: %v", err)
	}
	if _, err := first.flusher().Table(t.Context(), mustTable(t, first, "app", "t"), nil); err != nil {
		t.Fatal(err)
	}
	// It writes and flushes as any other node, also where another one leads.
	root.cluster("CLUSTER TRANSFER LEADER 1")
	root.sql("CREATE TABLE app.u (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE = 'SHARED')")
	third := login(t, nodes[2], "root", rootPassword)
	third.sql("INSERT INTO app.u VALUES (1, 'a')")
	if moved, err := nodes[2].flusher().Table(t.Context(), mustTable(t, nodes[2], "app", "u"), nil); err != nil || moved.Rows != 1 {
		t.Errorf("a flush by the node whose clock is wrong moves %d rows: %v", moved.Rows, err)
	}
	if _, err := nodes[2].flusher().Compact(t.Context(), mustTable(t, nodes[2], "app", "t"), false, nil); err != nil {
		t.Error(err)
	}
	if got := root.grid("SELECT id FROM app.t WHERE _deleted = true"); got != "1" {
		t.Errorf("remembered deletions: %q", got)
	}
}
