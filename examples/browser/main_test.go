package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kalamdb/kalamdb-go/client"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/loopback"
	"github.com/kalamdb/kalamdb-go/internal/server"
)

const password = "correct horse battery"

// browser is a headless Chromium, driven through its debugging port.
type browser struct {
	t     *testing.T
	ws    *websocket.Conn
	calls int
}

// startBrowser opens a page, or skips the test where there is no Chromium.
func startBrowser(t *testing.T, page string) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed; apt-get install chromium")
	}
	dir, err := os.MkdirTemp("", "kalamdb-browser-") //nolint:usetesting // helpers of the browser may write longer than the test
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	command := exec.CommandContext(ctx, program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--remote-debugging-port=0", "--user-data-dir="+dir, page)
	if err = command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = command.Wait()    // it was killed
		_ = os.RemoveAll(dir) // its helpers may still write for a moment
	})
	var target struct {
		URL string `json:"webSocketDebuggerUrl"`
	}
	eventually(t, "a debugging port", func() bool {
		port, failure := os.ReadFile(filepath.Join(dir, "DevToolsActivePort"))
		if failure != nil {
			return false
		}
		line, _, _ := strings.Cut(string(port), "\n")
		answer, failure := http.Get("http://127.0.0.1:" + line + "/json/list")
		if failure != nil {
			return false
		}
		defer func() { _ = answer.Body.Close() }()
		var targets []struct {
			Type string `json:"type"`
			URL  string `json:"url"`
			WS   string `json:"webSocketDebuggerUrl"`
		}
		if json.NewDecoder(answer.Body).Decode(&targets) != nil {
			return false
		}
		for _, found := range targets {
			if found.Type == "page" && strings.HasPrefix(found.URL, page) {
				target.URL = found.WS
			}
		}
		return target.URL != ""
	})
	ws, answer, err := websocket.DefaultDialer.DialContext(t.Context(), target.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close() // it has none
	t.Cleanup(func() { _ = ws.Close() })
	return &browser{t: t, ws: ws}
}

// run evaluates an expression in the page and returns its value as text.
func (b *browser) run(expression string) string {
	b.t.Helper()
	b.calls++
	call := map[string]any{"id": b.calls, "method": "Runtime.evaluate", "params": map[string]any{"expression": expression, "returnByValue": true}}
	if err := b.ws.WriteJSON(call); err != nil {
		b.t.Fatal(err)
	}
	for {
		var answer struct {
			ID     int `json:"id"`
			Result struct {
				Result struct {
					Value any `json:"value"`
				} `json:"result"`
				Exception json.RawMessage `json:"exceptionDetails"`
			} `json:"result"`
		}
		if err := b.ws.ReadJSON(&answer); err != nil {
			b.t.Fatal(err)
		}
		if answer.ID != b.calls {
			continue
		}
		if answer.Result.Exception != nil {
			b.t.Fatalf("%s: %s", expression, answer.Result.Exception)
		}
		return fmt.Sprint(answer.Result.Result.Value)
	}
}

// eventually waits for something that the browser does by itself.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond) // the browser is another process: it has to be asked
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("there is still not %s", what)
		}
	}
}

// shows waits until the page's rows are these.
func (b *browser) shows(want string) {
	b.t.Helper()
	got := ""
	defer func() {
		if got != want {
			b.t.Logf("the page shows %q", got)
		}
	}()
	eventually(b.t, "the rows "+want, func() bool {
		got = b.run(`document.querySelector("[data-testid=state]").textContent + ": " + ` +
			`[...document.querySelectorAll("tbody tr")].map((r) => [...r.cells].map((c) => c.textContent).join(" ")).sort().join(", ")`)
		return got == want
	})
}

func startServer(t *testing.T, dir, addr, origin string) (*server.Node, string) {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Storage.DataPath = dir
	cfg.Auth.RootPassword, cfg.Auth.BcryptCost = password, 4
	cfg.RateLimit.MaxAuthRequestsPerIP = 0
	cfg.Raft.LogSegmentBytes = 1 << 20
	cfg.Security.CORS.AllowedOrigins = []string{origin}
	n, err := server.Open(t.Context(), cfg, server.Options{APIListener: listener})
	if err != nil {
		t.Fatal(err)
	}
	return n, listener.Addr().String()
}

func stopServer(t *testing.T, n *server.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Error(err)
	}
}

// notYet answers at the address of a server as one that is not ready: first it knows nobody, then it lets the page in but cannot give it
// rows. It returns when the page has left.
func notYet(t *testing.T, addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	refused, left := false, make(chan struct{}, 1)
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	front := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Headers", "*")
		switch {
		case r.Method == http.MethodOptions:
		case r.URL.Path != "/v1/ws" && !refused:
			refused = true // the page asks once at a time
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprint(w, `{"message":"not ready"}`) // a reader that leaves asks again
		case r.URL.Path != "/v1/ws":
			_, _ = fmt.Fprint(w, `{"access_token":"token"}`)
		default:
			ws, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() {
				select {
				case left <- struct{}{}:
				default: // it has come back already
				}
			}()
			for _, message := range []string{`{"type":"auth_success"}`, `{"type":"error","subscription_id":"rows","code":"SUBSCRIPTION_FAILED","message":"not ready"}`} {
				if _, _, err := ws.ReadMessage(); err != nil {
					t.Error(err)
				}
				if err := ws.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
					t.Error(err)
				}
			}
			_, _, _ = ws.ReadMessage() // until the page closes
			_ = ws.Close()             // as it wants
		}
	})}}
	front.Start()
	defer front.Close()
	select {
	case <-left:
	case <-time.After(30 * time.Second):
		t.Fatal("the page does not try again")
	}
}

// TestPage: the page follows inserts, updates and deletes, and goes on behind its cursor when the server comes back, also by way of a server that
// is not ready yet.
func TestPage(t *testing.T) {
	pages := httptest.NewServer(http.HandlerFunc(serve))
	defer pages.Close()
	b := startBrowser(t, pages.URL)
	dir := t.TempDir()
	addresses, err := loopback.Addresses(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	node, addr := startServer(t, dir, addresses[0], pages.URL)
	db, err := client.New(client.Config{URLs: []string{"http://" + addr}, User: "root", Password: password, Attempts: 20})
	if err != nil {
		t.Fatal(err)
	}
	sql := func(text string) {
		t.Helper()
		if _, err := db.Exec(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	eventually(t, "an account", func() bool { _, err := db.Exec(t.Context(), "CREATE NAMESPACE IF NOT EXISTS chat"); return err == nil })
	sql("CREATE TABLE chat.messages (id INT PRIMARY KEY, body TEXT) WITH (TYPE='SHARED')")
	sql("INSERT INTO chat.messages VALUES (1, 'one'), (2, 'two')")
	// The browser is there before the page is, with an empty one.
	eventually(t, "the page", func() bool {
		return b.run(`document.readyState === "complete" && document.querySelector("[data-testid=follow]") !== null`) == "true"
	})
	b.run(fmt.Sprintf(`field("server").value = "http://%s"; field("password").value = %q; `+
		`document.querySelector("[data-testid=follow]").click()`, addr, password))
	b.shows("Live: 1 one, 2 two")
	sql("INSERT INTO chat.messages VALUES (3, '<b>three</b>')")
	sql("UPDATE chat.messages SET body = NULL WHERE id = 1")
	sql("DELETE FROM chat.messages WHERE id = 2")
	b.shows("Live: 1 NULL, 3 <b>three</b>")
	stopServer(t, node)
	notYet(t, addr)
	node, _ = startServer(t, dir, addr, pages.URL)
	defer func() { stopServer(t, node) }()
	sql("INSERT INTO chat.messages VALUES (4, 'four')")
	sql("DELETE FROM chat.messages WHERE id = 3")
	b.shows("Live: 1 NULL, 4 four")
}
