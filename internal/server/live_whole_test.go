package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/kalamdb/kalamdb-go/internal/config"
)

// watchNarrowly is watch over a connection that takes in little ahead of its reader.
func watchNarrowly(t *testing.T, n *Node, c client) *socket {
	t.Helper()
	dialer := websocket.Dialer{NetDialContext: narrow}
	ws, answer, err := dialer.DialContext(t.Context(), "ws://"+n.APIAddr()+"/v1/ws?compress=false", http.Header{"Authorization": {"Bearer " + c.token}})
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() }) // a test may have closed it
	s := &socket{t, ws}
	s.expect("auth_success")
	return s
}

// largeCommands lets a node take commands as large as they may be.
func largeCommands(cfg *config.Config) { cfg.Raft.LogSegmentBytes = 32 << 20 }

// TestOneCommandArrivesWhole: what one statement deletes is more than a connection may have unsent and than buffers take. It comes
// together, live and on resume, for one live query and for a cut, and changes behind it come too; the bound stays one.
func TestOneCommandArrivesWhole(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, largeCommands)
	c.sql("CREATE TABLE chat.more (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	const all, rows = "SELECT * FROM chat.log", 100
	fill := func(from int) {
		for i := range rows {
			// A command has at most 4 MiB; as JSON each of these characters takes six.
			c.sql(fmt.Sprintf("INSERT INTO chat.log VALUES (%d, repeat(chr(1), 35000))", from+i))
		}
	}
	deleted := make([]string, rows)
	for i := range deleted {
		deleted[i] = fmt.Sprintf("delete %d", i)
	}
	fill(0)
	idle, full, quick := watchNarrowly(t, n, c), watchNarrowly(t, n, c), watch(t, n, c)
	for _, s := range []*socket{idle, full} {
		if got := s.subscribe("s", all, ""); got.words() != "subscription_ack ready" {
			t.Fatal(got.words())
		}
	}
	quick.subscribe("q", "SELECT id FROM chat.log", "")
	c.sql("INSERT INTO chat.log VALUES (1000, 'before')")
	cursor := seqOf(t, quick.expect("insert 1000")[0].Rows[0])
	c.sql("DELETE FROM chat.log WHERE id < 1000")
	c.sql("INSERT INTO chat.log VALUES (1001, 'behind')")
	quick.expect(append(deleted, "insert 1001")...)

	idle.expect("insert 1000")
	idle.expect(append(deleted, "insert 1001")...)

	resume := fmt.Sprintf(`{"from":%d}`, cursor)
	alone := watchNarrowly(t, n, c)
	alone.subscribe("s", all, resume)
	alone.expect("initial_data_batch ready")
	alone.expect(append(deleted, "insert 1001")...)

	together := watchNarrowly(t, n, c)
	together.send(fmt.Sprintf(`{"type":"subscribe_all","id":"c","subscriptions":[{"id":"a","sql":%q,"options":%s},{"id":"b","sql":"SELECT * FROM chat.more","options":{}}]}`, all, resume))
	together.expect("subscription_ack ready", "initial_data_batch ready", "subscription_ack ready", "initial_data_batch ready")
	together.expect(append(deleted, "insert 1001", "cut_ready")...)

	// Nobody has read from this one, and beside one command it has no more room than ever.
	fill(2000)
	code, messages := full.closed()
	if code != websocket.CloseTryAgainLater || !strings.Contains(messages[len(messages)-1], `"code":"SLOW_CONSUMER"`) {
		t.Errorf("close code %d, last message %.200s", code, messages[len(messages)-1])
	}
}

// TestRowLargerThanTheOutbox: a row that is larger than what a connection may have unsent comes as an initial row and as a change.
func TestRowLargerThanTheOutbox(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, largeCommands)
	s := watchNarrowly(t, n, c)
	s.subscribe("before", "SELECT * FROM chat.log", "")
	c.sql("INSERT INTO chat.log VALUES (1, 'small')")
	c.sql("INSERT INTO chat.log VALUES (2, repeat('x', 3000000))")
	c.sql("INSERT INTO chat.log VALUES (3, 'small')")
	s.expect("insert 1", "insert 2", "insert 3")
	if got := s.subscribe("after", "SELECT * FROM chat.log", `{}`); got.words() != "subscription_ack ready" && got.words() != "subscription_ack loading" {
		t.Fatal(got.words())
	}
	if f := s.next(); len(f.Rows) == 0 || f.Control.HasMore && len(f.Rows) == 3 {
		t.Fatal(f.words())
	}
}
