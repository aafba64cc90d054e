package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// eventClient reads Server-Sent Events as a browser does.
type eventClient struct {
	t      *testing.T
	lines  *bufio.Scanner
	lastID string
	stop   context.CancelFunc
}

func openEvents(t *testing.T, n *Node, token, lastID string) *eventClient {
	t.Helper()
	const sql = "SELECT id FROM chat.log"
	ctx, stop := context.WithTimeout(t.Context(), tooLong)
	t.Cleanup(stop)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.APIAddr()+"/v1/events?sql="+url.QueryEscape(sql), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	if lastID != "" {
		request.Header.Set("Last-Event-ID", lastID)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() }) // the stream has no end
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: %s", sql, answer.Status)
	}
	c := readEvents(t, answer.Body)
	c.lastID, c.stop = lastID, stop
	return c
}

func readEvents(t *testing.T, body io.Reader) *eventClient {
	t.Helper()
	c := &eventClient{t: t, lines: bufio.NewScanner(body)}
	c.lines.Buffer(nil, 1<<20)
	return c
}

// next prints the next event: its words as of a frame.
func (c *eventClient) next() string {
	c.t.Helper()
	name := ""
	var f frame
	for c.lines.Scan() {
		field, value, _ := strings.Cut(c.lines.Text(), ": ")
		switch field {
		case "id":
			c.lastID = value
		case "event":
			name = value
		case "data":
			if err := json.Unmarshal([]byte(value), &f); err != nil {
				c.t.Fatal(err)
			}
		case "":
			if name != "" {
				if f.Type != name && name != "failure" {
					c.t.Errorf("event %s has type %s", name, f.Type)
				}
				return f.words()
			}
		}
	}
	c.t.Fatalf("the stream ended: %v", c.lines.Err())
	return ""
}

func (c *eventClient) expect(want ...string) {
	c.t.Helper()
	var got []string
	for range want {
		got = append(got, c.next())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Fatalf("events (-want +got):\n%s", diff)
	}
}

// TestServerSentEvents: live rows without WebSocket; the last id resumes them, deletes included.
func TestServerSentEvents(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, nil)
	c.sql("INSERT INTO chat.log VALUES (1, 'one'), (2, 'two')")
	s := openEvents(t, n, c.token, "")
	s.expect("subscription_ack ready", "initial_data_batch 1 2 ready")
	c.sql("INSERT INTO chat.log VALUES (3, 'three')")
	c.sql("UPDATE chat.log SET body = 'dos' WHERE id = 2")
	s.expect("insert 3", "update 2")
	s.stop()
	c.sql("DELETE FROM chat.log WHERE id = 1")
	c.sql("INSERT INTO chat.log VALUES (4, 'four')")
	again := openEvents(t, n, c.token, s.lastID)
	again.expect("subscription_ack ready", "initial_data_batch ready", "delete 1", "insert 4")

	lost := openEvents(t, n, c.token, "999999999999999")
	lost.expect("error CURSOR_TOO_OLD")
	if lost.lastID != "" {
		t.Errorf("a cursor of no use stays with the client: %q", lost.lastID)
	}
	c.sql("CREATE TABLE chat.other (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	c.sql("INSERT INTO chat.other VALUES (1)")
	c.sql("DROP TABLE chat.log")
	again.expect("error NOT_FOUND")

	for path, want := range map[string]int{
		"?sql=" + url.QueryEscape("SELECT id FROM chat.log"): 404, "?sql=nonsense": 400,
		"?sql=" + url.QueryEscape("SELECT SUM(1 / (id - 1)) AS n FROM chat.other"): 400, // and no 503: it fails each time
		"?sql=x&from=y": 400, "?sql=x&last_rows=y": 400,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.APIAddr()+"/v1/events"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.AddCookie(&http.Cookie{Name: "kalamdb_auth", Value: c.token})
		if got := status(t, request); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
		request.Header.Del("Cookie")
		if got := status(t, request); got != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d", path, got)
		}
	}
	if live := n.live.service.Count(); live > 1 {
		t.Errorf("%d live queries are left, want those of open streams", live)
	}
}

func status(t *testing.T, request *http.Request) int {
	t.Helper()
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(fmt.Errorf("close: %w", err))
	}
	return answer.StatusCode
}
