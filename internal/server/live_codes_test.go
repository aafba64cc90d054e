package server

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// refusals are live queries that cannot be, by what is wrong with them, and the code that says so.
var refusals = []struct{ what, sql, code string }{
	{"a join", "SELECT * FROM chat.log l JOIN chat.other o ON l.id = o.id", "INVALID_SQL"},
	{"several tables", "SELECT * FROM chat.log, chat.other", "INVALID_SQL"},
	{"WITH", "WITH a AS (SELECT 1) SELECT * FROM chat.log", "INVALID_SQL"},
	{"an order without a limit", "SELECT * FROM chat.log ORDER BY id", "INVALID_SQL"},
	{"a limit without an order", "SELECT * FROM chat.log LIMIT 3", "INVALID_SQL"},
	{"DISTINCT", "SELECT DISTINCT body FROM chat.log", "INVALID_SQL"},
	{"UNION", "SELECT * FROM chat.log UNION SELECT * FROM chat.log", "INVALID_SQL"},
	{"a subquery in FROM", "SELECT * FROM (SELECT * FROM chat.log) AS s", "INVALID_SQL"},
	{"a subquery in WHERE", "SELECT * FROM chat.log WHERE id IN (SELECT id FROM chat.other)", "INVALID_SQL"},
	{"no namespace", "SELECT * FROM log", "INVALID_SQL"},
	{"_seq selected", "SELECT id, _seq FROM chat.log", "INVALID_SQL"},
	{"_deleted selected", "SELECT _deleted FROM chat.log", "INVALID_SQL"},
	{"an expression selected", "SELECT id + 1 FROM chat.log", "INVALID_SQL"},
	{"an unknown column", "SELECT nothing FROM chat.log", "INVALID_SQL"},
	{"an unknown column in WHERE", "SELECT * FROM chat.log WHERE nothing = 1", "INVALID_SQL"},
	{"a parameter", "SELECT * FROM chat.log WHERE id = $1", "INVALID_SQL"},
	{"no query", "DELETE FROM chat.log", "INVALID_SQL"},
	{"two statements", "SELECT * FROM chat.log; SELECT * FROM chat.log", "INVALID_SQL"},
	{"no SQL", "SELEC", "INVALID_SQL"},
	{"nothing", "", "INVALID_SQL"},
	{"an unknown table", "SELECT * FROM chat.nothing", "NOT_FOUND"},
	{"a table of others", "SELECT * FROM chat.secret", "NOT_FOUND"},
	{"a system table", "SELECT * FROM system.users", "UNAUTHORIZED"},
}

// TestLiveRefusals: every query that the surface excludes is refused with its code, under its id, and the connection goes on.
func TestLiveRefusals(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, func(cfg *config.Config) { cfg.RateLimit.MaxSubscriptionsPerUser = 3 })
	c.sql("CREATE TABLE chat.other (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	c.sql("CREATE TABLE chat.secret (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED', ACCESS_LEVEL='restricted')")
	c.sql("ALTER TABLE chat.log SET ACCESS LEVEL public")
	c.sql("ALTER TABLE chat.other SET ACCESS LEVEL public")
	c.sql("CREATE USER ada WITH PASSWORD 'Passw0rd!x' ROLE user")
	s := watch(t, n, login(t, n, "ada", "Passw0rd!x"))
	for _, r := range refusals {
		if f := s.subscribe("a", r.sql, "{}"); f.Code != r.code || f.Subscription != "a" {
			t.Errorf("%s: code %q for %q, want %s; %s", r.what, f.Code, f.Subscription, r.code, f.Message)
		}
	}
	if f := s.subscribe("a", "SELECT * FROM chat.log WHERE id = CURRENT_USER()", "{}"); f.Code == "" {
		t.Errorf("a number that is compared with a name: %+v", f)
	}
	admin := watch(t, n, c)
	if f := admin.subscribe("a", "SELECT * FROM system.users", "{}"); f.Code != "UNSUPPORTED" {
		t.Errorf("a system table, asked for by an administrator: %+v", f)
	}
	if f := s.subscribe(strings.Repeat("i", 257), "SELECT * FROM chat.log", ""); f.Code != "INVALID_SUBSCRIPTION_ID" {
		t.Errorf("an id of 257 bytes: %+v", f)
	}
	if count := n.live.service.Count(); count != 0 {
		t.Errorf("%d subscriptions are counted after refusals", count)
	}
	s.subscribe("works", "SELECT * FROM chat.log", "{}")
	s.expect("initial_data_batch ready")
	c.sql("DROP TABLE chat.log")
	s.expect("error NOT_FOUND") // it ends with its table
	c.sql("CREATE TABLE chat.log (id BIGINT PRIMARY KEY, n TEXT) WITH (TYPE='SHARED')")
	s.subscribe("fails", "SELECT * FROM chat.other WHERE 10 / id > 1", "")
	c.sql("INSERT INTO chat.other VALUES (0)")
	s.expect("error SUBSCRIPTION_FAILED") // the condition has no value for a row that was written
}

// TestLiveLimitsOfCuts: subscriptions that begin together count one by one, for the connection and for the user, and when
// one is too many none is made.
func TestLiveLimitsOfCuts(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, func(cfg *config.Config) { cfg.RateLimit.MaxSubscriptionsPerUser = 120 })
	together := func(s *socket, from, to int) {
		var list []string
		for i := from; i < to; i++ {
			list = append(list, fmt.Sprintf(`{"id":"%d","sql":"SELECT * FROM chat.log"}`, i))
		}
		s.send(`{"type":"subscribe_all","id":"cut","subscriptions":[` + strings.Join(list, ",") + `]}`)
	}
	s := watch(t, n, c)
	for at := 0; at < 96; at += 32 {
		together(s, at, at+32)
		for range 32 {
			s.expect("subscription_ack ready")
		}
		s.expect("cut_ready")
	}
	together(s, 96, 101)
	if f := s.next(); f.Code != "SUBSCRIPTION_LIMIT_EXCEEDED" {
		t.Errorf("the 101st of a connection: %+v", f)
	}
	other := watch(t, n, c)
	together(other, 0, 25)
	if f := other.next(); f.Code != "SUBSCRIPTION_LIMIT_EXCEEDED" || f.Subscription != "24" {
		t.Errorf("the 121st of a user: %+v", f)
	}
	if count := n.live.service.Count(); count != 96 {
		t.Errorf("%d subscriptions are counted, 96 were made", count)
	}
	together(other, 0, 33)
	if f := other.next(); f.Code != "SUBSCRIPTION_LIMIT_EXCEEDED" {
		t.Errorf("33 at once: %+v", f)
	}
	together(other, 0, 24)
	for range 24 {
		other.expect("subscription_ack ready")
	}
	other.expect("cut_ready")
}

// TestMessageSizeIsConfigured: max_ws_message_size is what a client may send.
func TestMessageSizeIsConfigured(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, func(cfg *config.Config) {
		cfg.Security.MaxWSMessageBytes, cfg.Security.StrictWSOrigin = 2048, true
	})
	_, answer, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+n.APIAddr()+"/v1/ws", nil)
	if err == nil || answer == nil || answer.StatusCode != http.StatusForbidden {
		t.Fatalf("without an origin: %v, %v", answer, err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
	s := dial(t, n, "", map[string][]string{"Origin": {"http://" + n.APIAddr()}, "Authorization": {"Bearer " + c.token}})
	s.expect("auth_success")
	s.send(`{"type":"ping","x":"` + strings.Repeat("x", 3000) + `"}`)
	s.expect("error MESSAGE_TOO_LARGE")
	s.subscribe("a", "SELECT * FROM chat.log", "{}")
	s.expect("initial_data_batch ready")
}

// TestLiveRowThatCannotBeRead: a live query whose table holds bytes that are no row is ended with a code; the connection and other live
// queries go on.
func TestLiveRowThatCannotBeRead(t *testing.T) {
	n, c := liveNode(t, nil)
	c.sql("CREATE TABLE chat.other (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	s := watch(t, n, c)
	for id, table := range map[string]string{"broken": "log", "sound": "other"} {
		s.subscribe(id, "SELECT * FROM chat."+table, "{}")
		s.expect("initial_data_batch ready")
	}
	found, _ := n.catalog.Current().Table("chat", "log")
	_, err := n.exec.Execute(t.Context(), found.Group, &commandv1.Command{Body: &commandv1.Command_WriteRows{WriteRows: &commandv1.WriteRows{
		Rows: []*commandv1.RowWrite{{
			TableId: uint64(found.ID), PrimaryKey: datum.AppendKey(nil, datum.NewBigInt(1)), Row: []byte("no row at all"),
		}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if f := s.next(); f.Code != "CONVERSION_ERROR" || f.Subscription != "broken" {
		t.Errorf("told of bytes that are no row: %+v", f)
	}
	c.sql("INSERT INTO chat.other VALUES (1)")
	s.expect("insert 1")
	if f := s.subscribe("broken", "SELECT * FROM chat.log", "{}"); f.Code != "BATCH_FETCH_FAILED" {
		t.Errorf("asked for again: %+v", f)
	}
}
