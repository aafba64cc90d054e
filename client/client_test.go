package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/client"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/loopback"
	"github.com/kalamdb/kalamdb-go/internal/server"
)

const password = "correct horse battery"

// node is a standalone server in this process that can be stopped and started at the same address.
type node struct {
	t    *testing.T
	dir  string
	addr string
	node *server.Node
}

func start(t *testing.T) *node {
	t.Helper()
	addresses, err := loopback.Addresses(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, dir: t.TempDir(), addr: addresses[0]}
	n.open()
	t.Cleanup(n.close)
	return n
}

func (n *node) open() {
	n.t.Helper()
	listener, err := net.Listen("tcp", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.addr = listener.Addr().String()
	cfg := config.Default()
	cfg.Storage.DataPath = n.dir
	cfg.Auth.RootPassword, cfg.Auth.BcryptCost = password, 4
	cfg.RateLimit.MaxAuthRequestsPerIP = 0
	cfg.Raft.LogSegmentBytes = 1 << 20
	if n.node, err = server.Open(n.t.Context(), cfg, server.Options{APIListener: listener}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.node.Close(ctx); err != nil {
		n.t.Error(err)
	}
}

// connect returns a client that also knows an address at which nobody answers.
func (n *node) connect() *client.Client {
	n.t.Helper()
	c, err := client.New(client.Config{
		URLs: []string{"http://127.0.0.1:1", "http://" + n.addr}, User: "root", Password: password, Attempts: 20,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, err = c.Exec(n.t.Context(), "CREATE NAMESPACE IF NOT EXISTS app"); err == nil {
			return c
		}
		if time.Now().After(deadline) {
			n.t.Fatal(err)
		}
	}
}

func exec(t *testing.T, c *client.Client, sql string, params ...any) {
	t.Helper()
	if _, err := c.Exec(t.Context(), sql, params...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// next prints the next event: its kind and the ids of its rows.
func next(t *testing.T, s *client.Subscription) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	event, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	text := string(event.Kind)
	rows := event.Rows
	if len(rows) == 0 {
		rows = event.OldValues
	}
	var ids strings.Builder
	for _, row := range rows {
		fmt.Fprint(&ids, " ", row["id"])
	}
	return text + ids.String()
}

func expect(t *testing.T, s *client.Subscription, want ...string) {
	t.Helper()
	var got []string
	for range want {
		got = append(got, next(t, s))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("events (-want +got):\n%s", diff)
	}
}

func TestRefusals(t *testing.T) {
	n := start(t)
	c := n.connect()
	var refused *client.Error
	if _, err := c.Exec(t.Context(), "SELEC 1"); !errors.As(err, &refused) || refused.Status != http.StatusBadRequest {
		t.Errorf("a syntax error: %v", err)
	}
	live := c.Subscribe(client.Live{SQL: "SELECT * FROM app.nothing"})
	defer live.Close()
	if _, err := live.Next(t.Context()); !errors.As(err, &refused) || refused.Code != "NOT_FOUND" {
		t.Errorf("a table that is not there: %v", err)
	}
	wrong, err := client.New(client.Config{URLs: []string{"http://" + n.addr}, User: "root", Password: "wrong"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.Exec(t.Context(), "SELECT 1"); !errors.Is(err, client.ErrUnauthorized) {
		t.Errorf("a wrong password: %v", err)
	}
	for _, bad := range []client.Config{{}, {URLs: []string{"nonsense"}, User: "u"}, {URLs: []string{"http://x"}}} {
		if _, err := client.New(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// TestLostAnswer: what may have run and cannot be recognised is not run again; what only reads is, what the server
// refused to start is too, and a change is sent again under its key.
func TestLostAnswer(t *testing.T) {
	var mu sync.Mutex // guards what the server saw
	calls := 0
	var keys, ages []string
	seen := func() int {
		mu.Lock()
		defer mu.Unlock()
		return calls
	}
	begin := func(from int) {
		mu.Lock()
		defer mu.Unlock()
		calls, keys, ages = from, nil, nil
	}
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		calls++
		number := calls
		keys, ages = append(keys, r.Header.Get("Idempotency-Key")), append(ages, r.Header.Get("Idempotency-Age"))
		mu.Unlock()
		switch number {
		case 1, 2:
			panic(http.ErrAbortHandler) // the connection breaks
		case 3:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"status":"error","error":{"code":"NOT_LEADER","message":"later"}}`))
		default:
			_, _ = w.Write([]byte(`{"status":"success","results":[{"row_count":1}]}`))
		}
	}))
	defer fake.Close()
	c, err := client.New(client.Config{URLs: []string{fake.URL}, Token: "t", Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "CREATE NAMESPACE n"); !errors.Is(err, client.ErrOutcomeUnknown) || seen() != 1 {
		t.Errorf("a CREATE whose answer was lost: %v after %d calls", err, seen())
	}
	if _, err := c.Exec(t.Context(), "SELECT 1"); err != nil || seen() != 4 {
		t.Errorf("a SELECT: %v after %d calls", err, seen())
	}
	begin(0)
	if _, err := c.Exec(t.Context(), "INSERT INTO t VALUES (1)"); err != nil || seen() != 4 {
		t.Errorf("an INSERT whose answer was lost: %v after %d calls", err, seen())
	}
	for i := range keys {
		if keys[i] == "" || keys[i] != keys[0] || (ages[i] == "") != (i == 0) {
			t.Fatalf("keys %q and ages %q of one INSERT", keys, ages)
		}
	}
	first := keys[0]
	begin(2)
	if _, err := c.Exec(t.Context(), "INSERT INTO t VALUES (1)"); err != nil || seen() != 4 {
		t.Errorf("an INSERT that was refused once: %v after %d calls", err, seen())
	}
	if keys[0] == first {
		t.Errorf("two statements have the key %q", first)
	}
	begin(0)
	if _, err := c.Exec(t.Context(), "WITH gone AS (DELETE FROM t WHERE id = 1 RETURNING *) INSERT INTO u SELECT * FROM gone"); err != nil || seen() != 4 {
		t.Errorf("changes within WITH whose answer was lost: %v after %d calls", err, seen())
	}
	if keys[0] == "" || slices.ContainsFunc(keys, func(key string) bool { return key != keys[0] }) {
		t.Errorf("changes within WITH have the keys %q", keys)
	}
}

// TestResumeOverARestart: the server goes away and comes back; the subscription misses nothing.
func TestResumeOverARestart(t *testing.T) {
	n := start(t)
	c := n.connect()
	exec(t, c, "CREATE TABLE app.t (id BIGINT PRIMARY KEY, body TEXT) WITH (TYPE='USER')")
	exec(t, c, "INSERT INTO app.t VALUES ($1, $2)", 1, "one")
	exec(t, c, "INSERT INTO app.t VALUES (2, 'two'), (3, 'three')")
	live := c.Subscribe(client.Live{SQL: "SELECT * FROM app.t", BatchSize: 2})
	defer live.Close()
	expect(t, live, "rows 1 2", "rows 3", "ready")
	exec(t, c, "UPDATE app.t SET body = 'uno' WHERE id = 1")
	expect(t, live, "update 1")
	n.close()
	n.open()
	exec(t, c, "INSERT INTO app.t VALUES (4, 'four')")
	exec(t, c, "DELETE FROM app.t WHERE id = 2")
	expect(t, live, "rows 4", "ready", "delete 2")
	result, err := c.Query(t.Context(), "SELECT id FROM app.t ORDER BY id")
	if err != nil || len(result.Rows) != 3 || result.Rows[2][0] != "4" {
		t.Errorf("%+v, %v", result, err)
	}
	other := c.Subscribe(client.Live{SQL: "SELECT * FROM app.t", From: new(live.Cursor() + 1<<40)})
	defer other.Close()
	expect(t, other, "reset", "rows 3 1 4", "ready")
}

// TestCutOfTwoTables: while money moves between two tables, every cut holds all of it, also over a restart of the server,
// and what comes behind it is applied to the end.
func TestCutOfTwoTables(t *testing.T) {
	n := start(t)
	c := n.connect()
	for _, name := range []string{"a", "b"} {
		exec(t, c, "CREATE TABLE app."+name+" (id BIGINT PRIMARY KEY, n BIGINT) WITH (TYPE='USER')")
		exec(t, c, "INSERT INTO app."+name+" VALUES (1, 50), (2, 50), (3, 50)")
	}
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			err := c.Transact(t.Context(), func(tx *client.Tx) error {
				_, failed := tx.Exec(t.Context(), "UPDATE app.a SET n = n - $1 WHERE id = $2", i%7, i%3+1)
				_, failed2 := tx.Exec(t.Context(), "UPDATE app.b SET n = n + $1 WHERE id = $2", i%7, i%2+1)
				return errors.Join(failed, failed2)
			})
			if err != nil && !errors.Is(err, client.ErrOutcomeUnknown) {
				t.Log(err) // the server is away for a while
			}
		}
	})
	live := c.SubscribeAll(
		client.Live{SQL: "SELECT id, n FROM app.a", BatchSize: 2}, client.Live{SQL: "SELECT id, n FROM app.b", BatchSize: 2},
		client.Live{SQL: "SELECT SUM(n) AS total FROM app.a"},
	)
	defer live.Close()
	views := []*client.View{client.NewView("id"), client.NewView("id"), client.NewView()}
	sum := func(query int, column string) (total int64) {
		for _, row := range views[query].Rows() {
			n, err := strconv.ParseInt(fmt.Sprint(row[column]), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			total += n
		}
		return total
	}
	for cuts, events := 0, 0; cuts < 2 || events < 200; {
		event, err := live.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if event.Kind != client.Cut {
			if err = views[event.Query].Apply(event); err != nil {
				t.Fatal(err)
			}
			if events++; events == 100 {
				n.close()
				n.open()
			}
			continue
		}
		cuts++
		if a, b, total := sum(0, "n"), sum(1, "n"), sum(2, "total"); a+b != 300 || total != a {
			t.Errorf("cut %d: %d and %d, sum %d", cuts, a, b, total)
		}
	}
	stop()
	writing.Wait()
}
