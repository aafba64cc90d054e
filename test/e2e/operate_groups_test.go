package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// order runs a cluster command against a node and returns its exit code and the lines that people read, without the spaces that
// align them.
func (n *node) order(t *testing.T, args ...string) (code int, lines []string) {
	t.Helper()
	args = append(append([]string{"cluster"}, args...), "--url", n.url(), "--password", rootPassword)
	code, stdout, stderr := command(t, args...)
	for line := range strings.Lines(stdout) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	if stderr != "" {
		lines = append(lines, strings.TrimSpace(stderr))
	}
	return code, lines
}

// wantOrder checks all that a command prints that is to succeed.
func (n *node) wantOrder(t *testing.T, args string, lines ...string) {
	t.Helper()
	if got, printed := n.order(t, strings.Fields(args)...); got != exitDone || !slices.Equal(printed, lines) {
		t.Fatalf("cluster %s at %v: exit code %d and\n%s\nwant 0 and\n%s", args, n, got, strings.Join(printed, "\n"), strings.Join(lines, "\n"))
	}
}

// place is where a group is led, and in which term; cut is up to where its log is cut on each node.
type place struct {
	leader *node
	term   int64
	cut    [3]int64
}

// places asks every node for its own replicas.
func (c *cluster) places(t *testing.T, root *client) map[int64]place {
	t.Helper()
	found := map[int64]place{}
	for i, n := range c.nodes {
		rows := root.at(n).must(t, "SELECT group_id, state, current_term, purged FROM system.cluster_groups "+
			"WHERE node_id IN (SELECT node_id FROM system.cluster WHERE is_self) LIMIT 1000").rows()
		for _, row := range rows {
			group := integer(t, row[0])
			at := found[group]
			if term := integer(t, row[2]); row[1] == "leader" && term >= at.term {
				at.leader, at.term = n, term
			}
			at.cut[i] = integer(t, row[3])
			found[group] = at
		}
	}
	return found
}

// wantMoved checks that just these groups have other leaders than before, and these ones, and returns how it is now.
func (c *cluster) wantMoved(t *testing.T, root *client, before map[int64]place, moved map[int64]*node) map[int64]place {
	t.Helper()
	now := c.places(t, root)
	for group, was := range before {
		is := now[group]
		if to := moved[group]; to != nil && (is.leader != to || is.term <= was.term) {
			t.Errorf("group %d is led by %v in term %d, want %v in a term after %d", group, is.leader, is.term, to, was.term)
		} else if to == nil && (is.leader != was.leader || is.term != was.term) {
			t.Errorf("group %d, which was not named, went from %v in term %d to %v in term %d", group, was.leader, was.term, is.leader, is.term)
		}
	}
	return now
}

// TestOperatorMovesSomeGroups: each order about leaderships, of the command line, with --group: what it prints, what has happened, and
// that nothing happened to the other groups.
func TestOperatorMovesSomeGroups(t *testing.T) {
	c := startCluster(t, settings{"cluster.election_timeout_ms": []int{2000, 4000}}) // nobody stands for election of itself
	one, two, three := c.nodes[0], c.nodes[1], c.nodes[2]
	root := one.root(t)
	one.operate(t, exitDone, "transfer", "3")
	at := c.places(t, root)
	if len(at) != 34 || at[101].leader != three {
		t.Fatalf("%d groups, and 101 is led by %v", len(at), at[101].leader)
	}

	header := "ACTION GROUP_ID SUCCESS TARGET_NODE_ID"
	three.wantOrder(t, "transfer 1 --group 10,200 --group 105", header,
		"transfer_leader 10 true 1", "transfer_leader 200 true 1", "transfer_leader 105 true 1")
	at = c.wantMoved(t, root, at, map[int64]*node{10: one, 200: one, 105: one})
	two.wantOrder(t, "transfer 1 --group 10", header, "transfer_leader 10 true 1")
	at = c.wantMoved(t, root, at, nil) // a repeat finds it done

	// The node at --url stands for election; nobody else does, and in no other group.
	two.wantOrder(t, "election --group 110", header, "trigger_election 110 true 2")
	at = c.wantMoved(t, root, at, map[int64]*node{110: two})

	// A node hands over what it leads of those that are named: 105 is led by another one.
	code, printed := one.order(t, "stepdown", "3", "--group", "105,106")
	if code != exitDone || len(printed) != 2 || printed[0] != header || !strings.HasPrefix(printed[1], "stepdown 106 true ") {
		t.Fatalf("stepdown 3: exit code %d, %q", code, printed)
	}
	at = c.wantMoved(t, root, at, map[int64]*node{106: c.printed(t, printed[1])})
	// Without a node, whoever leads them does.
	code, printed = two.order(t, "stepdown", "--group", "10,107")
	if code != exitDone || len(printed) != 3 || strings.HasSuffix(printed[1], " 1") || strings.HasSuffix(printed[2], " 3") {
		t.Fatalf("stepdown of groups: exit code %d, %q", code, printed)
	}
	at = c.wantMoved(t, root, at, map[int64]*node{10: c.printed(t, printed[1]), 107: c.printed(t, printed[2])})

	// Node 3 leads all of these, of which it should lead one.
	code, planned := one.order(t, "rebalance", "--dry-run", "--group", "120,121,122")
	if code != exitDone || len(planned) != 3 {
		t.Fatalf("rebalance --dry-run: exit code %d, %q", code, planned)
	}
	at = c.wantMoved(t, root, at, nil)
	one.wantOrder(t, "rebalance --group 120,121,122", planned...)
	moved := map[int64]*node{}
	for _, line := range planned[1:] {
		group, _ := strconv.ParseInt(strings.Fields(line)[1], 10, 64)
		moved[group] = c.printed(t, line)
	}
	at = c.wantMoved(t, root, at, moved)
	one.wantOrder(t, "rebalance --group 120,121,122", "nothing to do")
	c.wantMoved(t, root, at, nil)

	// Refused as a whole: an unknown group moves nobody.
	code, printed = one.order(t, "transfer", "2", "--group", "120,99")
	if code != exitFailed || len(printed) != 1 || !strings.Contains(printed[0], "group 99 does not exist") {
		t.Errorf("an unknown group: exit code %d, %q", code, printed)
	}
	c.wantMoved(t, root, at, nil)
}

// printed is the node in the last column of a line.
func (c *cluster) printed(t *testing.T, line string) *node {
	t.Helper()
	words := strings.Fields(line)
	number, err := strconv.Atoi(words[len(words)-1])
	if err != nil || number < 1 || number > len(c.nodes) {
		t.Fatalf("%q ends with no number of a node", line)
	}
	return c.nodes[number-1]
}

// TestOperatorCutsSomeLogs: snapshot and purge with --group on every node, and the other logs stay.
func TestOperatorCutsSomeLogs(t *testing.T) {
	c := startCluster(t, settings{"cluster.election_timeout_ms": []int{2000, 4000}})
	one, two := c.nodes[0], c.nodes[1]
	root := one.root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	for i := range 20 {
		root.must(t, "INSERT INTO app.t (id) VALUES ($1)", i)
	}
	applied := int64(-1)
	eventually(t, "all nodes have applied the same", func() error {
		for i, n := range c.nodes {
			groups, err := root.at(n).groups(t)
			if err != nil {
				return err
			}
			if now := groups[sharedGroup].applied; i == 0 {
				applied = now
			} else if now != applied {
				return fmt.Errorf("%v has applied %d, the first %d", n, now, applied)
			}
		}
		return nil
	})
	before := c.places(t, root)
	code, printed := two.order(t, "snapshot", "--group", "200")
	want := []string{
		"ACTION GROUP_ID SUCCESS TARGET_NODE_ID SNAPSHOT_INDEX",
		fmt.Sprintf("snapshot 200 true 1 %d", applied), fmt.Sprintf("snapshot 200 true 2 %d", applied), fmt.Sprintf("snapshot 200 true 3 %d", applied),
	}
	slices.Sort(printed[1:]) // by node, not by when it came
	if code != exitDone || !slices.Equal(printed, want) {
		t.Fatalf("snapshot: exit code %d, %q, want %q", code, printed, want)
	}
	eventually(t, "every node has cut the log of the group", func() error {
		code, printed := two.order(t, "purge", "--upto", "15", "--group", "200")
		slices.Sort(printed[min(1, len(printed)):])
		want := []string{"ACTION GROUP_ID SUCCESS TARGET_NODE_ID UPTO", "purge 200 true 1 15", "purge 200 true 2 15", "purge 200 true 3 15"}
		if code != exitDone || !slices.Equal(printed, want) { // a leader waits for what it does not know its followers to have
			return fmt.Errorf("exit code %d, %q", code, printed)
		}
		return nil
	})
	after := c.places(t, root)
	for group, was := range before {
		want := was.cut
		if group == sharedGroup {
			want = [3]int64{15, 15, 15}
		}
		if after[group].cut != want {
			t.Errorf("the logs of group %d are cut up to %v, want %v", group, after[group].cut, want)
		}
	}
	one.operate(t, exitDone, "purge", "--upto", "1") // without a group all are named; what is cut stays cut
	if got := c.places(t, root)[sharedGroup].cut; got != [3]int64{15, 15, 15} {
		t.Errorf("a purge up to 1 leaves the logs cut up to %v", got)
	}
	if got := root.number(t, "SELECT count(*) FROM app.t"); got != 20 {
		t.Errorf("%d rows", got)
	}
}

// TestOperatorDrainsAndTakesVotes: drain without a number is about the node at --url, and status says so; remove-node and add-node
// with --group take and give votes, in these groups alone.
func TestOperatorDrainsAndTakesVotes(t *testing.T) {
	c := startCluster(t, nil)
	one, two, three := c.nodes[0], c.nodes[1], c.nodes[2]
	root := one.root(t)
	two.wantOrder(t, "drain", "ACTION SUCCESS TARGET_NODE_ID", "drain true 2")
	for group, at := range c.places(t, root) {
		if at.leader == two || at.leader == nil {
			t.Errorf("group %d is led by %v after node 2 was drained", group, at.leader)
		}
	}
	eventually(t, "the status shows the drained node", func() error {
		code, printed := one.order(t, "status")
		if code != exitDegraded || !slices.Contains(printed, "34 groups") || !slices.Contains(printed, "problem: node 2 is draining") ||
			printed[len(printed)-1] != "kalamdb: 1 problems" || !strings.HasPrefix(printed[0], "NODE_ID STATUS ROLE GROUPS_LEADING") {
			return fmt.Errorf("exit code %d, %q", code, printed)
		}
		return nil
	})
	two.wantOrder(t, "resume", "ACTION SUCCESS TARGET_NODE_ID", "resume true 2")
	eventually(t, "the status is good again", func() error {
		if code, printed := three.order(t, "status"); code != exitDone || !slices.Contains(printed, "34 groups") {
			return fmt.Errorf("exit code %d, %q", code, printed)
		}
		return nil
	})

	header := "ACTION GROUP_ID SUCCESS TARGET_NODE_ID"
	eventually(t, "all members have said that they know votes by group", func() error {
		code, printed := one.order(t, "remove-node", "3", "--group", "200,110")
		if code != exitDone || !slices.Equal(printed, []string{header, "leave 200 true 3", "leave 110 true 3"}) {
			return fmt.Errorf("exit code %d, %q", code, printed)
		}
		return nil
	})
	observed := func() map[int64]bool {
		groups, err := root.at(three).groups(t)
		if err != nil || len(groups) != 34 {
			t.Fatalf("%d groups, %v", len(groups), err)
		}
		found := map[int64]bool{}
		for id, g := range groups {
			if g.state == "observer" {
				found[id] = true
			}
		}
		return found
	}
	// What node 3 answers about itself may be a moment older than the order.
	wantObserved := func(when string, want map[int64]bool) {
		eventually(t, when, func() error {
			if got := observed(); !maps.Equal(got, want) {
				return fmt.Errorf("node 3 observes %v, want %v", got, want)
			}
			return nil
		})
	}
	wantObserved("node 3 observes both groups", map[int64]bool{200: true, 110: true})
	two.wantOrder(t, "add-node 3 "+three.rpcAddr+" --group 110", header, "join 110 true 3")
	wantObserved("the vote in 110 was given back", map[int64]bool{200: true})
	two.wantOrder(t, "add-node 3 "+three.rpcAddr, "ACTION SUCCESS TARGET_NODE_ID", "join true 3")
	wantObserved("node 3 votes everywhere", map[int64]bool{})
}
