package e2e

import (
	"errors"
	"fmt"
	"testing"
)

// TestStandaloneGrowsToThreeNodes starts one node alone, makes it a cluster of one with the same data, and
// adds two nodes. No row is exported or lost, and in the end any node may fail.
func TestStandaloneGrowsToThreeNodes(t *testing.T) {
	dir := testDir(t)
	first, second, third := newNode(t, dir, 1), newNode(t, dir, 2), newNode(t, dir, 3)
	c := &cluster{nodes: []*node{first, second, third}}

	first.start(t)
	first.waitReady(t)
	root := first.root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE = 'SHARED')")
	root.must(t, "CREATE TABLE app.mine (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE = 'USER')")
	root.must(t, "CREATE USER ann WITH PASSWORD 'password-of-ann' ROLE user")
	ann := first.login(t, "ann", "password-of-ann")
	written := int64(0)
	write := func(at *node) {
		t.Helper()
		for range 20 {
			root.at(at).must(t, "INSERT INTO app.notes (id, body) VALUES ($1, 'shared')", written)
			ann.at(at).must(t, "INSERT INTO app.mine (id, body) VALUES ($1, 'private')", written)
			written++
		}
	}
	check := func(nodes ...*node) {
		t.Helper()
		for _, n := range nodes {
			if count := root.at(n).number(t, "SELECT COUNT(*) FROM app.notes"); count != written {
				t.Errorf("%v has %d shared rows, want %d", n, count, written)
			}
			if count := ann.at(n).number(t, "SELECT COUNT(*) FROM app.mine"); count != written {
				t.Errorf("%v has %d rows of ann, want %d", n, count, written)
			}
			if count := root.at(n).number(t, "SELECT COUNT(*) FROM app.mine"); count != 0 {
				t.Errorf("%v shows root %d rows of ann", n, count)
			}
		}
	}
	write(first)
	check(first)
	first.kill(t) // nothing was flushed on purpose
	first.start(t)
	first.waitReady(t)
	check(first)
	first.stop(t)

	first.settings = first.settings.with(first.clusterSettings([]map[string]any{first.peer()}))
	first.start(t)
	first.waitReady(t)
	check(first)
	write(first)

	for i, n := range []*node{second, third} {
		n.settings = n.settings.with(n.clusterSettings([]map[string]any{first.peer()})).with(settings{"cluster.join": true})
		n.start(t)
		n.waitReady(t)
		check(c.nodes[:i+2]...)
		write(n)
		check(c.nodes[:i+2]...)
	}
	c.wantEqualDigests(t, root, "notes", written)
	c.wantEqualDigests(t, root, "mine", written)

	first.kill(t)
	root.at(second).soon(t, "UPDATE app.notes SET body = 'without the first node' WHERE id = 0")
	write(third)
	check(second, third)
	first.start(t)
	first.waitReady(t)
	check(first)
	eventually(t, "all members are active", func() error {
		members := root.at(third).must(t, "SELECT node_id, status FROM system.cluster ORDER BY node_id")
		if got := fmt.Sprint(members.rows()); got != "[[1 active] [2 active] [3 active]]" {
			return errors.New(got)
		}
		return nil
	})
}
