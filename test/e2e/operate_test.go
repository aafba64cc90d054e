package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// Exit codes of the cluster commands.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitDegraded = 3
)

// command runs the program and returns its exit code and output.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	process := exec.CommandContext(t.Context(), serverBinary, args...)
	var out, err bytes.Buffer
	process.Stdout, process.Stderr = &out, &err
	if failure := process.Run(); failure != nil {
		if _, ended := errors.AsType[*exec.ExitError](failure); !ended {
			t.Fatalf("%v: %v", args, failure)
		}
	}
	return process.ProcessState.ExitCode(), out.String(), err.String()
}

// operate runs a cluster command against a node, with --json, and returns what it printed.
func (n *node) operate(t *testing.T, want int, args ...string) map[string]any {
	t.Helper()
	args = append([]string{"cluster"}, args...)
	args = append(args, "--url", n.url(), "--password", rootPassword, "--json")
	code, stdout, stderr := command(t, args...)
	if code != want {
		t.Fatalf("%v at %v: exit code %d, want %d\n%s%s", args, n, code, want, stdout, stderr)
	}
	var printed map[string]any
	if stdout != "" {
		if err := json.Unmarshal([]byte(stdout), &printed); err != nil {
			t.Fatalf("%v printed %q: %v", args, stdout, err)
		}
	}
	return printed
}

// TestOperatorGrowsMovesAndShrinks does what an operator does with the command line alone, and wants the rows
// to be there after every step.
func TestOperatorGrowsMovesAndShrinks(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	createLedger(t, root, 4)
	l := openLedger(t, c, root, 4)
	l.write(t)
	l.waitFor(t, 20)

	c.nodes[1].operate(t, exitDone, "init", "--timeout", "20s")
	c.nodes[0].operate(t, exitDone, "transfer", "3")
	if leader := c.leaderOf(t, root, metaGroup, c.nodes); leader != c.nodes[2] {
		t.Errorf("meta is led by %v", leader)
	}
	if planned, _ := c.nodes[0].operate(t, exitDone, "rebalance", "--dry-run")["outcomes"].([]any); len(planned) < 10 {
		t.Errorf("a dry run with all leaders on one node plans %d moves", len(planned))
	}
	c.nodes[1].operate(t, exitDone, "rebalance")
	c.nodes[1].operate(t, exitDone, "snapshot")
	c.nodes[0].operate(t, exitDone, "drain", "2")
	c.nodes[0].operate(t, exitDone, "resume", "2")
	l.waitFor(t, 20)

	fourth := newNode(t, c.nodes[0].dir, 4)
	fourth.settings = fourth.settings.with(fourth.clusterSettings(nil)).with(settings{"cluster.join": true})
	fourth.start(t)
	c.nodes[0].operate(t, exitDone, "add-node", "4", fourth.rpcAddr)
	fourth.waitReady(t)
	l.waitFor(t, 20)
	c.nodes[2].operate(t, exitDone, "remove-node", "1")
	first := c.nodes[0]
	first.waitEnd(t)
	if code := first.process.ProcessState.ExitCode(); code != 1 || !strings.Contains(first.log(), "removed from the cluster") {
		t.Errorf("a removed node ends with code %d and says:\n%s", code, first.log())
	}
	l.waitFor(t, 20)
	l.stop()
	c.nodes[2].operate(t, exitDone, "remove-node", "1")
	rest := &cluster{nodes: []*node{c.nodes[1], c.nodes[2], fourth}}
	l.wantAll(t, rest.nodes)
	rest.wantSameRows(t, l, root)
	members := root.at(fourth).must(t, "SELECT node_id FROM system.cluster ORDER BY node_id")
	if got := fmt.Sprint(members.rows()); got != "[[2] [3] [4]]" {
		t.Errorf("members: %s", got)
	}
}

// TestOperatorSeesTrouble wants exit codes a script can rely on.
func TestOperatorSeesTrouble(t *testing.T) {
	c := startCluster(t, nil)
	c.nodes[0].operate(t, exitDone, "init")
	c.nodes[2].kill(t)
	eventually(t, "the status shows the dead node", func() error {
		code, stdout, _ := command(t, "cluster", "status", "--url", c.nodes[0].url(), "--password", rootPassword)
		if code != exitDegraded || !strings.Contains(stdout, "problem: node 3 is offline") {
			return fmt.Errorf("exit code %d: %s", code, stdout)
		}
		return nil
	})
	if code, _, stderr := command(t, "cluster", "init", "--timeout", "1s", "--url", c.nodes[0].url(), "--password", rootPassword); code != exitDegraded ||
		!strings.Contains(stderr, "node 3 is offline") {
		t.Errorf("waiting for a cluster with a dead node: exit code %d, %s", code, stderr)
	}
	c.nodes[0].operate(t, exitFailed, "remove-node", "2")
	c.nodes[0].operate(t, exitDegraded, "snapshot") // the dead node did not take part
	c.nodes[0].operate(t, exitUsage, "transfer", "nobody")
	c.nodes[0].operate(t, exitUsage, "purge")
	c.nodes[2].operate(t, exitFailed, "status")
	if code, _, stderr := command(t, "cluster", "status", "--url", c.nodes[0].url(), "--password", "wrong"); code != exitFailed {
		t.Errorf("a wrong password: exit code %d: %s", code, stderr)
	}
	c.nodes[1].operate(t, exitDone, "remove-node", "3")
	c.nodes[0].operate(t, exitDone, "init")
}
