package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// at is the client at another node.
func (c client) at(n *Node) client {
	c.url = "http://" + n.APIAddr()
	return c
}

func (c client) ids(query string) string {
	c.t.Helper()
	var ids []string
	for _, row := range firstResult(c.t, c.sql(query)) {
		ids = append(ids, fmt.Sprint(row[0]))
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// TestNodeLocalRows: every node has its own rows of a node-local table, for statements and live queries alike; a cursor of one node is
// refused by the others and good again after a restart of its own; what is replicated stays equal.
func TestNodeLocalRows(t *testing.T) {
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := loginSoon(t, nodes[0])
	c.sql("CREATE NAMESPACE chat")
	c.sql("CREATE STREAM TABLE chat.here (id BIGINT PRIMARY KEY, room TEXT) WITH (TTL_SECONDS = 3600, NODE_LOCAL = true)")
	c.sql("CREATE USER ada WITH PASSWORD 'Passw0rd!x' ROLE user")
	if tables := c.sql("SHOW TABLES IN chat"); !strings.Contains(tables, "NODE_LOCAL") {
		t.Errorf("SHOW TABLES does not tell that rows are node-local: %s", tables)
	}
	const all = "SELECT * FROM chat.here"
	first, second := watch(t, nodes[0], c), watch(t, nodes[1], c)
	for _, s := range []*socket{first, second} {
		s.subscribe("here", all, "{}")
		s.expect("initial_data_batch ready")
	}
	c.sql("INSERT INTO chat.here VALUES (1, 'lobby'), (2, 'lobby')")
	c.at(nodes[1]).sql("INSERT INTO chat.here VALUES (1, 'attic')")
	c.sql("EXECUTE AS USER 'ada' (INSERT INTO chat.here VALUES (7, 'lobby'))")
	frames := first.expect("insert 1", "insert 2")
	second.expect("insert 1") // and nothing of the first node, now or later
	for i, want := range []string{"1 2", "1", ""} {
		if got := c.at(nodes[i]).ids("SELECT id FROM chat.here"); got != want {
			t.Errorf("rows of node %d: %q, want %q", i+1, got, want)
		}
	}
	if got := c.ids("EXECUTE AS USER 'ada' (SELECT id FROM chat.here)"); got != "7" {
		t.Errorf("the rows of ada: %q", got)
	}

	cursor := seqOf(t, frames[1].Rows[0])
	for _, from := range []uint64{cursor, cursor + 1<<16, seqOf(t, frames[0].Rows[0])} {
		if f := second.subscribe("other", all, fmt.Sprintf(`{"from":"%d"}`, from)); f.Code != "CURSOR_TOO_OLD" || !strings.Contains(f.Message, "another node") {
			t.Errorf("cursor %d of node 1 on node 2: %+v", from, f)
		}
	}
	if f := second.subscribeAll("cut", "other", all, fmt.Sprintf(`{"from":"%d"}`, cursor)); f.Code != "CURSOR_TOO_OLD" {
		t.Errorf("the same in a cut: %+v", f)
	}

	if err := first.ws.Close(); err != nil {
		t.Error(err)
	}
	c.sql("DELETE FROM chat.here WHERE id = 1")
	closeNode(t, nodes[0])
	http.DefaultClient.CloseIdleConnections() // those to the node that was there
	nodes[0] = reopen(t, nodes[0].cfg).Node
	waitReady(t, nodes[0])
	c = loginSoon(t, nodes[0])
	c.sql("INSERT INTO chat.here VALUES (3, 'lobby')")
	first = watch(t, nodes[0], c)
	first.subscribe("here", all, fmt.Sprintf(`{"from":"%d"}`, cursor))
	first.expect("initial_data_batch ready", "delete 1", "insert 3")
	if got := c.ids("SELECT id FROM chat.here"); got != "2 3" {
		t.Errorf("after a restart: %q", got)
	}

	for statement, want := range map[string]string{
		"ALTER TABLE chat.here ADD COLUMN more TEXT UNIQUE":                                                       "STREAM",
		"CREATE INDEX more ON chat.here (room)":                                                                   "STREAM",
		"CREATE TABLE chat.never (id BIGINT PRIMARY KEY) WITH (TYPE='USER', NODE_LOCAL=true)":                     "STREAM tables",
		"CREATE STREAM TABLE chat.never (id BIGINT) WITH (TTL_SECONDS=1, NODE_LOCAL='maybe')":                     "true or false",
		"UPDATE chat.here SET room = 'x' WHERE id = 2":                                                            "STREAM",
		"BEGIN; INSERT INTO chat.here VALUES (9, 'x'); COMMIT":                                                    "transaction",
		"CREATE STREAM TABLE chat.never (id BIGINT) WITH (TTL_SECONDS=1, NODE_LOCAL=true, FLUSH_POLICY='rows:9')": "never flushed",
	} {
		if body := c.refused(statement); !strings.Contains(body, want) {
			t.Errorf("%s: %s, want %q", statement, body, want)
		}
	}

	// How much of the changes is kept is set for each node by itself, and kept over its restart.
	told := c.cluster("CLUSTER RETAIN CHANGES ENTRIES 4 SECONDS 7200 ON GROUP 300")
	if len(told) != 1 || !told[0].success {
		t.Fatalf("%+v", told)
	}
	const applied, last = `kalamdb_group_applied_index{group="data:local"}`, `kalamdb_group_last_index{group="data:local"}`
	before := scrape(t, nodes[0])
	for i := range 8 {
		c.sql(fmt.Sprintf("INSERT INTO chat.here VALUES (%d, 'lobby')", 10+i))
		first.expect(fmt.Sprintf("insert %d", 10+i))
	}
	if after := scrape(t, nodes[0]); before[applied] == 0 || after[applied] < before[applied]+8 || after[last] < after[applied] {
		t.Errorf("metrics of the node-local group: %v applied, %v after eight rows, of %v", before[applied], after[applied], after[last])
	}
	closeNode(t, nodes[0])
	http.DefaultClient.CloseIdleConnections()
	nodes[0] = reopen(t, nodes[0].cfg).Node
	waitReady(t, nodes[0])
	c = loginSoon(t, nodes[0])
	const kept = "SELECT retain_entries, retain_seconds, entries > 0, entries <= 4 FROM system.change_logs WHERE group_id = 300"
	for i, want := range []string{"[[4 7200 true true]]", "[[100000 86400 true true]]"} {
		if got := fmt.Sprint(c.at(nodes[i]).rows(kept)); got != want {
			t.Errorf("changes of node-local rows that node %d keeps: %s, want %s", i+1, got, want)
		}
	}
	first = watch(t, nodes[0], c)
	if f := first.subscribe("here", all, fmt.Sprintf(`{"from":"%d"}`, cursor)); f.Code != "CURSOR_TOO_OLD" {
		t.Errorf("a cursor that is too old by that: %+v", f)
	}
	first.subscribe("here", all, "")

	c.sql("DROP TABLE chat.here")
	first.expect("error NOT_FOUND")
	second.expect("error NOT_FOUND")
	for i, n := range nodes {
		within(t, fmt.Sprintf("the purge on node %d", i+1), func() bool { return countKeys(t, n) == 0 })
	}
}

// TestNodeLocalRowsExpire: each node removes its own rows when their time is over, and says so.
func TestNodeLocalRowsExpire(t *testing.T) {
	n, c := liveNode(t, nil) // standalone nodes have such tables too
	c.sql("CREATE STREAM TABLE chat.here (id BIGINT PRIMARY KEY) WITH (TTL_SECONDS = 1, NODE_LOCAL = true)")
	s := watch(t, n, c)
	s.subscribe("here", "SELECT * FROM chat.here", "{}")
	s.expect("initial_data_batch ready")
	s.subscribe("count", "SELECT COUNT(*) AS id FROM chat.here", "{}")
	s.expect("initial_data_batch 0 ready")
	c.sql("INSERT INTO chat.here VALUES (1), (2)")
	told := map[string]int{}
	for told["delete 1 2"]+min(told["delete 1"], told["delete 2"]) == 0 || told["update 0"] == 0 {
		told[s.next().words()]++
	}
	if rows := firstResult(t, c.sql("SELECT * FROM chat.here")); len(rows) != 0 {
		t.Errorf("rows whose time is over: %v", rows)
	}
	lo, hi := keys.RowSpan(shard.Local)
	if left := countSpan(t, n, lo, hi); left != 0 {
		t.Errorf("%d rows are still stored", left)
	}
}

// TestNodeLocalRowsOfDroppedUsers: what a dropped user has on a node is gone before the node serves node-local rows again.
func TestNodeLocalRowsOfDroppedUsers(t *testing.T) {
	n, c := liveNode(t, func(cfg *config.Config) { cfg.Auth.UserCleanupDelaySecs = 1 })
	c.sql("CREATE STREAM TABLE chat.here (id BIGINT PRIMARY KEY) WITH (TTL_SECONDS = 3600, NODE_LOCAL = true)")
	for _, user := range []string{"ada", "ben"} {
		c.sql("CREATE USER " + user + " WITH PASSWORD 'Passw0rd!x' ROLE user")
		c.sql("EXECUTE AS USER '" + user + "' (INSERT INTO chat.here VALUES (1))")
	}
	c.sql("DROP USER ada")
	within(t, "the account is forgotten", func() bool {
		_, there := n.catalog.Current().UserOrDeleted("ada")
		return !there
	})
	closeNode(t, n)
	http.DefaultClient.CloseIdleConnections() // those to the node that was there
	n = openNode(t, n.cfg, Options{})
	waitReady(t, n)
	c = loginSoon(t, n)
	c.sql("CREATE USER ada WITH PASSWORD 'Passw0rd!x' ROLE user")
	for user, want := range map[string]string{"ada": "", "ben": "1"} {
		if got := c.ids("EXECUTE AS USER '" + user + "' (SELECT id FROM chat.here)"); got != want {
			t.Errorf("rows of %s: %q, want %q", user, got, want)
		}
	}
}

// countKeys counts what is stored of node-local rows and of who wrote them.
func countKeys(t *testing.T, n *Node) int {
	t.Helper()
	rowLo, rowHi := keys.RowSpan(shard.Local)
	lo, hi := keys.ScopesSpan(shard.Local)
	return countSpan(t, n, lo, hi) + countSpan(t, n, rowLo, rowHi)
}

func countSpan(t *testing.T, n *Node, lo, hi []byte) (count int) {
	t.Helper()
	it, err := n.store.Scan(lo, hi)
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		count++
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return count
}

// subscribeAll asks for one live query in a cut and returns the first message.
func (s *socket) subscribeAll(cut, id, sql, options string) frame {
	s.t.Helper()
	s.send(fmt.Sprintf(`{"type":"subscribe_all","id":%q,"subscriptions":[{"id":%q,"sql":%q,"options":%s}]}`, cut, id, sql, options))
	return s.next()
}
