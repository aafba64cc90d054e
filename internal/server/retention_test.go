package server

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// TestCursorTooOldEverywhere: how much of the changes is kept is one setting of a group, replicated like its rows. A cursor
// that is older is refused by every node, one that is not is resumed by every node; also by a node that started again,
// and by one that got the group as a snapshot.
func TestCursorTooOldEverywhere(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := loginSoon(t, nodes[0])
	c.sql("CREATE NAMESPACE chat")
	c.sql("CREATE TABLE chat.log (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE='SHARED')")
	outcomes := c.cluster("CLUSTER RETAIN CHANGES ENTRIES 32 SECONDS 7200")
	if want := len(nodes[0].who().Shards.Groups()) - 1; len(outcomes) != want {
		t.Fatalf("%d outcomes, want one for each data group, %d", len(outcomes), want)
	}
	for _, o := range outcomes {
		if !o.success || o.action != "retain_changes" {
			t.Fatalf("%+v", o)
		}
	}
	c.cluster("CLUSTER RETAIN CHANGES BYTES 1000000 ON GROUP 200")

	old := watch(t, nodes[0], c)
	old.subscribe("old", "SELECT * FROM chat.log", `{}`)
	old.expect("initial_data_batch ready")
	c.sql("INSERT INTO chat.log VALUES (1000, 'first')")
	tooOld := seqOf(t, old.expect("insert 1000")[0].Rows[0])
	for i := range 60 {
		c.sql(fmt.Sprintf("INSERT INTO chat.log VALUES (%d, 'row')", i))
	}
	var recent uint64
	for i := range 60 {
		f := old.expect(fmt.Sprintf("insert %d", i))[0]
		if i == 56 {
			recent = seqOf(t, f.Rows[0])
		}
	}
	c.sql("DELETE FROM chat.log WHERE id = 7")

	const setting = "SELECT retain_entries, retain_bytes, retain_seconds FROM system.change_logs WHERE group_id = "
	check := func(what string, n *Node) {
		t.Helper()
		c.url = "http://" + n.APIAddr()
		if got := fmt.Sprint(c.rows(setting+"200"), c.rows(setting+"107")); got != "[[32 1000000 7200]] [[32 33554432 7200]]" {
			t.Errorf("%s: the setting is %s", what, got)
		}
		s := watch(t, n, c)
		refused := s.subscribe("old", "SELECT * FROM chat.log", fmt.Sprintf(`{"from":%d}`, tooOld))
		if refused.Code != "CURSOR_TOO_OLD" {
			t.Errorf("%s: an old cursor: %+v", what, refused)
		}
		s.subscribe("recent", "SELECT * FROM chat.log", fmt.Sprintf(`{"from":%d}`, recent))
		s.expect("initial_data_batch 57 58 59 ready", "delete 7")
		if got := c.rows("SELECT entries <= 32 AND entries >= 30 AND oldest_cursor > " + strconv.FormatUint(tooOld, 10) +
			" FROM system.change_logs WHERE group_id = 200"); fmt.Sprint(got) != "[[true]]" {
			t.Errorf("%s: what is kept: %v", what, c.rows("SELECT * FROM system.change_logs WHERE group_id = 200"))
		}
	}
	for i, n := range nodes {
		check(fmt.Sprintf("node %d", i+1), n)
	}

	again := func(i int, wipe bool) {
		t.Helper()
		closeNode(t, nodes[i])
		if wipe {
			if err := os.RemoveAll(nodes[i].cfg.Storage.DataPath); err != nil {
				t.Fatal(err)
			}
		}
		nodes[i] = reopen(t, nodes[i].cfg).Node
		waitReady(t, nodes...)
	}
	again(1, false)
	check("after a restart", nodes[1])

	// The log that made the state is cut, so an empty node can get it as a snapshot only.
	c.cluster("CLUSTER SNAPSHOT")
	within(t, "the log is cut", func() bool {
		for _, o := range c.cluster("CLUSTER PURGE --upto 60 ON GROUP 200") {
			if o.upto < 60 {
				return false
			}
		}
		return true
	})
	again(2, true)
	check("after a snapshot", nodes[2])
	if first := nodes[2].log.Group(200).FirstIndex(); first <= 60 {
		t.Errorf("the log of the node that came back begins at %d: it got no snapshot", first)
	}
}
