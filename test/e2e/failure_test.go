package e2e

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKilledLeaderLosesNoAcknowledgedRow kills the leader of the busiest group while clients write, three
// times, and reads every acknowledged row back on all nodes.
func TestKilledLeaderLosesNoAcknowledgedRow(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	createLedger(t, root, 6)
	l := openLedger(t, c, root, 6)
	for range 3 {
		l.write(t)
		l.waitFor(t, 50)
		victim := c.leaderOf(t, root, c.busiestGroup(t, root), c.nodes)
		victim.kill(t)
		killed := time.Now()
		l.waitFor(t, 50)
		t.Logf("every writer was served 50 times within %v after %v was killed", time.Since(killed).Round(time.Millisecond), victim)
		l.stop()
		l.wantAll(t, c.others(victim))

		victim.start(t)
		victim.waitReady(t)
		l.wantAll(t, c.nodes)
	}
	c.wantSameRows(t, l, root)
}

// wantSameRows compares the digests of both tables of a ledger that is stopped.
func (c *cluster) wantSameRows(t *testing.T, l *ledger, root *client) {
	t.Helper()
	rows := map[string]int64{}
	for _, w := range l.writers {
		rows[w.table] += int64(len(w.rows(t, c.nodes[0])))
	}
	c.wantEqualDigests(t, root, "ledger", rows["app.ledger"])
	c.wantEqualDigests(t, root, "diary", rows["app.diary"])
}

// TestRestartedNodeCatchesUp stops a node politely while clients write, and starts it again later.
func TestRestartedNodeCatchesUp(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	createLedger(t, root, 4)
	l := openLedger(t, c, root, 4)
	l.write(t)
	l.waitFor(t, 20)
	for _, n := range c.nodes {
		n.stop(t)
		l.waitFor(t, 20)
		n.start(t)
		n.waitReady(t)
	}
	l.waitFor(t, 20)
	l.stop()
	l.wantAll(t, c.nodes)
	c.wantSameRows(t, l, root)
}

// TestAllNodesKilledAtOnce cuts the power of the whole cluster under load.
func TestAllNodesKilledAtOnce(t *testing.T) { killAllAtOnce(t, startCluster(t, nil)) }

// TestNodesOverPairsAreKilled does the same to nodes whose logs are kept in pairs. Then one is told to keep it in segments: it refuses, as long
// as its directory is not empty, and fetches everything from the others when it is.
func TestNodesOverPairsAreKilled(t *testing.T) {
	c := startCluster(t, settings{"raft.log_store": "pebble", "cluster.user_shards": 2})
	killAllAtOnce(t, c)
	n := c.nodes[2]
	n.kill(t)
	if code, stdout, stderr := command(t, "check", n.dataDir()); code != exitDone || !strings.Contains(stdout, "files of pebble") {
		t.Errorf("check of a killed node: exit code %d\n%s%s", code, stdout, stderr)
	}
	n.settings = n.settings.with(settings{"raft.log_store": "segments"})
	n.start(t)
	n.waitEnd(t)
	if code := n.process.ProcessState.ExitCode(); code <= 0 || !strings.Contains(n.log(), "is kept in pebble") {
		t.Errorf("a node with another log: exit code %d\n%s", code, n.log())
	}
	n.wipe(t)
	c.start(t)
	root := c.nodes[0].root(t)
	c.wantEqualDigests(t, root, "ledger", root.number(t, "SELECT COUNT(*) FROM app.ledger"))
}

func killAllAtOnce(t *testing.T, c *cluster) {
	t.Helper()
	root := c.nodes[0].root(t)
	createLedger(t, root, 6)
	l := openLedger(t, c, root, 6)
	for range 2 {
		l.write(t)
		l.waitFor(t, 50)
		for _, n := range c.nodes {
			n.signal(t, syscall.SIGKILL)
		}
		l.stop()
		for _, n := range c.nodes {
			<-n.ended
		}
		c.start(t)
		l.wantAll(t, c.nodes)
	}
	c.wantSameRows(t, l, root)
}

// TestPausedLeaderServesNothingStale freezes the leader of a group, changes a row elsewhere, and asks the
// frozen node for the row before it wakes: its first answer must be the new value or an error.
func TestPausedLeaderServesNothingStale(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.counter (id INT PRIMARY KEY, n BIGINT) WITH (TYPE = 'SHARED')")
	root.must(t, "INSERT INTO app.counter (id, n) VALUES (1, 0)")
	const read = "SELECT n FROM app.counter WHERE id = 1"
	for round := int64(1); round <= 3; round++ {
		paused := c.leaderOf(t, root, sharedGroup, c.nodes)
		others := c.others(paused)
		// A read that the leader has served warms whatever it may remember of its leadership.
		if n := root.at(paused).number(t, read); n != round-1 {
			t.Fatalf("%v reads %d before the pause, want %d", paused, n, round-1)
		}
		paused.signal(t, syscall.SIGSTOP)
		root.at(others[0]).soon(t, "UPDATE app.counter SET n = $1 WHERE id = 1", round)
		for _, n := range others {
			if got := root.at(n).soon(t, read); fmt.Sprint(got.rows()) != fmt.Sprintf("[[%d]]", round) {
				t.Errorf("%v reads %v while the old leader is paused, want %d", n, got.rows(), round)
			}
		}
		// The kernel accepts the connections; the node reads them as soon as it wakes.
		const reads = 8
		answers := make(chan string, reads)
		for range reads {
			go func() {
				got, err := root.at(paused).sql(context.WithoutCancel(t.Context()), read)
				switch {
				case err != nil:
					answers <- "error: " + err.Error()
				case !got.ok():
					answers <- "error: " + got.String()
				default:
					answers <- fmt.Sprint(got.rows())
				}
			}()
		}
		paused.signal(t, syscall.SIGCONT)
		for range reads {
			if got := <-answers; got != fmt.Sprintf("[[%d]]", round) && got[:6] != "error:" {
				t.Errorf("%v answered %s when it woke, want [[%d]] or an error", paused, got, round)
			}
		}
		paused.waitReady(t)
		if got := root.at(paused).soon(t, read); fmt.Sprint(got.rows()) != fmt.Sprintf("[[%d]]", round) {
			t.Errorf("%v reads %v after the pause, want %d", paused, got.rows(), round)
		}
	}
	c.wantEqualDigests(t, root, "counter", 1)
}

// TestOneOfThreeRefusesAndRecovers takes the majority away: the last node must say so clearly, must not
// acknowledge a write, must not serve a read as current, and must go on when a peer returns.
func TestOneOfThreeRefusesAndRecovers(t *testing.T) {
	c := startCluster(t, settings{"cluster.replication_timeout_ms": 1500})
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.notes (id INT PRIMARY KEY) WITH (TYPE = 'SHARED')")
	root.must(t, "INSERT INTO app.notes (id) VALUES (1)")
	c.nodes[1].kill(t)
	c.nodes[2].kill(t)
	for _, statement := range []string{"INSERT INTO app.notes (id) VALUES (2)", "SELECT COUNT(*) FROM app.notes"} {
		eventually(t, "the last node refuses "+statement, func() error {
			got, err := root.sql(t.Context(), statement)
			if err != nil {
				return err
			}
			if got.ok() || got.HTTP < 500 || got.Error == nil || got.Error.Code == "INTERNAL_ERROR" {
				return fmt.Errorf("%s: %v", statement, got)
			}
			return nil
		})
	}
	// What an operator needs now must not wait for the quorum that is missing.
	if seen := root.must(t, "SELECT node_id, status FROM system.cluster").rows(); len(seen) != 3 {
		t.Errorf("the last node sees the cluster as %v", seen)
	}
	for state, want := range map[string]int{"<>": 34, "=": 68} {
		rows := root.must(t, "SELECT group_id FROM system.cluster_groups WHERE state "+state+" 'offline' LIMIT 200").rows()
		if len(rows) != want {
			t.Errorf("the last node shows %d replicas whose state %s 'offline', want %d", len(rows), state, want)
		}
	}
	eventually(t, "the last node is not ready", func() error {
		if err := c.nodes[0].ready(); err == nil {
			return fmt.Errorf("%v is ready", c.nodes[0])
		}
		return nil
	})
	c.nodes[1].start(t)
	c.nodes[1].waitReady(t)
	root.soon(t, "DELETE FROM app.notes WHERE id = 2") // its INSERT may have been replicated by now
	root.must(t, "INSERT INTO app.notes (id) VALUES (3)")
	if count := root.at(c.nodes[1]).number(t, "SELECT COUNT(*) FROM app.notes"); count != 2 {
		t.Errorf("%d rows, want 2", count)
	}
}
