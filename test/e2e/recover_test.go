package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestSurvivorOfALostMajorityGoesOn kills two of three nodes under load and wipes them. The third one is
// recovered, serves what it has, and the two join it again with empty disks.
func TestSurvivorOfALostMajorityGoesOn(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	createLedger(t, root, 4)
	l := openLedger(t, c, root, 4)
	l.write(t)
	l.waitFor(t, 30)
	l.stop()
	survivor := c.nodes[2]
	rows := root.number(t, "SELECT COUNT(*) FROM app.ledger")
	if code, _, stderr := command(t, "recover", "--survivors", "3", "--yes", survivor.dataDir()); code != exitFailed || !strings.Contains(stderr, "another process uses it") {
		t.Errorf("recovery of a running node: exit code %d, %s", code, stderr)
	}
	for _, n := range c.nodes {
		n.kill(t)
	}
	// The old nodes come back with their data later; for now keep what they knew.
	stale := c.nodes[1]
	c.nodes[0].wipe(t)

	for _, refused := range []struct {
		code int
		want string
		args []string
	}{
		{exitUsage, "--survivors", []string{survivor.dataDir()}},
		{exitUsage, "add --yes", []string{"--survivors", "3", survivor.dataDir()}},
		{exitFailed, "not among the survivors", []string{"--survivors", "2", "--yes", survivor.dataDir()}},
		{exitFailed, "node 9 is not a member", []string{"--survivors", "3,9", "--yes", survivor.dataDir()}},
		{exitFailed, "no data directory", []string{"--survivors", "3", "--yes", c.nodes[0].dataDir()}},
	} {
		code, _, stderr := command(t, append([]string{"recover"}, refused.args...)...)
		if code != refused.code || !strings.Contains(stderr, refused.want) {
			t.Errorf("%v: exit code %d, want %d; %s, want %q", refused.args, code, refused.code, stderr, refused.want)
		}
	}
	code, stdout, stderr := command(t, "recover", "--survivors", "3", "--yes", survivor.dataDir())
	if code != exitDone || !strings.Contains(stdout, "WARNING") || !strings.Contains(stdout, "lost: [1 2]") {
		t.Fatalf("recover: exit code %d\n%s%s", code, stdout, stderr)
	}
	if code, stdout, _ := command(t, "recover", "--survivors", "3", "--yes", survivor.dataDir()); code != exitDone || !strings.Contains(stdout, "already") {
		t.Errorf("a repeat: exit code %d\n%s", code, stdout)
	}

	survivor.start(t)
	survivor.waitReady(t)
	// All rows were on a majority; the survivor may lack the last ones of each group and nothing else.
	if left := root.at(survivor).number(t, "SELECT COUNT(*) FROM app.ledger"); left < rows*9/10 {
		t.Errorf("the survivor has %d of %d rows", left, rows)
	}
	root.at(survivor).must(t, "INSERT INTO app.ledger (id, note) VALUES (-1, 'after')")

	stale.start(t)
	eventually(t, "the stale node is kept out", func() error {
		if log := stale.log(); !strings.Contains(log, "another cluster") && !strings.Contains(log, "refused") {
			return errors.New(log)
		}
		return nil
	})
	if members := fmt.Sprint(root.at(survivor).must(t, "SELECT node_id FROM system.cluster").rows()); members != "[[3]]" {
		t.Errorf("members with a stale node around: %s", members)
	}
	stale.kill(t)
	stale.wipe(t)
	c.start(t)
	eventually(t, "all members are active", func() error {
		members := root.at(survivor).must(t, "SELECT node_id, status FROM system.cluster ORDER BY node_id")
		if got := fmt.Sprint(members.rows()); got != "[[1 active] [2 active] [3 active]]" {
			return errors.New(got)
		}
		return nil
	})
	root.at(c.nodes[0]).must(t, "INSERT INTO app.ledger (id, note) VALUES (-2, 'after')")
	c.wantEqualDigests(t, root, "ledger", rows*9/10)
	survivor.kill(t) // the new majority carries on
	root.at(c.nodes[0]).soon(t, "UPDATE app.ledger SET note = 'later' WHERE id = -2")
}
