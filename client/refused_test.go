package client_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kalamdb/kalamdb-go/client"
)

// TestSubscribersTryAgain where a server cannot say who they are, as one that is cut off from the others, and end where it can.
func TestSubscribersTryAgain(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	fake := fakeSocket(t, func(attempt int64, ws *websocket.Conn) {
		asked.Store(attempt)
		code := websocket.CloseTryAgainLater
		if attempt > 3 {
			code = websocket.ClosePolicyViolation
		}
		err := errors.Join(
			ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"auth_error","message":"no"}`)),
			ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "no"), time.Now().Add(time.Minute)),
		)
		if err != nil {
			t.Error(err)
		}
		_, _, _ = ws.ReadMessage() // until the client has gone
	})
	c, err := client.New(client.Config{URLs: []string{fake}, Token: "t", Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	live := c.Subscribe(client.Live{SQL: "SELECT * FROM app.t"})
	defer live.Close()
	if _, err = live.Next(t.Context()); !errors.Is(err, client.ErrUnauthorized) || asked.Load() != 4 {
		t.Errorf("%v after %d attempts", err, asked.Load())
	}
}

// fakeNode is a server that lets everybody in and says what a test wants on each connection.
func fakeNode(t *testing.T, talk func(attempt int64, ws *websocket.Conn)) string {
	t.Helper()
	return fakeSocket(t, func(attempt int64, ws *websocket.Conn) {
		_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"auth_success"}`)) // the client may have gone
		_, _, _ = ws.ReadMessage()                                                    // what is asked for; closing with it unread would lose what is said
		talk(attempt, ws)
	})
}

// fakeSocket is a server of WebSockets that says what a test wants on each connection.
func fakeSocket(t *testing.T, talk func(attempt int64, ws *websocket.Conn)) string {
	t.Helper()
	var asked atomic.Int64
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.Close() //nolint:errcheck // nothing is owed
		talk(asked.Add(1), ws)
	}))
	t.Cleanup(fake.Close)
	return fake.URL
}

func say(ws *websocket.Conn, messages ...string) {
	for _, message := range messages {
		_ = ws.WriteMessage(websocket.TextMessage, []byte(message)) // the client may have gone
	}
}

const (
	begun = `{"type":"initial_data_batch","subscription_id":"live-0","rows":[],"batch_control":{"has_more":false}}`
	acked = `{"type":"subscription_ack","subscription_id":"live-0"}`
)

// TestServerThatFallsSilent: a subscription leaves a server from which nothing comes any more, though its connection stands.
func TestServerThatFallsSilent(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	silent := fakeNode(t, func(int64, *websocket.Conn) { <-over })
	good := fakeNode(t, func(_ int64, ws *websocket.Conn) {
		say(ws, acked, begun)
		<-over
	})
	t.Cleanup(func() { close(over) })
	c, err := client.New(client.Config{URLs: []string{silent, good}, Token: "t", Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	c.SetSilence(50 * time.Millisecond)
	live := c.Subscribe(client.Live{SQL: "SELECT * FROM app.t"})
	defer live.Close()
	expect(t, live, "ready")
}

// TestLostConnectionThatIsStillCounted: a subscription that comes back sooner than its server has noticed that it was gone is not refused for good;
// one that begins is.
func TestLostConnectionThatIsStillCounted(t *testing.T) {
	t.Parallel()
	const full = `{"type":"error","subscription_id":"live-0","code":"SUBSCRIPTION_LIMIT_EXCEEDED","message":"full"}`
	url := fakeNode(t, func(attempt int64, ws *websocket.Conn) {
		if attempt%3 == 0 {
			say(ws, acked, begun)
			return
		}
		say(ws, full)
	})
	c, err := client.New(client.Config{URLs: []string{url}, Token: "t", Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var refused *client.Error
	live := c.Subscribe(client.Live{SQL: "SELECT * FROM app.t"})
	defer live.Close()
	for range 2 {
		if _, err := live.Next(t.Context()); !errors.As(err, &refused) || refused.Code != "SUBSCRIPTION_LIMIT_EXCEEDED" {
			t.Fatalf("one that begins: %v", err)
		}
	}
	expect(t, live, "ready", "ready", "ready")
}
