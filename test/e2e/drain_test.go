package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"

	"github.com/kalamdb/kalamdb-go/test/underway"
)

// halfway begins a statement, and returns when the node reads its body: then the request is under way. The function that it returns sends the rest
// and returns the answer.
func (c *client) halfway(t *testing.T, n *node, text string) (finish func() answer) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"sql": text})
	if err != nil {
		t.Fatal(err)
	}
	request, err := underway.Statement(t.Context(), n.apiAddr, c.token, body)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = request.Close() })
	return func() answer {
		t.Helper()
		status, raw, err := request.Finish()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeAnswer(status, raw)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
}

// patient inserts rows, each once: only a code that says that nothing was done, and that it may be tried again, is no failure.
type patient struct {
	written  []int64
	failures []string
}

func (p *patient) run(ctx context.Context, c *client, first int64) {
	for id := first; ctx.Err() == nil; id++ {
		got, err := c.sql(ctx, "INSERT INTO app.ledger (id, note) VALUES ($1, 'w')", id)
		switch {
		case ctx.Err() != nil:
		case err == nil && got.ok():
			p.written = append(p.written, id)
		case err != nil || got.HTTP != http.StatusServiceUnavailable || got.Error == nil:
			p.failures = append(p.failures, fmt.Sprintf("%d: %v, %v", id, got, err))
		}
	}
}

// TestTerminatedNodeHandsOverFirst sends SIGTERM to the node that leads everything, with requests under way there and writers at the other nodes. The node refuses
// connections, and by then the others lead everything: the requests that are under way hold up whatever it does after that. They are answered, with their rows
// written, the process ends with 0, and no writer has met anything but answers, and codes that say to try again.
func TestTerminatedNodeHandsOverFirst(t *testing.T) {
	c := startCluster(t, settings{"raft.balance_leaders": false, "server.shutdown_timeout_ms": 60_000, "cluster.user_shards": 4})
	ends := c.nodes[0]
	root := ends.root(t)
	root.soon(t, "CREATE NAMESPACE app")
	root.soon(t, "CREATE TABLE app.ledger (id BIGINT PRIMARY KEY, note TEXT NOT NULL) WITH (TYPE = 'SHARED')")
	root.soon(t, "CREATE TABLE app.diary (id BIGINT PRIMARY KEY, note TEXT NOT NULL) WITH (TYPE = 'USER')")
	leads := func(at *node, all bool) func() error {
		return func() error {
			groups, err := root.at(at).groups(t)
			if err != nil {
				return err
			}
			for id, g := range groups {
				if g.leader <= 0 || all != (g.leader == int64(ends.id)) {
					return fmt.Errorf("group %d is led by %d", id, g.leader)
				}
			}
			return nil
		}
	}
	eventually(t, "the node leads everything", func() error {
		root.soon(t, fmt.Sprintf("CLUSTER TRANSFER LEADER %d", ends.id))
		return leads(ends, true)()
	})

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	writers := make([]patient, 4)
	for i := range writers {
		at := root.at(c.others(ends)[i%2])
		running.Go(func() { writers[i].run(ctx, at, int64(i+1)*idsPerWriter) })
	}
	finish := []func() answer{
		root.halfway(t, ends, "INSERT INTO app.ledger (id, note) VALUES (1, 'under way')"),
		root.halfway(t, ends, "INSERT INTO app.diary (id, note) VALUES (1, 'under way')"),
		root.halfway(t, ends, "SELECT count(*) FROM app.ledger WHERE id = 0"),
	}
	ends.signal(t, syscall.SIGTERM)
	eventually(t, "the node refuses connections", func() error {
		conn, err := net.Dial("tcp", ends.apiAddr)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		if err == nil {
			_ = conn.Close()
		}
		return fmt.Errorf("a connection: %w", err)
	})
	for _, other := range c.others(ends) {
		eventually(t, fmt.Sprintf("the others lead everything, as %v sees it", other), leads(other, false))
	}
	if !ends.running() {
		t.Fatalf("the process has not waited for what is under way\n%s", ends.log())
	}
	for _, answered := range finish {
		if got := answered(); !got.ok() {
			t.Errorf("a request that was under way: %v", got)
		}
	}
	ends.waitEnd(t)
	if code := ends.process.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the process ends with %d\n%s", code, ends.log())
	}
	cancel()
	running.Wait()

	root = root.at(c.nodes[1])
	for _, table := range []string{"ledger", "diary"} {
		if got := root.number(t, "SELECT count(*) FROM app."+table+" WHERE note = 'under way'"); got != 1 {
			t.Errorf("%d rows of app.%s were under way", got, table)
		}
	}
	for i := range writers {
		w := &writers[i]
		if len(w.failures) > 0 || len(w.written) == 0 {
			t.Errorf("writer %d has written %d rows, and failed: %v", i, len(w.written), w.failures)
		}
		first := int64(i+1) * idsPerWriter
		if got := root.number(t, "SELECT count(*) FROM app.ledger WHERE id >= $1 AND id < $2", first, first+idsPerWriter); got < int64(len(w.written)) {
			t.Errorf("writer %d: %d rows are there, and %d were acknowledged", i, got, len(w.written))
		}
	}
}
