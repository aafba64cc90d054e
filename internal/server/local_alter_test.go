package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// TestAlterNodeLocalTable: a node-local table is altered as any other, on every node, also on one that is down meanwhile; live queries of it
// go on or end as those of a replicated one.
func TestAlterNodeLocalTable(t *testing.T) {
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := loginSoon(t, nodes[0])
	c.sql("CREATE NAMESPACE chat")
	tables := []string{"chat.here", "chat.everywhere"} // the second is what the first is compared with
	for i, name := range tables {
		c.sql(fmt.Sprintf("CREATE STREAM TABLE %s (id BIGINT PRIMARY KEY, room TEXT, old TEXT) WITH (TTL_SECONDS = 3600, NODE_LOCAL = %v)", name, i == 0))
	}
	var watched [2]*socket
	for i, name := range tables {
		watched[i] = watch(t, nodes[0], c)
		watched[i].subscribe("all", "SELECT * FROM "+name, "")
		watched[i].subscribe("some", "SELECT id, room FROM "+name, "")
	}
	for i, n := range nodes {
		c.at(n).sql(fmt.Sprintf("INSERT INTO chat.here VALUES (%d, 'lobby', 'x')", i))
	}
	c.sql("INSERT INTO chat.everywhere VALUES (0, 'lobby', 'x')")

	closeNode(t, nodes[2])
	http.DefaultClient.CloseIdleConnections() // those to the node that was there
	for _, name := range tables {
		for _, change := range []string{"ADD COLUMN mood TEXT DEFAULT 'well'", "RENAME COLUMN room TO place", "DROP COLUMN old", "ADD COLUMN level INT"} {
			c.sql("ALTER TABLE " + name + " " + change)
		}
		c.sql("INSERT INTO " + name + " VALUES (10, 'attic', 'fine', 7)")
		c.sql("DELETE FROM " + name + " WHERE id = 0")
	}
	var told [2][]string
	for i, s := range watched {
		told[i] = s.texts(5)
	}
	if !slices.Equal(told[0], told[1]) || !strings.Contains(strings.Join(told[0], ""), `"mood":"fine"`) {
		t.Errorf("live queries were told\n%s\nand those of a replicated table\n%s", strings.Join(told[0], "\n"), strings.Join(told[1], "\n"))
	}
	c.at(nodes[1]).sql("INSERT INTO chat.here (id, place) VALUES (11, 'cellar')")
	nodes[2] = reopen(t, nodes[2].cfg).Node
	waitReady(t, nodes[2])
	c.at(nodes[2]).sql("INSERT INTO chat.here (id, level) VALUES (12, 1)")
	for i, want := range []string{"10|attic|fine|7", "1|lobby|well|null\n11|cellar|well|null", "2|lobby|well|null\n12|null|well|1"} {
		if got := c.at(nodes[i]).grid("SELECT id, place, mood, level FROM chat.here ORDER BY id"); got != want {
			t.Errorf("rows of node %d:\n%s\nwant\n%s", i+1, got, want)
		}
	}

	// What rows of another node forbid is taken back.
	const notNull = "ALTER TABLE chat.here ALTER COLUMN place SET NOT NULL"
	for _, statement := range []string{notNull, "ALTER TABLE chat.here ADD COLUMN more TEXT NOT NULL"} {
		if got := c.refused(statement); !strings.Contains(got, "NOT NULL") {
			t.Errorf("%s: %s", statement, got)
		}
	}
	c.sql("DELETE FROM chat.here WHERE true") // of this node; others have rows
	if got := c.refused("ALTER TABLE chat.here ADD COLUMN more TEXT NOT NULL"); !strings.Contains(got, "'more'") {
		t.Error(got)
	}
	c.sql("INSERT INTO chat.here (id) VALUES (13)")
	for _, n := range nodes {
		c.at(n).sql("DELETE FROM chat.here WHERE place IS NULL")
	}
	c.sql(notNull)
	for _, n := range nodes {
		if got := c.at(n).refused("INSERT INTO chat.here (id) VALUES (14)"); !strings.Contains(got, "NOT NULL violation") {
			t.Error(got)
		}
	}

	// Where a node is down, what its rows may forbid waits for it; until then no new row has what is to be forbidden.
	c.sql("ALTER TABLE chat.here ALTER COLUMN mood DROP NOT NULL")
	c.sql("ALTER TABLE chat.here ALTER COLUMN place DROP NOT NULL")
	c.at(nodes[2]).sql("INSERT INTO chat.here (id) VALUES (15)")
	closeNode(t, nodes[2])
	http.DefaultClient.CloseIdleConnections()
	if got := c.refused(notNull); !strings.Contains(got, "the job goes on") || !strings.Contains(got, "node 3") {
		t.Error(got)
	}
	if got := c.refused("INSERT INTO chat.here (id) VALUES (16)"); !strings.Contains(got, "NOT NULL violation") {
		t.Error(got)
	}
	nodes[2] = reopen(t, nodes[2].cfg).Node
	waitReady(t, nodes[2])
	within(t, "node 3 forbids it", func() bool {
		found, _ := nodes[0].catalog.Current().Table("chat", "here")
		return !found.Unfinished()
	})
	c.sql("INSERT INTO chat.here (id) VALUES (16)") // it was taken back
}

// TestNodeLocalRowsExpireBehindAFence: rows that were there when a table was altered are removed when their time is over, and nothing else
// keeps the node from its rows.
func TestNodeLocalRowsExpireBehindAFence(t *testing.T) {
	n, c := liveNode(t, nil)
	c.sql("CREATE STREAM TABLE chat.here (id BIGINT PRIMARY KEY, room TEXT) WITH (TTL_SECONDS = 1, NODE_LOCAL = true)")
	s := watch(t, n, c)
	s.subscribe("here", "SELECT * FROM chat.here", "")
	c.sql("INSERT INTO chat.here VALUES (1, 'lobby')")
	c.sql("ALTER TABLE chat.here ALTER COLUMN room SET NOT NULL")
	s.expect("insert 1", "delete 1")
	lo, hi := keys.RowSpan(shard.Local)
	if left := countSpan(t, n, lo, hi); left != 0 {
		t.Errorf("%d rows are still stored", left)
	}
}
