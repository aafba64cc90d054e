package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// socket is one live connection of a test.
type socket struct {
	t  *testing.T
	ws *websocket.Conn
}

// frame is any message of the server.
type frame struct {
	Type         string           `json:"type"`
	Subscription string           `json:"subscription_id"`
	ChangeType   string           `json:"change_type"`
	Rows         []map[string]any `json:"rows"`
	OldValues    []map[string]any `json:"old_values"`
	Control      *struct {
		Number  int     `json:"batch_num"`
		HasMore bool    `json:"has_more"`
		Status  string  `json:"status"`
		LastSeq *uint64 `json:"last_seq_id"`
	} `json:"batch_control"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// watch connects with the token of a client. The header proves who it is.
func watch(t *testing.T, n *Node, c client) *socket {
	t.Helper()
	header := http.Header{"Authorization": {"Bearer " + c.token}}
	ws, answer, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+n.APIAddr()+"/v1/ws?compress=false", header)
	if err != nil {
		t.Fatalf("connect to %s: %v", n.APIAddr(), err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() }) // a test may have closed it
	s := &socket{t, ws}
	if f := s.next(); f.Type != "auth_success" {
		t.Fatalf("first message: %+v", f)
	}
	return s
}

func (s *socket) send(message string) {
	s.t.Helper()
	if err := s.ws.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *socket) next() frame {
	s.t.Helper()
	if err := s.ws.SetReadDeadline(time.Now().Add(tooLong)); err != nil {
		s.t.Fatal(err)
	}
	_, data, err := s.ws.ReadMessage()
	if err != nil {
		s.t.Fatalf("read: %v", err)
	}
	var f frame
	if err := json.Unmarshal(data, &f); err != nil {
		s.t.Fatalf("%s: %v", data, err)
	}
	return f
}

// subscribe asks for a live query and returns the acknowledgement.
func (s *socket) subscribe(id, sql, options string) frame {
	s.t.Helper()
	if options != "" {
		options = `,"options":` + options
	}
	s.send(fmt.Sprintf(`{"type":"subscribe","subscription":{"id":%q,"sql":%q%s}}`, id, sql, options))
	return s.next()
}

// words prints a message shortly: kind of change and the ids of its rows.
func (f frame) words() string {
	var b strings.Builder
	b.WriteString(f.Type)
	if f.ChangeType != "" {
		b.Reset()
		b.WriteString(f.ChangeType)
	}
	for _, rows := range [][]map[string]any{f.Rows, f.OldValues} {
		if len(rows) == 0 {
			continue
		}
		for _, row := range rows {
			fmt.Fprintf(&b, " %v", row["id"])
		}
		if f.ChangeType != "" {
			break
		}
	}
	if f.Control != nil {
		b.WriteString(" " + f.Control.Status)
	}
	if f.Code != "" {
		b.WriteString(" " + f.Code)
	}
	return b.String()
}

// expect reads as many messages as there are words.
func (s *socket) expect(want ...string) []frame {
	s.t.Helper()
	var frames []frame
	var got []string
	for range want {
		f := s.next()
		frames = append(frames, f)
		got = append(got, f.words())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Fatalf("messages (-want +got):\n%s\n%+v", diff, frames)
	}
	return frames
}

func seqOf(t *testing.T, row map[string]any) uint64 {
	t.Helper()
	text, ok := row["_seq"].(string)
	seq, err := strconv.ParseUint(text, 10, 64)
	if !ok || err != nil {
		t.Fatalf("_seq of %v: %v", row, err)
	}
	return seq
}

// TestLiveRowsAcrossNodes: a row written on one node arrives on another, and a third resumes what was missed, with
// deletes.
func TestLiveRowsAcrossNodes(t *testing.T) {
	t.Parallel()
	nodes := openCluster(t)
	waitReady(t, nodes...)
	c := loginSoon(t, nodes[0])
	c.sql("CREATE NAMESPACE chat")
	c.sql("CREATE TABLE chat.notes (id BIGINT PRIMARY KEY, title TEXT, done BOOLEAN) WITH (TYPE='USER')")
	c.sql("INSERT INTO chat.notes VALUES (1, 'one', false), (2, 'two', true)")
	const open = "SELECT * FROM chat.notes WHERE done = false"

	s := watch(t, nodes[1], c)
	if ack := s.subscribe("n", open, `{}`); ack.words() != "subscription_ack ready" {
		t.Fatalf("ack: %+v", ack)
	}
	s.expect("initial_data_batch 1 ready")
	c.sql("INSERT INTO chat.notes VALUES (3, 'three', false), (4, 'four', true)")
	c.sql("UPDATE chat.notes SET done = false WHERE id = 2")
	c.sql("UPDATE chat.notes SET title = 'uno' WHERE id = 1")
	frames := s.expect("insert 3", "insert 2", "update 1")
	update := frames[2]
	if diff := cmp.Diff(map[string]any{"id": "1", "title": "one"}, without(update.OldValues[0], "_seq", "_deleted")); diff != "" {
		t.Errorf("old values (-want +got):\n%s", diff)
	}
	cursor := seqOf(t, update.Rows[0])
	if err := s.ws.Close(); err != nil {
		t.Fatal(err)
	}

	c.url = "http://" + nodes[2].APIAddr()
	c.sql("INSERT INTO chat.notes VALUES (5, 'five', false)")
	c.sql("DELETE FROM chat.notes WHERE id = 3")
	c.sql("UPDATE chat.notes SET done = true WHERE id = 1")
	c.sql("INSERT INTO chat.notes VALUES (6, 'six', false)")
	third := watch(t, nodes[2], c)
	third.subscribe("n", open, fmt.Sprintf(`{"from":%d}`, cursor))
	frames = third.expect("initial_data_batch 5 ready", "delete 3", "delete 1", "insert 6")
	last := cursor
	for _, f := range frames {
		for _, row := range append(f.Rows, f.OldValues...) {
			if seq := seqOf(t, row); seq <= last {
				t.Errorf("_seq %d does not follow %d in %+v", seq, last, f)
			} else {
				last = seq
			}
		}
	}
	c.sql("DELETE FROM chat.notes WHERE id = 6")
	third.expect("delete 6")

	if ack := third.subscribe("old", open, `{"from":9999999999999}`); ack.Code != "CURSOR_TOO_OLD" {
		t.Errorf("a cursor of nobody: %+v", ack)
	}
	leadersMove(t, nodes, c)
}

// leadersMove: while clients of all nodes fetch initial rows, and while they follow, the group of the rows gets one leader after the
// other. The rows are those of where each began, and what was written meanwhile comes once and in order.
func leadersMove(t *testing.T, nodes []*Node, c client) {
	t.Helper()
	c.sql("CREATE TABLE chat.log (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE='SHARED')")
	c.sql("INSERT INTO chat.log VALUES (1, 'a'), (2, 'a'), (3, 'a'), (4, 'a'), (5, 'a')")
	group := nodes[0].who().Shards.RouteTable(tableIDOf(t, nodes[0], "chat", "log"))
	sockets := make([]*socket, len(nodes))
	for i, n := range nodes {
		sockets[i] = watch(t, n, c)
		sockets[i].subscribe("log", "SELECT * FROM chat.log", `{"batch_size":2}`)
		sockets[i].expect("initial_data_batch 1 2 loading")
	}
	move := func(to int) {
		t.Helper()
		within(t, fmt.Sprintf("node %d leads", to), func() bool {
			// A transfer may be refused while another leader is still being chosen.
			_ = c.cluster(fmt.Sprintf("CLUSTER TRANSFER LEADER %d ON GROUP %d", to, group))
			return nodes[to-1].engine().Leader(group) == nodes[to-1].self()
		})
	}
	want := []string{"initial_data_batch 3 4 loading_batch"}
	for round := range 2 {
		for to := 1; to <= len(nodes); to++ {
			move(to)
			c.sql(fmt.Sprintf("INSERT INTO chat.log VALUES (%d, 'b')", 100*(round+1)+to))
		}
		for _, s := range sockets {
			s.send(`{"type":"next_batch","subscription_id":"log"}`)
			s.expect(want...)
		}
		want = []string{"initial_data_batch 5 ready", "insert 101", "insert 102", "insert 103", "insert 201", "insert 202", "insert 203"}
	}
	for to := 1; to <= len(nodes); to++ {
		move(to)
		c.sql(fmt.Sprintf("DELETE FROM chat.log WHERE id = %d", to))
	}
	for _, s := range sockets {
		s.expect("delete 1", "delete 2", "delete 3")
	}
}

func tableIDOf(t *testing.T, n *Node, namespace, name string) ident.TableID {
	t.Helper()
	found, ok := n.catalog.Current().Table(namespace, name)
	if !ok {
		t.Fatalf("there is no table %s.%s", namespace, name)
	}
	return found.ID
}

func without(row map[string]any, names ...string) map[string]any {
	for _, name := range names {
		delete(row, name)
	}
	return row
}

// TestLiveRowsStandalone: what a standalone node serves, and what it refuses.
func TestLiveRowsStandalone(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	cfg.RateLimit.MaxSubscriptionsPerUser = 0
	n := openNode(t, cfg, Options{})
	waitReady(t, n)
	c := loginSoon(t, n)
	c.sql("CREATE NAMESPACE chat")
	c.sql("CREATE TABLE chat.log (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE='SHARED')")
	for i := range 7 {
		c.sql(fmt.Sprintf("INSERT INTO chat.log VALUES (%d, 'b')", 9-i))
	}
	s := watch(t, n, c)
	s.subscribe("pages", "SELECT id FROM chat.log", `{"batch_size":3}`)
	s.expect("initial_data_batch 9 8 7 loading")
	c.sql("INSERT INTO chat.log VALUES (20, 'later')")
	c.sql("DELETE FROM chat.log WHERE id = 5")
	s.send(`{"type":"next_batch","subscription_id":"pages"}`)
	s.expect("initial_data_batch 6 4 3 ready", "insert 20", "delete 5")

	s.subscribe("none", "SELECT * FROM chat.log", "")
	s.subscribe("newest", "SELECT * FROM chat.log WHERE id > 4", `{"last_rows":2}`)
	s.expect("initial_data_batch 6 20 ready")
	for _, sql := range []string{
		"SELECT * FROM log", "SELECT * FROM chat.log ORDER BY id", "SELECT * FROM chat.log LIMIT 1",
		"SELECT count(*) FROM chat.log LIMIT 1", "SELECT DISTINCT id FROM chat.log", "SELECT _seq FROM chat.log", "DELETE FROM chat.log",
		"SELECT * FROM chat.log, chat.log", "SELECT * FROM (SELECT 1) AS x", "SELEC", "SELECT nope FROM chat.log",
	} {
		if f := s.subscribe("bad", sql, "{}"); f.Code != "INVALID_SQL" || f.Subscription != "bad" {
			t.Errorf("%s: %+v", sql, f)
		}
	}
	if f := s.subscribe("bad", "SELECT * FROM chat.nothing", "{}"); f.Code != "NOT_FOUND" {
		t.Errorf("a table that is not there: %+v", f)
	}
	s.subscribe("sum", "SELECT COUNT(*) AS id FROM chat.log", `{"from":77}`)
	s.expect("initial_data_batch 7 ready")
	s.send(`{"type":"unsubscribe","subscription_id":"sum"}`)
	s.send(`{"type":"unsubscribe","subscription_id":"none"}`)
	c.sql("DROP TABLE chat.log")
	got := map[string]bool{}
	for range 2 {
		f := s.next()
		got[f.Subscription+" "+f.Code] = true
	}
	if !got["pages NOT_FOUND"] || !got["newest NOT_FOUND"] {
		t.Errorf("after the table was dropped: %v", got)
	}
}
