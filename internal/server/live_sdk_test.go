package server

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sdk does what the clients of the original do with what they are told, and knows nothing of the server beside that.
type sdk struct {
	*spoken
	rows map[string]map[string]any // by primary key
	last uint64                    // the largest _seq, which it resumes from
}

// connect proves who it is by the first message and says which form it speaks.
func (c *sdk) connect(t *testing.T, n *Node, token, serialization, compression string) {
	t.Helper()
	c.spoken = &spoken{socket: dial(t, n, "", nil), gzip: compression == "gzip"}
	c.send(fmt.Sprintf(`{"type":"authenticate","method":"jwt","token":%q,"protocol":{"serialization":%q,"compression":%q}}`, token, serialization, compression))
	if got := c.hear(); got["type"] != "auth_success" {
		t.Fatal(got)
	}
	c.msgpack = serialization == "msgpack"
}

// subscribe follows a table and fetches batches until it is ready, with a ping between.
func (c *sdk) subscribe(table string) {
	options := `{"batch_size":2}`
	if c.last > 0 {
		options = fmt.Sprintf(`{"batch_size":2,"from":%d}`, c.last)
	}
	c.say(subscribeText("mine", "SELECT * FROM "+table, options))
	for ready := false; !ready; {
		got := c.hear()
		control, _ := got["batch_control"].(map[string]any)
		switch got["type"] {
		case "subscription_ack":
			c.say(`{"type":"ping"}`)
		case "initial_data_batch":
			for _, row := range got["rows"].([]any) { //nolint:errcheck,forcetypeassert // anything else ends the test
				c.put(row)
			}
			if ready = control["status"] == "ready"; !ready {
				c.say(fmt.Sprintf(`{"type":"next_batch","subscription_id":"mine","last_seq_id":%v}`, c.last))
			}
		default:
			c.t.Fatalf("before ready: %v", got)
		}
	}
}

// follow takes changes until there was one with this text.
func (c *sdk) follow(until string) {
	for {
		got := c.hear()
		if got["type"] != "change" || got["subscription_id"] != "mine" {
			c.t.Fatalf("instead of a change: %v", got)
		}
		rows, _ := got["rows"].([]any)
		if got["change_type"] == "delete" {
			old := got["old_values"].([]any)[0].(map[string]any) //nolint:errcheck,forcetypeassert // anything else ends the test
			c.see(old)
			delete(c.rows, old["id"].(string)) //nolint:errcheck,forcetypeassert // so does this
		}
		for _, row := range rows {
			c.put(row)
			if row.(map[string]any)["body"] == until { //nolint:errcheck,forcetypeassert // and this
				return
			}
		}
	}
}

// put lays a row over what is known of it.
func (c *sdk) put(row any) {
	fields := row.(map[string]any) //nolint:errcheck,forcetypeassert // anything else ends the test
	c.see(fields)
	id := fields["id"].(string) //nolint:errcheck,forcetypeassert // so does this
	if c.rows[id] == nil {
		c.rows[id] = map[string]any{}
	}
	maps.Copy(c.rows[id], fields)
}

func (c *sdk) see(fields map[string]any) {
	seq, err := strconv.ParseUint(fmt.Sprint(fields["_seq"]), 10, 64)
	if err != nil {
		c.t.Fatal(err)
	}
	c.last = max(c.last, seq)
}

func (c *sdk) state() string {
	var list []string
	for id, row := range c.rows {
		list = append(list, fmt.Sprintf("%s|%v", id, row["body"]))
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// TestClientOfTheOriginal: a client that follows the rules of the original's has the rows of the table in whatever form it speaks: after its
// batches, after changes, and after it was cut off and came back with the largest _seq it had seen.
func TestClientOfTheOriginal(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, nil)
	long := strings.Repeat("long ", 200)
	for _, serialization := range []string{"json", "msgpack"} {
		for _, compression := range []string{"none", "gzip"} {
			table := "chat." + serialization + compression
			c.sql("CREATE TABLE " + table + " (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE='USER')")
			same := func(s *sdk, when string) {
				t.Helper()
				if want := c.grid("SELECT id, body FROM " + table + " ORDER BY id"); s.state() != want {
					t.Errorf("%s, %s, %s:\n%s\nwant\n%s", serialization, compression, when, s.state(), want)
				}
			}
			c.sql("INSERT INTO " + table + " VALUES (1, 'a'), (2, '" + long + "'), (3, 'c'), (4, 'd'), (5, 'e')")
			s := &sdk{rows: map[string]map[string]any{}}
			s.connect(t, n, c.token, serialization, compression)
			s.subscribe(table)
			same(s, "after its batches")
			c.sql("UPDATE " + table + " SET body = '" + long + "more' WHERE id = 1")
			c.sql("DELETE FROM " + table + " WHERE id = 2")
			c.sql("INSERT INTO " + table + " VALUES (6, 'end')")
			s.follow("end")
			same(s, "after changes")
			if err := s.ws.NetConn().Close(); err != nil { // without a word
				t.Fatal(err)
			}
			c.sql("INSERT INTO " + table + " VALUES (7, 'g'), (8, 'h'), (9, '" + long + "')")
			c.sql("DELETE FROM " + table + " WHERE id = 3 OR id = 7")
			c.sql("UPDATE " + table + " SET body = 'again' WHERE id = 4")
			s.connect(t, n, c.token, serialization, compression)
			s.subscribe(table)
			s.follow("again")
			same(s, "after it came back")
		}
	}
}
