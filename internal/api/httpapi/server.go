// Package httpapi is the HTTP surface of a node: SQL, sessions, health and metrics.
//
// Server decodes and limits requests, authenticates their callers and hands them to the engine; it turns
// outcomes into the envelopes, statuses and codes that clients know. It decides nothing about data. What
// always holds:
//
//   - Every answer is JSON of a documented shape, also for unknown paths and broken bodies.
//   - Every failure goes through one table (failures.go) that maps its kind to a status, a code and who
//     may read its message.
//   - A failure that may be retried without running twice says so with Retry-After; one whose outcome is
//     unknown (504) never does.
//   - Whether a peer is on this machine is decided by its TCP address alone, never by a header.
//
// It is an http.Server for HTTP/1.1 and cleartext HTTP/2 on one port, behind package steady, which answers connections that send usual requests
// of the SQL route and nothing else. Rows are rendered without reflection
// into pooled buffers. An answer of up to 64 KiB is complete before its first byte is sent. Of a longer one, of a request that is
// one query, the rows are sent as they are produced; a failure after the status of success cuts the connection, so that no
// client takes a part of the rows for all of them.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/api/ratelimit"
	"github.com/kalamdb/kalamdb-go/internal/api/steady"
	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/metrics"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// SQL runs statements. Its errors carry a fault.Kind or are internal.
type SQL interface {
	Execute(ctx context.Context, request exec.Request) (*exec.Response, error)
}

// Authenticator proves who callers are. Refusals are *auth.Error; other errors carry a fault.Kind or are
// internal.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (auth.Identity, error)
	Login(ctx context.Context, user ident.UserID, password string) (auth.Grant, error)
	Refresh(ctx context.Context, token string) (auth.Grant, error)
	Logout(ctx context.Context, tokens ...string) error
	Setup(ctx context.Context, request auth.SetupRequest) (auth.User, error)
	NeedsSetup(ctx context.Context) (bool, error)
}

// Config is what a Server needs.
type Config struct {
	Settings *config.Config    // required
	SQL      SQL               // required
	Auth     Authenticator     // required
	Health   Health            // required
	Metrics  *metrics.Registry // required
	Logger   *slog.Logger      // required
	Clock    clock.Clock       // required
	Live     http.Handler      // serves GET /v1/ws and /v1/events; nil when there are no live queries
	Exports  Exports           // serves GET /v1/exports/{user}/{export}; nil when there are none
	Build    Build
}

// Build says which program answers.
type Build struct {
	Version string
	Date    string
}

// Server answers clients. Make one with New, start it with Serve.
type Server struct {
	config       Config
	http         *http.Server
	steady       *steady.Front  // answers usual requests of SQL before net/http sees them
	proxies      []netip.Prefix // peers whose forwarding headers count, beside loopback
	origins      *http.CrossOriginProtection
	queries      *ratelimit.Limiter
	logins       *ratelimit.Limiter
	requests     *ratelimit.Limiter
	running      *ratelimit.Gate
	downloads    *ratelimit.Gate
	connections  *ratelimit.Gate
	buffers      bufferPool
	measurements measurements
}

// New builds a server that is not listening yet.
func New(cfg Config) (*Server, error) {
	if cfg.Settings == nil || cfg.SQL == nil || cfg.Auth == nil || cfg.Health == nil ||
		cfg.Metrics == nil || cfg.Logger == nil || cfg.Clock == nil {
		return nil, errors.New("httpapi: a required part is missing")
	}
	rates := cfg.Settings.RateLimit
	s := &Server{
		config:       cfg,
		origins:      http.NewCrossOriginProtection(),
		queries:      ratelimit.NewLimiter(cfg.Clock, rates.MaxQueriesPerSec, rates.MaxTrackedKeys),
		logins:       ratelimit.NewLimiter(cfg.Clock, rates.MaxAuthRequestsPerIP, rates.MaxTrackedKeys),
		requests:     ratelimit.NewLimiter(cfg.Clock, rates.MaxRequestsPerIP, rates.MaxTrackedKeys),
		running:      ratelimit.NewGate(rates.MaxConcurrentPerUser, rates.MaxConcurrentQueries),
		downloads:    ratelimit.NewGate(downloadsPerUser, downloadsPerNode),
		connections:  ratelimit.NewGate(rates.MaxConnectionsPerIP, cfg.Settings.Performance.MaxConnections),
		measurements: newMeasurements(cfg.Metrics),
	}
	for _, text := range cfg.Settings.Security.TrustedProxyRanges {
		prefix, err := config.ParseRange(text)
		if err != nil {
			return nil, fmt.Errorf("httpapi: %w", err)
		}
		s.proxies = append(s.proxies, prefix)
	}
	for _, origin := range cfg.Settings.Security.CORS.AllowedOrigins {
		_ = s.origins.AddTrustedOrigin(origin) // * and what is no origin at all stays untrusted
	}
	s.http = s.newHTTPServer()
	s.steady = steady.New(steady.Config{
		Handler: s.http.Handler, Logger: cfg.Logger, Path: sqlPath,
		Header: s.http.ReadHeaderTimeout, Idle: s.http.IdleTimeout, Write: s.http.WriteTimeout,
	})
	return s, nil
}

// maxStreams bounds the requests under way on one HTTP/2 connection; more wait for their turn.
const maxStreams = 250

func (s *Server) newHTTPServer() *http.Server {
	settings := s.config.Settings
	requestTimeout := time.Duration(settings.Performance.RequestTimeoutSeconds) * time.Second
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(settings.Server.EnableHTTP2)
	return &http.Server{
		Handler:           s.Handler(),
		Protocols:         &protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ReadHeaderTimeout: time.Duration(settings.Server.ReadHeaderTimeoutMilli) * time.Millisecond,
		// A body and its answer get the time of a request each, and a little to say what went wrong.
		ReadTimeout:    requestTimeout + 5*time.Second,
		WriteTimeout:   2*requestTimeout + 10*time.Second,
		IdleTimeout:    time.Duration(settings.Performance.KeepaliveSeconds) * time.Second,
		MaxHeaderBytes: settings.Limits.MaxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug),
	}
}

// Serve answers clients of the listener until Shutdown or Close, and then returns nil. It closes the
// listener. Connections beyond the configured bounds are refused with 503.
func (s *Server) Serve(listener net.Listener) error {
	guarded := newGuardedListener(listener, s.connections, s.measurements.refusedConnections)
	if err := s.http.Serve(s.steady.Listener(guarded)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve clients on %s: %w", listener.Addr(), err)
	}
	return nil
}

// Connections returns how many connections are open, and how many were at most.
func (s *Server) Connections() (open, peak int) { return s.connections.Open(), s.connections.Peak() }

// Shutdown stops accepting and waits for the requests under way. When ctx ends first, it cuts them off and
// returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.steady.Drain()
	err := s.http.Shutdown(ctx)
	if err == nil {
		err = s.steady.Wait(ctx)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("drain clients: %w", err), s.Close())
	}
	return nil
}

// Close cuts off all clients at once.
func (s *Server) Close() error {
	s.steady.Cut()
	return s.http.Close()
}
