package server

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kalamdb/kalamdb-go/internal/config"
)

// liveNode is a standalone node with a table for live queries.
func liveNode(t *testing.T, change func(*config.Config)) (*Node, client) {
	t.Helper()
	cfg := testConfig(t.TempDir())
	cfg.RateLimit.MaxSubscriptionsPerUser, cfg.RateLimit.MaxMessagesPerSec = 0, 0
	if change != nil {
		change(cfg)
	}
	n := openNode(t, cfg, Options{livePatience: time.Hour}) // a client is slow by what it has not read, not by how long that takes here
	waitReady(t, n)
	c := loginSoon(t, n)
	c.sql("CREATE NAMESPACE chat")
	c.sql("CREATE TABLE chat.log (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE='SHARED')")
	return n, c
}

// loginSoon logs in as root once the account is there, which may be a moment after the node is ready.
func loginSoon(t *testing.T, n *Node) client {
	t.Helper()
	anonymous := client{t: t, url: "http://" + n.APIAddr()}
	deadline := time.Now().Add(tooLong)
	for time.Now().Before(deadline) {
		status, _ := anonymous.post("/v1/api/auth/login", map[string]any{"user": "root", "password": rootPassword})
		if status == http.StatusOK {
			break
		}
	}
	return login(t, n, "root", rootPassword)
}

// dial connects without proving anything.
func dial(t *testing.T, n *Node, query string, header http.Header) *socket {
	t.Helper()
	ws, answer, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+n.APIAddr()+"/v1/ws"+query, header)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() }) // a test may have closed it
	return &socket{t, ws}
}

// closed reads on until the connection ends and returns the close code.
func (s *socket) closed() (code int, messages []string) {
	s.t.Helper()
	if err := s.ws.SetReadDeadline(time.Now().Add(tooLong)); err != nil {
		s.t.Fatal(err)
	}
	for {
		_, data, err := s.ws.ReadMessage()
		if err == nil {
			messages = append(messages, string(data))
			continue
		}
		var closing *websocket.CloseError
		if !errors.As(err, &closing) {
			s.t.Fatalf("the connection ended with %v", err)
		}
		return closing.Code, messages
	}
}

func TestLiveAuthentication(t *testing.T) {
	n, c := liveNode(t, nil)
	const protocol = `"protocol":{"serialization":"json","compression":"gzip"}`
	for name, message := range map[string]string{
		"bad token":     `{"type":"authenticate","method":"jwt","token":"nonsense",` + protocol + `}`,
		"no protocol":   `{"type":"authenticate","method":"jwt","token":"` + c.token + `"}`,
		"half protocol": `{"type":"authenticate","method":"jwt","token":"` + c.token + `","protocol":{"serialization":"json"}}`,
		"basic":         `{"type":"authenticate","method":"basic","token":"x",` + protocol + `}`,
		"silence":       "",
	} {
		t.Run(name, func(t *testing.T) {
			s := dial(t, n, "", nil)
			if message != "" {
				s.send(message)
			}
			code, messages := s.closed()
			if code != websocket.ClosePolicyViolation || len(messages) != 1 || !strings.HasPrefix(messages[0], `{"type":"auth_error","message":"`) {
				t.Errorf("code %d, messages %q", code, messages)
			}
		})
	}
	s := dial(t, n, "", nil)
	s.send(`{"type":"subscribe","subscription":{"id":"a","sql":"SELECT * FROM chat.log"}}`)
	s.expect("error AUTH_REQUIRED")
	authenticate := `{"type":"authenticate","method":"jwt","token":"` + c.token + `",` + protocol + `}`
	s.send(authenticate)
	s.send(authenticate)
	s.expect("auth_success", "auth_success")

	header := dial(t, n, "?serialization=msgpack", http.Header{"Authorization": {"Bearer " + c.token}})
	_, data, err := header.ws.ReadMessage()
	const want = `{"type":"auth_success","user":"root","role":"system","protocol":{"serialization":"msgpack","compression":"gzip"}}`
	if err != nil || string(data) != want {
		t.Errorf("%s, %v", data, err)
	}
	for _, header := range []http.Header{{"Origin": {"http://elsewhere.example"}}, {"Authorization": {"Basic cm9vdDp4"}}} {
		_, answer, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+n.APIAddr()+"/v1/ws", header)
		if err == nil || answer == nil || answer.StatusCode != http.StatusForbidden && answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("%v: answer %+v, %v", header, answer, err)
		}
		if answer != nil {
			if err := answer.Body.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestLiveMessages(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, func(cfg *config.Config) { cfg.RateLimit.MaxSubscriptionsPerUser = 101 })
	s := watch(t, n, c)
	s.send(`{"type":"nothing"}`)
	s.expect("error PROTOCOL")
	s.send(`{"type":"subscribe","subscription":{"id":"","sql":"x"}}`)
	s.expect("error INVALID_SUBSCRIPTION_ID")
	s.send(`{"type":"next_batch","subscription_id":"x"}`)
	s.expect("error BATCH_FETCH_FAILED")
	if err := s.ws.WriteMessage(websocket.BinaryMessage, []byte("x")); err != nil {
		t.Fatal(err)
	}
	s.expect("error UNSUPPORTED_DATA")
	s.send(`{"type":"ping","x":"` + strings.Repeat("x", 1<<20) + `"}`)
	s.expect("error MESSAGE_TOO_LARGE")
	s.send(`{"type":"ping"}`)
	if err := s.ws.WriteMessage(websocket.PingMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		s.subscribe(strconv.Itoa(i), "SELECT * FROM chat.log", "")
	}
	if f := s.subscribe("0", "SELECT * FROM chat.log", ""); f.Code != "INVALID_SUBSCRIPTION_ID" {
		t.Errorf("the same id again: %+v", f)
	}
	if f := s.subscribe("one more", "SELECT * FROM chat.log", ""); f.Code != "SUBSCRIPTION_LIMIT_EXCEEDED" {
		t.Errorf("the 101st on a connection: %+v", f)
	}
	other := watch(t, n, c)
	other.subscribe("a", "SELECT * FROM chat.log", "")
	if f := other.subscribe("b", "SELECT * FROM chat.log", ""); f.Code != "SUBSCRIPTION_LIMIT_EXCEEDED" {
		t.Errorf("the 102nd of a user: %+v", f)
	}
	if count := n.live.service.Count(); count != 101 {
		t.Errorf("%d subscriptions are counted", count)
	}
	s.send(`{"type":`)
	if code, _ := s.closed(); code != websocket.CloseInternalServerErr {
		t.Errorf("close code %d after a malformed message", code)
	}
	for n.live.service.Count() != 1 { // the reader cleans up behind the close frame
		if t.Context().Err() != nil {
			t.Fatal("subscriptions of a closed connection are kept")
		}
	}
}

func TestLiveMessageRate(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, func(cfg *config.Config) { cfg.RateLimit.MaxMessagesPerSec = 5 })
	s := watch(t, n, c)
	for range 30 {
		s.send(`{"type":"ping"}`)
	}
	if f := s.next(); f.Code != "RATE_LIMIT_EXCEEDED" || f.Subscription != "rate_limit" {
		t.Errorf("%+v", f)
	}
}

// TestLiveMsgpack: everything after the authentication is binary, compressed from 512 bytes on.
func TestLiveMsgpack(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, nil)
	s := dial(t, n, "", nil)
	s.send(`{"type":"authenticate","method":"jwt","token":"` + c.token + `","protocol":{"serialization":"msgpack","compression":"gzip"}}`)
	s.expect("auth_success")
	// {"type":"subscribe","subscription":{"id":"a","sql":…}}, compressed
	sql := "SELECT * FROM chat.log"
	packed := append([]byte("\x82\xa4type\xa9subscribe\xacsubscription\x82\xa2id\xa1a\xa3sql"), byte(0xa0|len(sql)))
	packed = append(packed, sql...)
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(packed); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.ws.WriteMessage(websocket.BinaryMessage, zipped.Bytes()); err != nil {
		t.Fatal(err)
	}
	kind, data, err := s.ws.ReadMessage()
	if err != nil || kind != websocket.BinaryMessage || !bytes.Contains(data, []byte("subscription_ack")) || data[0] != 0x85 {
		t.Fatalf("kind %d, %q, %v", kind, data, err)
	}
	c.sql("INSERT INTO chat.log VALUES (1, 'short')")
	if _, data, err = s.ws.ReadMessage(); err != nil || data[0] != 0x84 || !bytes.Contains(data, []byte("\xa5short")) {
		t.Errorf("%q, %v", data, err)
	}
	c.sql("INSERT INTO chat.log VALUES (2, '" + strings.Repeat("long ", 500) + "')")
	if _, data, err = s.ws.ReadMessage(); err != nil || data[0] != 0x1f || data[1] != 0x8b || len(data) > 400 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// TestLiveShutdown: clients are told to go elsewhere.
func TestLiveShutdown(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, nil)
	s := watch(t, n, c)
	s.subscribe("a", "SELECT * FROM chat.log", "")
	closeNode(t, n)
	if code, _ := s.closed(); code != websocket.CloseGoingAway {
		t.Errorf("close code %d", code)
	}
}

// TestSlowClient: a client that does not read is told and disconnected, slows nobody, and resumes without a gap.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	n, c := liveNode(t, nil)
	slow, quick := watch(t, n, c), watch(t, n, c)
	slow.subscribe("s", "SELECT * FROM chat.log", "")
	quick.subscribe("q", "SELECT id FROM chat.log", "")
	const rows, bytesEach = 120, 200 << 10
	body := strings.Repeat("x", bytesEach)
	for i := range rows {
		c.sql(fmt.Sprintf("INSERT INTO chat.log VALUES (%d, '%s')", i, body))
		quick.expect(fmt.Sprintf("insert %d", i))
	}
	code, messages := slow.closed()
	if code != websocket.CloseTryAgainLater || !strings.Contains(messages[len(messages)-1], `"code":"SLOW_CONSUMER"`) {
		t.Fatalf("close code %d, last message %.200s", code, messages[len(messages)-1])
	}
	next, cursor := 0, uint64(0)
	for _, text := range messages[:len(messages)-1] {
		var f frame
		if err := json.Unmarshal([]byte(text), &f); err != nil || f.Rows[0]["id"] != strconv.Itoa(next) {
			t.Fatalf("%.100s: want row %d; %v", text, next, err)
		}
		cursor = seqOf(t, f.Rows[0])
		next++
	}
	if next == rows {
		t.Fatal("the client was not slow")
	}
	again := watch(t, n, c)
	again.subscribe("s", "SELECT * FROM chat.log", fmt.Sprintf(`{"from":%d}`, cursor))
	for next < rows {
		f := again.next()
		for _, row := range f.Rows {
			if row["id"] != strconv.Itoa(next) {
				t.Fatalf("row %v, want %d", row["id"], next)
			}
			next++
		}
		if f.Control != nil && f.Control.HasMore {
			again.send(`{"type":"next_batch","subscription_id":"s"}`)
		}
	}
}
