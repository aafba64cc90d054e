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
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.Close() //nolint:errcheck // nothing is owed
		code := websocket.CloseTryAgainLater
		if asked.Add(1) > 3 {
			code = websocket.ClosePolicyViolation
		}
		err = errors.Join(
			ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"auth_error","message":"no"}`)),
			ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "no"), time.Now().Add(time.Minute)),
		)
		if err != nil {
			t.Error(err)
		}
		_, _, _ = ws.ReadMessage() // until the client has gone
	}))
	defer fake.Close()
	c, err := client.New(client.Config{URLs: []string{fake.URL}, Token: "t", Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	live := c.Subscribe(client.Live{SQL: "SELECT * FROM app.t"})
	defer live.Close()
	if _, err = live.Next(t.Context()); !errors.Is(err, client.ErrUnauthorized) || asked.Load() != 4 {
		t.Errorf("%v after %d attempts", err, asked.Load())
	}
}
