package server

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestClosedConnectionStopsItsQuery leaves in the middle of a query that would run for hours.
func TestClosedConnectionStopsItsQuery(t *testing.T) {
	t.Parallel()
	n := openNode(t, testConfig(t.TempDir()), Options{})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	const slow = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 1000) " +
		"SELECT count(*) FROM r a CROSS JOIN r b CROSS JOIN r c CROSS JOIN r d"
	encoded, err := json.Marshal(map[string]any{"sql": slow})
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/api/sql", bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+c.token)
	done := make(chan error, 1)
	go func() {
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			err = answer.Body.Close()
		}
		done <- err
	}()
	running := func() bool {
		return strings.Contains(c.sql("SELECT count(*) FROM system.sessions WHERE last_method = 'WITH'"), `[["1"]]`)
	}
	for !running() {
		if t.Context().Err() != nil {
			t.Fatal("the query never ran")
		}
	}
	leave()
	left := time.Now()
	if err := <-done; err == nil {
		t.Error("the query was answered")
	}
	for running() {
		if time.Since(left) > 10*time.Second {
			t.Fatal("the query runs on without its client")
		}
	}
	t.Logf("stopped at most %s after the client left", time.Since(left))
}
