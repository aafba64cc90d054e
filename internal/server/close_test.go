package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk"
	"github.com/kalamdb/kalamdb-go/internal/storage/disk/faultfs"
	"github.com/kalamdb/kalamdb-go/test/underway"
)

// ending is a listener that says when it is closed, before it is.
type ending struct {
	net.Listener
	before func()
	again  atomic.Bool
}

func (e *ending) Close() error {
	if !e.again.Swap(true) {
		e.before()
	}
	return e.Listener.Close()
}

// halfway begins a statement, and returns when the node reads its body: then the request is under way. The function that it returns sends the rest
// and returns the answer.
func halfway(t *testing.T, c client, n *Node, sql string) (finish func() (int, string)) {
	t.Helper()
	request, err := underway.Statement(t.Context(), n.APIAddr(), c.token, fmt.Appendf(nil, `{"sql":%q}`, sql))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = request.Close() })
	return func() (int, string) {
		t.Helper()
		status, answer, err := request.Finish()
		if err != nil {
			t.Fatal(err)
		}
		return status, string(answer)
	}
}

// fresh sends a request on a connection of its own.
func fresh(ctx context.Context, method, url, token, body string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+token)
	wire := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: wire}).Do(request)
	if err != nil {
		return 0, "", err
	}
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, string(answer), errors.Join(err, response.Body.Close())
}

// TestCloseMovesLeadersFirst closes the node that leads everything, with a request under way. As long as its leaderships cannot move, because the
// others' disks stand still, it takes new connections and serves them. Its listener closes when others lead everything; the request that was
// under way is answered after that, with its change made.
func TestCloseMovesLeadersFirst(t *testing.T) {
	t.Parallel()
	second, third := newTroubled(), newTroubled()
	nodes := openClusterOn(t, [3]disk.FS{1: second, 2: third}, func(cfg *config.Config) { cfg.Raft.BalanceLeaders = false })
	waitReady(t, nodes...)
	closeNode(t, nodes[0])
	api := &ending{Listener: relisten(t, nodes[0].apiAddr)}
	atEnd := make(chan []shard.GroupID, 1)
	first := openNode(t, nodes[0].cfg, Options{APIListener: api, RPCListener: relisten(t, nodes[0].rpcAddr)})
	api.before = func() {
		var without []shard.GroupID
		for _, g := range first.who().Shards.Groups() {
			if leader := first.engine().Leader(g); leader == 0 || leader == first.self() {
				without = append(without, g)
			}
		}
		atEnd <- without
	}
	first.handOver = tooLong
	waitReady(t, first)
	c := login(t, first, "root", rootPassword)
	c.sql("CREATE NAMESPACE shop")
	c.sql("CREATE TABLE shop.t (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED')")
	groups := len(first.who().Shards.Groups())
	within(t, "the first node leads everything", func() bool {
		c.cluster("CLUSTER TRANSFER LEADER 1")
		return first.engine().LeaderCount() == groups
	})
	finish := halfway(t, c, first, "INSERT INTO shop.t VALUES (1)")

	still := make(chan struct{})
	for _, d := range []*troubled{second, third} {
		d.on("/log/", func() error { <-still; return nil }, faultfs.Write, faultfs.Sync)
	}
	closed := make(chan error, 1)
	go func() { closed <- first.Close(context.WithoutCancel(t.Context())) }()
	<-first.draining
	status, answer, err := fresh(t.Context(), http.MethodGet, c.url+"/readyz", "", "")
	if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(answer, "the node is shutting down") {
		t.Errorf("/readyz of a node that drains: %d %s, %v", status, answer, err)
	}
	status, answer, err = fresh(t.Context(), http.MethodPost, c.url+"/v1/api/sql", c.token, `{"sql":"SELECT count(*) FROM shop.t","read_level":"local"}`)
	if err != nil || status != http.StatusOK || !strings.Contains(answer, `[["0"]]`) {
		t.Errorf("a query of a node that drains: %d %s, %v", status, answer, err)
	}
	within(t, "the node has let go", func() bool { return first.engine().LeaderCount() == 0 })
	for range 300 { // many times as long as it takes to see that
		if _, _, err := fresh(t.Context(), http.MethodGet, c.url+"/livez", "", ""); err != nil {
			t.Fatalf("a node whose groups nobody leads: %v", err)
		}
	}
	if n := nodes[1].engine().LeaderCount() + nodes[2].engine().LeaderCount(); n > 0 {
		t.Errorf("the others lead %d groups although they cannot take over; the test shows nothing", n)
	}
	close(still)

	within(t, "the listener is closed", func() bool {
		_, _, err := fresh(t.Context(), http.MethodGet, c.url+"/livez", "", "")
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if without := <-atEnd; len(without) > 0 {
		t.Errorf("when the listener was closed nobody else led %v", without)
	}
	within(t, "the others lead everything", func() bool { return nodes[1].engine().LeaderCount()+nodes[2].engine().LeaderCount() == groups })
	select {
	case err := <-closed:
		t.Errorf("the node is closed, %v, with a request under way", err)
	default:
	}
	if status, answer := finish(); status != http.StatusOK {
		t.Errorf("the request that was under way is answered %d %s", status, answer)
	}
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
	if got := login(t, nodes[1], "root", rootPassword).grid("SELECT id FROM shop.t"); got != "1" {
		t.Errorf("rows afterwards: %q", got)
	}
}
