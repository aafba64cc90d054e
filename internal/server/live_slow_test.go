package server

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// narrow opens connections that take in little ahead of their reader.
func narrow(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return conn, conn.(*net.TCPConn).SetReadBuffer(128 << 10) //nolint:errcheck,forcetypeassert // dialled as TCP
}

// TestSlowReadersAreTold: rows, results and cuts, as JSON, compressed, msgpack and Server-Sent Events: whoever does not read is
// told by a code for each of its live queries, behind whole messages, and whoever reads gets everything meanwhile.
func TestSlowReadersAreTold(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, nil)
	const all, newest = "SELECT * FROM chat.log", "SELECT * FROM chat.log ORDER BY id DESC LIMIT 1"
	one := func(sql string) string {
		return fmt.Sprintf(`{"type":"subscribe","subscription":{"id":"a","sql":%q}}`, sql)
	}
	kinds := []struct {
		name          string
		msgpack, gzip bool
		ask           string
		ids           []string
	}{
		{"rows", false, false, one(all), []string{"a"}},
		{"rows, compressed", false, true, one(all), []string{"a"}},
		{"rows, msgpack", true, false, one(all), []string{"a"}},
		{"a result", false, false, one(newest), []string{"a"}},
		{"a cut", false, false, fmt.Sprintf(`{"type":"subscribe_all","id":"c","subscriptions":[{"id":"a","sql":%q},{"id":"b","sql":%q}]}`, all, newest), []string{"a", "b"}},
	}
	slow := make([]*spoken, len(kinds))
	for i, k := range kinds {
		dialer := websocket.Dialer{NetDialContext: narrow}
		target := "ws://" + n.APIAddr() + "/v1/ws?compression=" + map[bool]string{false: "none", true: "gzip"}[k.gzip]
		if k.msgpack {
			target += "&serialization=msgpack"
		}
		ws, answer, err := dialer.DialContext(t.Context(), target, http.Header{"Authorization": {"Bearer " + c.token}})
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.Close() }) // the server has closed it
		slow[i] = &spoken{socket: &socket{t, ws}, gzip: k.gzip}
		slow[i].hear()
		slow[i].msgpack = k.msgpack
		slow[i].say(k.ask)
		for range k.ids {
			if got := slow[i].hear(); got["type"] != "subscription_ack" {
				t.Fatalf("%s: %v", k.name, got)
			}
		}
	}
	events := slowEvents(t, n, c.token, all)
	quick, result := watch(t, n, c), watch(t, n, c)
	quick.subscribe("q", "SELECT id FROM chat.log", "")
	result.subscribe("r", newest, "")
	noise := make([]byte, 150<<10)
	for i := range 64 {
		_, _ = rand.Read(noise) // it never fails
		c.sql(fmt.Sprintf("INSERT INTO chat.log VALUES (%d, '%s')", i, base64.StdEncoding.EncodeToString(noise)))
		quick.expect(fmt.Sprintf("insert %d", i))
		// A run of the result answers all changes before it; this one is answered by a run of its own.
		if inserted := fmt.Sprintf("insert %d", i); i < 32 {
			for result.next().words() != inserted {
				continue
			}
		}
	}
	for i, k := range kinds {
		code, told := slow[i].untilClosed()
		slices.Sort(told)
		if code != websocket.CloseTryAgainLater || !slices.Equal(told, k.ids) {
			t.Errorf("%s: closed with %d, told of %q", k.name, code, told)
		}
	}
	told := 0
	for ; ; told++ {
		next := events.next()
		if next == "error SLOW_CONSUMER" && told > 0 && events.lastID != "" {
			break
		}
		if next != fmt.Sprintf("insert %d", told) {
			t.Fatalf("events: %q behind %d changes, id %q", next, told, events.lastID)
		}
	}
	c.sql("DELETE FROM chat.log WHERE id = 0")
	resumed := openEvents(t, n, c.token, events.lastID)
	rest := []string{"initial_data_batch"}
	for i := told; i < 64; i++ {
		rest = append(rest, strconv.Itoa(i))
	}
	resumed.expect("subscription_ack ready", strings.Join(rest, " ")+" ready", "delete 0")
}

// untilClosed reads to the end and returns which live queries were ended because the reader is slow.
func (s *spoken) untilClosed() (code int, told []string) {
	s.t.Helper()
	for {
		var closing *websocket.CloseError
		message, err := s.listen()
		switch {
		case errors.As(err, &closing):
			return closing.Code, told
		case err != nil:
			s.t.Fatal(err)
		case message["code"] == "SLOW_CONSUMER":
			told = append(told, fmt.Sprint(message["subscription_id"]))
		case len(told) > 0:
			s.t.Errorf("behind the end: %v", message["type"])
		}
	}
}

func slowEvents(t *testing.T, n *Node, token, sql string) *eventClient {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), tooLong)
	t.Cleanup(stop)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.APIAddr()+"/v1/events?sql="+url.QueryEscape(sql), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	transport := &http.Transport{DialContext: narrow, ReadBufferSize: 4 << 10}
	t.Cleanup(transport.CloseIdleConnections)
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() }) // the server has ended it
	events := readEvents(t, answer.Body)
	events.expect("subscription_ack ready", "initial_data_batch ready")
	return events
}
