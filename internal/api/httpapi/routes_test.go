package httpapi_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/api/httpapi"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, path := range []string{"/", "/v1/api", "/v1/api/sql/", "/V1/api/sql", "/v1/api/../api/sql", "/favicon.ico"} {
		if got := readPlain(t, w.get(path, nil)); got.status != http.StatusNotFound || got.code != "NOT_FOUND" {
			t.Errorf("%s: %+v", path, got)
		}
	}
	for path, method := range map[string]string{
		"/v1/api/sql": http.MethodGet, "/health": http.MethodPost, "/v1/api/auth/login": http.MethodPut, "/metrics": http.MethodDelete,
		"/v1/api/auth/me": http.MethodOptions,
	} {
		answer := w.do(httptest.NewRequest(method, path, nil))
		if got := readPlain(t, answer); got.status != http.StatusMethodNotAllowed || got.code != "METHOD_NOT_ALLOWED" ||
			answer.Header().Get("Allow") == "" {
			t.Errorf("%s %s: %+v", method, path, got)
		}
	}
}

func TestLoopbackOnlyRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, path := range []string{"/health", "/v1/api/healthcheck", "/v1/api/cluster/health", "/metrics"} {
		for _, address := range []string{local, "[::1]:9", "[::ffff:127.0.0.1]:9"} {
			if answer := w.get(path, from(address)); answer.Code != http.StatusOK {
				t.Errorf("%s from %s: %d", path, address, answer.Code)
			}
		}
		for _, address := range []string{remote, "[2001:db8::1]:9", "not an address"} {
			// No header makes a peer local.
			answer := w.get(path, func(r *http.Request) {
				r.RemoteAddr = address
				r.Header.Set("X-Forwarded-For", "127.0.0.1")
				r.Header.Set("X-Real-IP", "127.0.0.1")
				r.Host = "localhost"
			})
			if got := readPlain(t, answer); got.status != http.StatusForbidden || got.code != "forbidden" {
				t.Errorf("%s from %s: %+v", path, address, got)
			}
		}
	}
	open := newWorld(t, func(c *config.Config) { c.Server.ExposeMetricsRemotely = true })
	if answer := open.get("/metrics", from(remote)); answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), "kalamdb_build_info") {
		t.Errorf("exposed metrics: %d", answer.Code)
	}
}

func TestHealthAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	wantGolden(t, "health", w.get("/health", nil))
	term, lag, hostname := uint64(7), uint64(0), "db1"
	w.health.cluster = httpapi.ClusterHealth{
		Status: httpapi.StatusDegraded, IsClusterMode: true, ClusterID: "prod", NodeID: 1, IsLeader: true,
		TotalGroups: 34, GroupsLeading: 12, CurrentTerm: &term,
		Nodes: []httpapi.NodeHealth{{
			NodeID: 1, Role: "leader", Status: "active", APIAddr: "http://db1:8080", IsSelf: true, IsLeader: true,
			ReplicationLag: &lag, Hostname: &hostname,
		}},
	}
	wantGolden(t, "cluster_health", w.get("/v1/api/cluster/health", nil))
	w.health.cluster = httpapi.ClusterHealth{Status: httpapi.StatusHealthy}
	wantGolden(t, "cluster_health_standalone", w.get("/v1/api/cluster/health", nil))
	w.health.err = errors.New("no answer")
	if got := readPlain(t, w.get("/v1/api/cluster/health", nil)); got.status != http.StatusInternalServerError {
		t.Errorf("failed cluster health: %+v", got)
	}
	w.health.err = fault.New(fault.Unavailable, "not yet")
	if got := readPlain(t, w.get("/v1/api/cluster/health", nil)); got.status != http.StatusServiceUnavailable {
		t.Errorf("unavailable cluster health: %+v", got)
	}
}

// TestReadinessTellsReasons: a node that lags or has no leader takes itself out of the balancer.
func TestReadinessTellsReasons(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	if answer := w.get("/readyz", nil); answer.Code != http.StatusOK || answer.Body.String() != `{"ready":true}` {
		t.Errorf("ready: %d %s", answer.Code, answer.Body)
	}
	w.health.ready = httpapi.Readiness{
		Reasons: []httpapi.NotReady{{GroupID: 10, Reason: "no leader"}, {Reason: "draining"}},
		Groups:  &httpapi.GroupCount{Total: 34, Ready: 33},
	}
	answer := w.get("/readyz", nil)
	if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" {
		t.Errorf("not ready: %d", answer.Code)
	}
	wantGolden(t, "not_ready", answer)
	if answer := w.get("/readyz", from(remote)); answer.Code != http.StatusServiceUnavailable || answer.Body.String() != `{"ready":false}` {
		t.Errorf("not ready, seen from elsewhere: %d %s", answer.Code, answer.Body)
	}
	if answer := w.get("/livez", from(remote)); answer.Code != http.StatusOK {
		t.Errorf("alive: %d", answer.Code)
	}
}

func TestRequestRateOfOneAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) {
		c.RateLimit.MaxRequestsPerIP = 2
		c.Security.TrustedProxyRanges = []string{"203.0.113.0/24"}
	})
	forwardedFor := func(chain string) func(*http.Request) {
		return func(r *http.Request) {
			r.RemoteAddr = remote
			r.Header.Set("X-Forwarded-For", chain)
		}
	}
	for range 2 {
		w.get("/livez", forwardedFor("198.51.100.1"))
	}
	answer := w.get("/livez", forwardedFor("1.1.1.1, 198.51.100.1, 203.0.113.9"))
	if got := readPlain(t, answer); got.status != http.StatusTooManyRequests || got.code != "RATE_LIMIT_EXCEEDED" || answer.Header().Get("Retry-After") != "1" {
		t.Errorf("third request: %+v", got)
	}
	if answer := w.get("/livez", forwardedFor("198.51.100.2")); answer.Code != http.StatusOK {
		t.Errorf("another client of the proxy: %d", answer.Code)
	}
	for range 10 {
		if answer := w.get("/livez", from(local)); answer.Code != http.StatusOK {
			t.Errorf("this machine: %d", answer.Code)
		}
	}
	// A proxy cannot make its clients local.
	for i := range 3 {
		answer := w.get("/livez", func(r *http.Request) {
			forwardedFor("127.0.0.1")(r)
			r.Header.Set("X-Real-IP", "127.0.0.1")
		})
		if want := i == 2; (answer.Code == http.StatusTooManyRequests) != want {
			t.Errorf("request %d with a forged loopback: %d", i+1, answer.Code)
		}
	}
	w.clock.Advance(time.Second)
	if answer := w.get("/livez", forwardedFor("198.51.100.1")); answer.Code != http.StatusOK {
		t.Errorf("after a second: %d", answer.Code)
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) {
		c.Security.CORS.AllowedOrigins = []string{"https://app.example.com"}
		c.Security.CORS.AllowCredentials = true
		c.Security.CORS.ExposeHeaders = []string{"X-Request-ID"}
	})
	preflight := func(origin string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodOptions, "/v1/api/sql", nil)
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", "POST")
		return w.do(r)
	}
	header := preflight("https://app.example.com").Header()
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Credentials": "true",
		"Access-Control-Allow-Methods": "GET, POST, OPTIONS", "Access-Control-Max-Age": "3600",
		"Access-Control-Allow-Headers": "Authorization, Content-Type, X-Request-ID, X-Transaction-ID, Idempotency-Key, Idempotency-Age", "Vary": "Origin",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if got := preflight("https://evil.example.com"); got.Code != http.StatusNoContent || got.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: %d %v", got.Code, got.Header())
	}
	token := w.addUser("alice", session.RoleUser)
	answer := w.post("/v1/api/sql", oneStatement, func(r *http.Request) {
		withToken(token)(r)
		r.Header.Set("Origin", "https://app.example.com")
	})
	if answer.Code != http.StatusOK || answer.Header().Get("Access-Control-Allow-Origin") != "https://app.example.com" ||
		answer.Header().Get("Access-Control-Expose-Headers") != "X-Request-ID" {
		t.Errorf("query: %d %v", answer.Code, answer.Header())
	}
	everyone := newWorld(t, func(c *config.Config) {
		c.Security.CORS.AllowedOrigins, c.Security.CORS.AllowedHeaders = []string{"*"}, []string{"*"}
		c.Security.CORS.AllowPrivateNetwork = true
	})
	r := httptest.NewRequest(http.MethodOptions, "/v1/api/sql", nil)
	r.Header.Set("Origin", "https://any.example.com")
	r.Header.Set("Access-Control-Request-Method", "POST")
	r.Header.Set("Access-Control-Request-Headers", "x-custom")
	r.Header.Set("Access-Control-Request-Private-Network", "true")
	got := everyone.do(r).Header()
	if got.Get("Access-Control-Allow-Origin") != "*" || got.Get("Access-Control-Allow-Headers") != "x-custom" ||
		got.Get("Access-Control-Allow-Credentials") != "" || got.Get("Access-Control-Allow-Private-Network") != "true" {
		t.Errorf("everyone: %v", got)
	}
	if got := newWorld(t, nil).get("/livez", func(r *http.Request) { r.Header.Set("Origin", "https://x.example.com") }); got.Header().Get("Vary") != "" {
		t.Errorf("without configuration: %v", got.Header())
	}
}

func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.post("/v1/api/sql", oneStatement, nil)
	w.get("/no/such/path/7", nil)
	page := w.get("/metrics", nil).Body.String()
	for _, want := range []string{
		`kalamdb_http_requests_total{route="/v1/api/sql",status="401"} 1`,
		`kalamdb_http_requests_total{route="unknown",status="404"} 1`,
		`kalamdb_http_request_seconds_count{route="/v1/api/sql"} 1`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(page, "/no/such/path") {
		t.Error("a path chosen by a client became a label")
	}
}
