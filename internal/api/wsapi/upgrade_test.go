package wsapi

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/live"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

// anyToken takes every token but "bad".
type anyToken struct{}

func (anyToken) Authenticate(_ context.Context, token string) (auth.Identity, error) {
	if token == "bad" {
		return auth.Identity{}, errors.New("broken")
	}
	return auth.Identity{User: auth.User{ID: "ada", Role: session.RoleUser}, Expires: time.Now().Add(time.Minute)}, nil
}

// plumber serves connections that are pipes, so that a test can run on its own time.
type plumber struct {
	t      *testing.T
	server *Server
	conns  chan net.Conn
	done   chan struct{}
}

func (p *plumber) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *plumber) Close() error   { close(p.done); return nil }
func (p *plumber) Addr() net.Addr { return &net.TCPAddr{} }

// plainConfig is for tests that do not subscribe.
func plainConfig() Config {
	return Config{Live: &live.Service{}, Auth: anyToken{}, Logger: slog.New(slog.DiscardHandler)}
}

func plumb(t *testing.T, change func(*Config)) *plumber {
	t.Helper()
	config := plainConfig()
	if change != nil {
		change(&config)
	}
	server, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	p := &plumber{t: t, server: server, conns: make(chan net.Conn), done: make(chan struct{})}
	web := &http.Server{Handler: server, ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- web.Serve(p) }()
	t.Cleanup(func() {
		server.Shutdown(t.Context())
		if err := errors.Join(web.Close(), <-served); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return p
}

// refusal is the answer to an upgrade.
type refusal struct {
	status     int
	retryAfter string
}

// dial asks for a connection; nil when it is refused.
func (p *plumber) dial(query string, header http.Header) (*websocket.Conn, refusal) {
	p.t.Helper()
	dialer := websocket.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		p.conns <- server
		return client, nil
	}}
	ws, answer, err := dialer.DialContext(context.Background(), "ws://node.example/v1/ws"+query, header)
	if answer == nil {
		p.t.Fatalf("no answer: %v", err)
	}
	told := refusal{answer.StatusCode, answer.Header.Get("Retry-After")}
	_ = answer.Body.Close() // an upgrade has none
	if err != nil {
		return nil, told
	}
	p.t.Cleanup(func() { _ = ws.Close() }) // a test may have closed it
	return ws, told
}

// open is dial for somebody who is known.
func (p *plumber) open(query string) *websocket.Conn {
	p.t.Helper()
	ws, told := p.dial(query, http.Header{"Authorization": {"Bearer good"}})
	if ws == nil {
		p.t.Fatalf("refused: %+v", told)
	}
	return ws
}

// wantText reads the next message.
func wantText(t *testing.T, ws *websocket.Conn, want string) {
	t.Helper()
	kind, data, err := ws.ReadMessage()
	if err != nil || kind != websocket.TextMessage || string(data) != want {
		t.Fatalf("message %d %q, %v; want %q", kind, data, err, want)
	}
}

// closeCode reads up to the end.
func closeCode(t *testing.T, ws *websocket.Conn) (code int, messages []string) {
	t.Helper()
	for {
		_, data, err := ws.ReadMessage()
		var closing *websocket.CloseError
		switch {
		case err == nil:
			messages = append(messages, string(data))
		case errors.As(err, &closing):
			return closing.Code, messages
		default:
			t.Fatalf("the connection ended with %v", err)
		}
	}
}

const adaIsKnown = `{"type":"auth_success","user":"ada","role":"user","protocol":{"serialization":"json","compression":"gzip"}}`

// TestUpgrades: who may connect, and what the others are told.
func TestUpgrades(t *testing.T) {
	for _, c := range []struct {
		name, origin string
		strict       bool
		listed       []string
		status       int
	}{
		{"no browser", "", false, nil, http.StatusSwitchingProtocols},
		{"no browser, where every client has to name its origin", "", true, []string{"*"}, http.StatusForbidden},
		{"the server's own page", "http://node.example", true, nil, http.StatusSwitchingProtocols},
		{"a listed page", "https://app.example", true, []string{"https://app.example"}, http.StatusSwitchingProtocols},
		{"a page when all are listed", "https://app.example", false, []string{"*"}, http.StatusSwitchingProtocols},
		{"another page", "https://app.example", false, []string{"https://other.example"}, http.StatusForbidden},
		{"a page that is none", "null", false, nil, http.StatusForbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := plumb(t, func(config *Config) { config.Origins, config.StrictOrigin = c.listed, c.strict })
			header := http.Header{"Authorization": {"Bearer good"}}
			if c.origin != "" {
				header.Set("Origin", c.origin)
			}
			if _, told := p.dial("", header); told.status != c.status {
				t.Errorf("status %d, want %d", told.status, c.status)
			}
		})
	}
}

// TestShutdownRefusesUpgrades: a node that stops takes no new connection, says that it can be tried again, and keeps the
// open ones until it closes them.
func TestShutdownRefusesUpgrades(t *testing.T) {
	p := plumb(t, nil)
	ws := p.open("")
	wantText(t, ws, adaIsKnown)
	p.server.Refuse()
	refused, told := p.dial("", nil)
	if refused != nil || told.status != http.StatusServiceUnavailable || told.retryAfter == "" {
		t.Errorf("an upgrade during the shutdown: %+v", told)
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"nothing"}`)); err != nil {
		t.Fatal(err)
	}
	wantText(t, ws, `{"type":"error","subscription_id":"protocol","code":"PROTOCOL","message":"unknown message type"}`)
	go p.server.Shutdown(t.Context())
	if code, _ := closeCode(t, ws); code != websocket.CloseGoingAway {
		t.Errorf("close code %d", code)
	}
}

// TestSettledProtocol: the answer to a second authenticate is that to the first, and compress=false is stronger than both.
func TestSettledProtocol(t *testing.T) {
	p := plumb(t, nil)
	ws := p.open("?compress=false")
	wantText(t, ws, adaIsKnown)
	again := `{"type":"authenticate","method":"jwt","token":"bad","protocol":{"serialization":"msgpack","compression":"none"}}`
	if err := ws.WriteMessage(websocket.TextMessage, []byte(again)); err != nil {
		t.Fatal(err)
	}
	wantText(t, ws, adaIsKnown)
	// The id comes back in an error that is long enough to be compressed.
	long := `{"type":"next_batch","subscription_id":"` + strings.Repeat("x", 600) + `"}`
	for query, kind := range map[string]int{"?compress=false": websocket.TextMessage, "": websocket.BinaryMessage, "?compression=none": websocket.TextMessage} {
		ws := p.open(query)
		if _, _, err := ws.ReadMessage(); err != nil {
			t.Fatal(err)
		}
		if err := ws.WriteMessage(websocket.TextMessage, []byte(long)); err != nil {
			t.Fatal(err)
		}
		got, data, err := ws.ReadMessage()
		if err != nil || got != kind || (kind == websocket.BinaryMessage) != (data[0] == 0x1f) {
			t.Errorf("with %q: kind %d, %.20q, %v", query, got, data, err)
		}
	}
}

// TestTokenThatEnds: a connection outlives the token that its client came with, and the client is who it was.
func TestTokenThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws := plumb(t, nil).open("")
		wantText(t, ws, adaIsKnown)
		for range 12 {
			time.Sleep(10 * time.Second)
			if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`)); err != nil {
				t.Fatal(err)
			}
		}
		again := `{"type":"authenticate","method":"jwt","token":"good","protocol":{"serialization":"json","compression":"gzip"}}`
		if err := ws.WriteMessage(websocket.TextMessage, []byte(again)); err != nil {
			t.Fatal(err)
		}
		wantText(t, ws, adaIsKnown)
	})
}

// TestSilence: clients keep a connection alive, by any frame; the server never asks.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := plumb(t, nil)
		ws := p.open("")
		ws.SetPingHandler(func(string) error {
			t.Error("the server sends a ping")
			return nil
		})
		wantText(t, ws, adaIsKnown)
		type ending struct {
			code int
			at   time.Time
		}
		ended := make(chan ending, 1)
		go func() {
			code, _ := closeCode(t, ws)
			ended <- ending{code, time.Now()}
		}()
		for _, frame := range []struct {
			kind int
			data string
		}{{websocket.TextMessage, `{"type":"ping"}`}, {websocket.PingMessage, "x"}, {websocket.PongMessage, ""}, {websocket.TextMessage, `{"type":"ping"}`}} {
			time.Sleep(29 * time.Second)
			if err := ws.WriteMessage(frame.kind, []byte(frame.data)); err != nil {
				t.Fatal(err)
			}
		}
		last := time.Now()
		if e := <-ended; e.code != websocket.CloseNormalClosure || e.at.Sub(last) != 30*time.Second {
			t.Errorf("code %d after %s of silence", e.code, e.at.Sub(last))
		}

		stranger, _ := p.dial("", nil)
		began := time.Now()
		code, messages := closeCode(t, stranger)
		if took := time.Since(began); code != websocket.ClosePolicyViolation || took != 3*time.Second || len(messages) != 1 ||
			messages[0] != `{"type":"auth_error","message":"authentication timed out"}` {
			t.Errorf("a client that does not authenticate: code %d after %s, %q", code, took, messages)
		}
	})
}

// TestServerThatCannotAuthenticate says with the close code that another attempt can help, as it cannot for a caller who was refused.
func TestServerThatCannotAuthenticate(t *testing.T) {
	ws, _ := plumb(t, nil).dial("", http.Header{"Authorization": {"Bearer bad"}})
	code, messages := closeCode(t, ws)
	if code != websocket.CloseTryAgainLater || len(messages) != 1 ||
		messages[0] != `{"type":"auth_error","message":"the server cannot authenticate now; try again"}` {
		t.Errorf("code %d, %q", code, messages)
	}
}

// TestBrokenFrameEndsTheConnection: bytes that are no frame are no reason to hang.
func TestBrokenFrameEndsTheConnection(t *testing.T) {
	p := plumb(t, nil)
	client, server := net.Pipe()
	p.conns <- server
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://node.example/v1/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	} {
		request.Header.Set(name, value)
	}
	if err = request.Write(client); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(client)
	answer, err := http.ReadResponse(reader, request)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", answer, err)
	}
	_ = answer.Body.Close()                                             // an upgrade has none
	go func() { _, _ = client.Write([]byte{0xff, 0xff, 0xff, 0xff}) }() // the server may close before it has read all
	err = client.SetReadDeadline(time.Now().Add(10 * time.Second))
	for err == nil {
		_, err = reader.ReadByte()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection stays")
	}
}
