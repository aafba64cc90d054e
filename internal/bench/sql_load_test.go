package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSQLLoad: each client sends its requests one after the other, goes where an answer points, and measures every answer.
func TestSQLLoad(t *testing.T) {
	t.Parallel()
	const clients, first = 3, 70
	for name, load := range map[string]func() (sqlLoad, error){
		"of this system": func() (sqlLoad, error) { return newSQLLoad(clients) },
		"of goroutines":  func() (sqlLoad, error) { return &sqlGoroutines{}, nil },
	} {
		var mu sync.Mutex // guards asked and broken
		var broken []string
		asked, leader := make([]int, clients), ""
		ctx, enough := context.WithCancel(t.Context())
		defer enough()
		serve := func(leads bool) *httptest.Server {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				var client, n int
				_, err := fmt.Sscanf(string(body), "%d %d", &client, &n)
				mu.Lock()
				defer mu.Unlock()
				if err != nil || n != first+asked[client] || leads != (asked[client] > 0) {
					broken = append(broken, fmt.Sprintf("%q after %d at the leader: %v", body, asked[client], leads))
				}
				if asked[client]++; slices.Min(asked) == 5 {
					enough()
				}
				if !leads {
					w.Header().Set("X-Leader", "http://"+leader)
				}
				w.Header().Set("Content-Length", "5000") // more than is read at once
				_, _ = io.WriteString(w, strings.Repeat("x", 5000))
			}))
			t.Cleanup(s.Close)
			return s
		}
		leader = serve(true).Listener.Addr().String()
		other := serve(false).Listener.Addr().String()
		asks := sqlAsks{
			request: func(client, n int) string { return fmt.Sprint(client, n) },
			dial:    func(api string) (*sqlConnection, error) { return dialSQL(t.Context(), api, "token", true) },
		}
		l, err := load()
		for i := 0; i < clients && err == nil; i++ {
			var connection *sqlConnection
			if connection, err = asks.dial(other); err == nil {
				err = l.add(connection)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		took, err := l.run(ctx, time.Hour, first, asks)
		if !errors.Is(err, context.Canceled) || err.Error() != context.Canceled.Error() {
			t.Fatalf("%s: %v", name, err)
		}
		if err = l.close(); err != nil {
			t.Error(err)
		}
		mu.Lock()
		for i := range took {
			if len(took[i]) != asked[i] || asked[i] < 5 {
				t.Errorf("%s: client %d measured %d of %d answers", name, i, len(took[i]), asked[i])
			}
		}
		if len(broken) > 0 {
			t.Errorf("%s: %q", name, broken)
		}
		mu.Unlock()
	}
}

func TestCutAnswer(t *testing.T) {
	t.Parallel()
	const whole = "HTTP/1.1 200 OK\r\nX-Leader: http://a:1\r\ncontent-length: 3\r\n\r\nabc"
	for i := range len(whole) {
		if _, size, err := cutAnswer([]byte(whole[:i])); size != 0 || err != nil {
			t.Fatalf("%q: %d, %v", whole[:i], size, err)
		}
	}
	for text, want := range map[string]sqlAnswer{
		whole: {"200", "a:1", 3}, whole + "d": {"200", "a:1", 3}, "HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n": {"503", "", 0},
	} {
		if got, size, err := cutAnswer([]byte(text)); got != want || size != len(strings.TrimSuffix(text, "d")) || err != nil {
			t.Errorf("%q: %+v, %d, %v", text, got, size, err)
		}
	}
	for _, text := range []string{"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n"} {
		if _, size, err := cutAnswer([]byte(text)); err == nil {
			t.Errorf("%q is an answer of %d bytes", text, size)
		}
	}
}
