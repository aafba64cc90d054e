package server

import (
	"net/http"
	"testing"
	"time"
)

// TestNobodyIsWrongTooEarly: as long as a new node has not made the account of root, a correct password is answered
// with "try again", never with "wrong".
func TestNobodyIsWrongTooEarly(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	cfg.RateLimit.MaxAuthRequestsPerIP = 0
	n := openNode(t, cfg, Options{})
	c := client{t: t, url: "http://" + n.APIAddr()}
	deadline := time.Now().Add(tooLong)
	for {
		status, body := c.post("/v1/api/auth/login", map[string]any{"user": "root", "password": rootPassword})
		switch {
		case status == http.StatusOK:
			return
		case status != http.StatusServiceUnavailable || time.Now().After(deadline):
			t.Fatalf("login: %d %s", status, body)
		}
	}
}
