package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// follower is a client as the documentation asks for: it sends a request again when the answer allows that
// (409 of a conflict, 429, 503), or when the node was not there or went away before it answered; it goes to the
// next node then. Everything else that is not a success is a failure of the request.
type follower struct {
	client *client
	nodes  []*node
	at     int

	requests, retries, broken int // broken counts connections that ended without an answer
	worst                     time.Duration
	failures                  []string
}

// requestPatience is how long a follower tries one request.
const requestPatience = 10 * time.Second

// do runs one statement to its end. repeated says whether the statement may have run before: the answer to
// an INSERT that arrives a second time is that its key is taken.
func (f *follower) do(ctx context.Context, text string, params ...any) {
	f.requests++
	started := time.Now()
	unknown := false
	for attempt := 0; ; attempt++ {
		got, err := f.client.at(f.nodes[f.at%len(f.nodes)]).sql(ctx, text, params...)
		switch {
		case ctx.Err() != nil:
			return // the test ends
		case err == nil && (got.ok() || unknown && got.duplicate()):
			f.worst = max(f.worst, time.Since(started))
			return
		case err != nil && !wentAway(err), err == nil && !retryable(got):
			f.failures = append(f.failures, fmt.Sprintf("%s %v at %v, attempt %d: %v %v", text, params, f.nodes[f.at%len(f.nodes)], attempt+1, got, err))
			return
		case time.Since(started) > requestPatience:
			f.failures = append(f.failures, fmt.Sprintf("%s %v: not within %v: %v %v", text, params, requestPatience, got, err))
			return
		case err != nil && !errors.Is(err, syscall.ECONNREFUSED):
			f.broken++
			unknown = true
		}
		f.retries++
		f.at++
		timer := time.NewTimer(20 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// wentAway reports whether the node was not there, or went away before it answered.
func wentAway(err error) bool {
	var network *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network) ||
		strings.Contains(err.Error(), "server closed idle connection")
}

func retryable(got answer) bool {
	switch got.HTTP {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true
	case http.StatusConflict:
		return !got.duplicate()
	}
	return false
}

// TestRollingRestartFailsNoRequest restarts three nodes one after the other while clients read and write, as
// an upgrade does. A client that follows the retryable answers never sees a request fail.
func TestRollingRestartFailsNoRequest(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.ledger (id BIGINT PRIMARY KEY, note TEXT NOT NULL) WITH (TYPE = 'SHARED')")
	root.must(t, "CREATE TABLE app.diary (id BIGINT PRIMARY KEY, note TEXT NOT NULL) WITH (TYPE = 'USER')")
	root.must(t, "CREATE USER ann WITH PASSWORD 'password-of-ann' ROLE user")
	ann := c.nodes[0].login(t, "ann", "password-of-ann")

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	followers := make([]*follower, 8)
	for i := range followers {
		f := &follower{client: root, nodes: c.nodes, at: i}
		table := "app.ledger"
		if i%2 == 1 {
			f.client, table = ann, "app.diary"
		}
		followers[i] = f
		running.Go(func() {
			for id := int64(i) * idsPerWriter; ctx.Err() == nil; id++ {
				f.do(ctx, "INSERT INTO "+table+" (id, note) VALUES ($1, $2)", id, note(id))
				f.do(ctx, "SELECT note FROM "+table+" WHERE id = $1", id)
			}
		})
	}
	for _, n := range c.nodes {
		n.stop(t)
		n.start(t)
		n.waitReady(t)
	}
	cancel()
	running.Wait()

	requests, retries, broken, worst := 0, 0, 0, time.Duration(0)
	for i, f := range followers {
		requests, retries, broken, worst = requests+f.requests, retries+f.retries, broken+f.broken, max(worst, f.worst)
		for _, failure := range f.failures {
			t.Errorf("client %d: %s", i, failure)
		}
		if f.requests < 50 {
			t.Errorf("client %d made only %d requests", i, f.requests)
		}
	}
	t.Logf("%d requests, %d sent again, %d connections ended without an answer, slowest request %v",
		requests, retries, broken, worst.Round(time.Millisecond))
	// A draining node answers what it has accepted. Only a request that crosses the closing of an idle
	// connection goes unanswered.
	if broken > requests/100 {
		t.Errorf("%d of %d requests lost their connection", broken, requests)
	}
}
