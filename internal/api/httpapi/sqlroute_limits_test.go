package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

func TestOversizedBodyIs413WhetherAnnouncedOrNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) {
		c.RateLimit.RequestBodyLimitBytes, c.Limits.MaxSQLBytes = 2048, 1024
	})
	token := w.addUser("alice", session.RoleUser)
	large := `{"sql":"` + strings.Repeat("x", 4096) + `"}`
	announced := w.query(token, large)
	streamed := w.post("/v1/api/sql", large, func(r *http.Request) {
		withToken(token)(r)
		r.ContentLength = -1
	})
	for name, answer := range map[string]*httptest.ResponseRecorder{"announced": announced, "streamed": streamed} {
		if got := readPlain(t, answer); got.status != http.StatusRequestEntityTooLarge || got.code != "PAYLOAD_TOO_LARGE" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if w.sql.calls != 0 {
		t.Error("an oversized body was executed")
	}
}

// TestBoundsOfParamsCountTheirText: how JSON escapes a text does not count.
func TestBoundsOfParamsCountTheirText(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.Limits.MaxParamBytes = 1024 })
	token := w.addUser("alice", session.RoleUser)
	for name, param := range map[string]string{
		"plain": strings.Repeat("x", 1024), "escaped": strings.Repeat(`\n`, 1024), "pairs": strings.Repeat(`\ud83d\ude00`, 256),
	} {
		if answer := w.query(token, `{"sql":"x","params":["`+param+`"]}`); answer.Code != http.StatusOK {
			t.Errorf("%s: %d %s", name, answer.Code, answer.Body)
		}
	}
}

func TestQueryRateOfOneUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.RateLimit.MaxQueriesPerSec = 3 })
	alice, bob := w.addUser("alice", session.RoleUser), w.addUser("bob", session.RoleUser)
	for range 3 {
		if answer := w.query(alice, oneStatement); answer.Code != http.StatusOK {
			t.Fatalf("%d %s", answer.Code, answer.Body)
		}
	}
	answer := w.query(alice, oneStatement)
	if got := readFailure(t, answer); got.status != http.StatusTooManyRequests || got.code != "RATE_LIMIT_EXCEEDED" ||
		answer.Header().Get("Retry-After") != "1" {
		t.Errorf("fourth query: %+v, Retry-After %q", got, answer.Header().Get("Retry-After"))
	}
	if answer := w.query(bob, oneStatement); answer.Code != http.StatusOK {
		t.Errorf("another user: %d %s", answer.Code, answer.Body)
	}
	w.clock.Advance(334 * time.Millisecond)
	if answer := w.query(alice, oneStatement); answer.Code != http.StatusOK {
		t.Errorf("after the wait: %d %s", answer.Code, answer.Body)
	}
}

// TestOneUserLeavesRoomForOthers fills what one user may take of a node, on which another user's query still runs.
func TestOneUserLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	const each = 3
	w := newWorld(t, func(c *config.Config) {
		c.RateLimit.MaxConcurrentQueries, c.RateLimit.MaxConcurrentPerUser = 2*each, each
	})
	alice, bob := w.addUser("alice", session.RoleUser), w.addUser("bob", session.RoleUser)
	entered, release := make(chan struct{}), make(chan struct{})
	w.sql.work = func(context.Context) { entered <- struct{}{}; <-release }
	codes := make(chan int, 2*each)
	for range each {
		go func() { codes <- w.query(alice, oneStatement).Code }()
		<-entered
	}
	answer := w.query(alice, oneStatement)
	if got := readFailure(t, answer); got.status != http.StatusTooManyRequests || got.code != "RATE_LIMIT_EXCEEDED" ||
		answer.Header().Get("Retry-After") != "1" || !strings.Contains(got.message, "of this user are under way") {
		t.Errorf("one more query of alice: %+v", got)
	}
	go func() { codes <- w.query(bob, oneStatement).Code }()
	<-entered
	close(release)
	for range each + 1 {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("a query ended with %d", code)
		}
	}
	w.sql.work = nil
	if answer := w.query(alice, oneStatement); answer.Code != http.StatusOK {
		t.Errorf("afterwards: %d", answer.Code)
	}
}

func TestConcurrentQueriesAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.RateLimit.MaxConcurrentQueries = 1 })
	token := w.addUser("alice", session.RoleUser)
	entered, release := make(chan struct{}), make(chan struct{})
	w.sql.work = func(context.Context) { close(entered); <-release }
	first := make(chan int)
	go func() { first <- w.query(token, oneStatement).Code }()
	<-entered
	answer := w.query(token, oneStatement)
	if got := readFailure(t, answer); got.status != http.StatusServiceUnavailable || got.code != "CLUSTER_UNAVAILABLE" ||
		answer.Header().Get("Retry-After") == "" {
		t.Errorf("second query: %+v", got)
	}
	close(release)
	if code := <-first; code != http.StatusOK {
		t.Errorf("first query: %d", code)
	}
	w.sql.work = nil
	if answer := w.query(token, oneStatement); answer.Code != http.StatusOK {
		t.Errorf("afterwards: %d", answer.Code)
	}
}
