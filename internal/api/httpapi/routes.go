package httpapi

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kalamdb/kalamdb-go/internal/metrics"
)

const contentTypeJSON = "application/json"

const sqlPath = "/v1/api/sql"

// requestIDHeader is written as net/http keeps it, as are all names of header fields here: others are spelled anew for each request.
const requestIDHeader = "X-Request-Id"

// measurements are the metrics of this package.
type measurements struct {
	requests           *prometheus.CounterVec
	seconds            *prometheus.HistogramVec
	refusedConnections prometheus.Counter
	refusedRates       *prometheus.CounterVec
}

func newMeasurements(registry *metrics.Registry) measurements {
	return measurements{
		requests: registry.CounterVec("http_requests_total", "Requests answered, by route and status.", "route", "status"),
		seconds: registry.HistogramVec("http_request_seconds", "Time to answer a request, by route.",
			metrics.LatencyBuckets(), "route"),
		refusedConnections: registry.Counter("http_refused_connections_total", "Connections refused by the bounds on open connections."),
		refusedRates: registry.CounterVec("http_rate_limited_total",
			"Requests refused by a rate limit: of all requests, of sign-ins or of queries.", "limit"),
	}
}

// routeMeter measures the requests of one route. Its series are looked up once; statuses other than success are rare.
type routeMeter struct {
	name      string
	seconds   prometheus.Observer
	succeeded prometheus.Counter
	requests  *prometheus.CounterVec
}

func (m *measurements) of(route string) *routeMeter {
	return &routeMeter{
		name: route, seconds: m.seconds.WithLabelValues(route), requests: m.requests,
		succeeded: m.requests.WithLabelValues(route, strconv.Itoa(http.StatusOK)),
	}
}

func (m *routeMeter) note(status int, took time.Duration) {
	m.seconds.Observe(took.Seconds())
	if status == http.StatusOK {
		m.succeeded.Inc()
		return
	}
	m.requests.WithLabelValues(m.name, strconv.Itoa(status)).Inc()
}

// route is one path and what it accepts.
type route struct {
	methods      []string
	loopbackOnly bool
	handler      http.HandlerFunc
}

func (s *Server) routes() map[string]route {
	get, post := []string{http.MethodGet, http.MethodHead}, []string{http.MethodPost}
	scrape := s.config.Metrics.Handler()
	routes := map[string]route{
		"/health":                {get, true, s.handleHealth},
		"/v1/api/healthcheck":    {get, true, s.handleHealth},
		"/v1/api/cluster/health": {get, true, s.handleClusterHealth},
		"/livez":                 {get, false, s.handleLive},
		"/readyz":                {get, false, s.handleReady},
		"/metrics":               {get, !s.config.Settings.Server.ExposeMetricsRemotely, scrape.ServeHTTP},
		sqlPath:                  {post, false, s.handleSQL},
		"/v1/api/auth/login":     {post, false, s.signIn(s.handleLogin)},
		"/v1/api/auth/refresh":   {post, false, s.signIn(s.handleRefresh)},
		"/v1/api/auth/logout":    {post, false, s.handleLogout},
		"/v1/api/auth/me":        {get, false, s.handleMe},
		"/v1/api/auth/setup":     {post, false, s.signIn(s.handleSetup)},
		"/v1/api/auth/status":    {get, false, s.handleSetupStatus},
		exportsPath:              {get, false, s.handleExport}, // and all paths below it
	}
	if s.config.Live != nil {
		routes["/v1/ws"] = route{get[:1], false, s.config.Live.ServeHTTP}
		routes["/v1/events"] = route{get[:1], false, s.config.Live.ServeHTTP}
	}
	return routes
}

// Handler returns the whole surface, for tests and for servers that listen elsewhere.
func (s *Server) Handler() http.Handler {
	routes := s.routes()
	unknown, meters := s.measurements.of("unknown"), make(map[string]*routeMeter, len(routes))
	for name := range routes {
		meters[name] = s.measurements.of(name)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path
		if strings.HasPrefix(name, exportsPath) {
			name = exportsPath
		}
		found, known := routes[name]
		meter := unknown
		if known {
			meter = meters[name]
		}
		recorder := &statusRecorder{ResponseWriter: w}
		started := time.Now()
		defer func() {
			cause := recover()
			if cause != nil && cause != http.ErrAbortHandler { //nolint:errorlint // a cause is no chain of errors
				s.answerPanic(recorder, r, cause)
			}
			meter.note(recorder.status, time.Since(started))
			if cause == http.ErrAbortHandler { //nolint:errorlint // the same
				panic(cause) // net/http cuts the connection
			}
		}()
		if id := requestID(r); id != "" {
			w.Header().Set(requestIDHeader, id)
		}
		body := r.Body
		if s.guard(recorder, r) {
			s.dispatch(recorder, r, found, known)
		}
		drain(r, body)
	})
}

// maxDrainBytes bounds what is read of a body that nobody wants.
const maxDrainBytes = 64 << 20

// drain takes the rest of a body that was refused before its end. Clients that send all before they read
// would otherwise find the connection reset instead of the answer, which is still in its buffer. One that
// waits for leave to send, and every stream of HTTP/2, needs none of this.
func drain(r *http.Request, body io.Reader) {
	if r.ProtoMajor == 1 && r.Header.Get("Expect") == "" {
		var one [1]byte
		if n, err := body.Read(one[:]); n == 0 && err != nil {
			return // nearly all bodies were read to their end
		}
		_, _ = io.CopyN(io.Discard, body, maxDrainBytes) // the client's failure to send changes nothing
	}
}

// answerPanic answers for a handler that failed by a mistake of ours. The request is lost, not the node:
// handlers hold no state that outlives a request.
func (s *Server) answerPanic(w *statusRecorder, r *http.Request, cause any) {
	s.config.Logger.LogAttrs(r.Context(), slog.LevelError, "request handler panicked",
		slog.String("path", r.URL.Path), slog.Any("cause", cause), slog.String("stack", string(debug.Stack())))
	if w.status == 0 {
		writePlainError(w, http.StatusInternalServerError, "INTERNAL_ERROR", "The server failed to process the request")
	}
}

// guard applies what holds for every request: the rate of its address, the size of its body, and CORS. It
// reports whether the request goes on.
func (s *Server) guard(w http.ResponseWriter, r *http.Request) bool {
	if client := s.clientAddr(r); !client.IsLoopback() {
		if ok, wait := s.requests.Allow(rateKey(client)); !ok {
			s.measurements.refusedRates.WithLabelValues("requests").Inc()
			s.writeGuard(w, tooMany("Too many requests from this address", wait))
			return false
		}
	}
	if s.cors(w, r) {
		return false
	}
	limit := s.config.Settings.RateLimit.RequestBodyLimitBytes
	if r.ContentLength > limit {
		s.writeGuard(w, bodyTooLarge(limit))
		return false
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	return true
}

func (s *Server) writeGuard(w http.ResponseWriter, f *failure) {
	f.setRetryAfter(w)
	writePlainError(w, f.status, string(f.code), f.message)
}

func (s *Server) dispatch(w http.ResponseWriter, r *http.Request, found route, known bool) {
	switch {
	case !known:
		writePlainError(w, http.StatusNotFound, string(codeNotFound), "There is nothing at this path")
	case !slices.Contains(found.methods, r.Method):
		w.Header().Set("Allow", strings.Join(found.methods, ", "))
		writePlainError(w, http.StatusMethodNotAllowed, string(codeMethodNotAllowed),
			"This path accepts "+strings.Join(found.methods, ", "))
	case found.loopbackOnly && !peerIsLoopback(r):
		writePlainError(w, http.StatusForbidden, "forbidden", "This path answers clients on the same machine only")
	default:
		timeout := time.Duration(s.config.Settings.Performance.RequestTimeoutSeconds) * time.Second
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		found.handler(w, r.WithContext(ctx))
	}
}

// signIn wraps a route that guesses of passwords and tokens would go to.
func (s *Server) signIn(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ok, wait := s.logins.Allow(rateKey(s.clientAddr(r)))
		if !ok {
			s.measurements.refusedRates.WithLabelValues("sign_in").Inc()
			tooMany("", wait).setRetryAfter(w)
			writePlainError(w, http.StatusTooManyRequests, "rate_limited", "Too many attempts from this address; try again later")
			return
		}
		next(w, r)
	}
}

// requestID returns the client's name for the request; "" when it gave none that can be echoed safely.
func requestID(r *http.Request) string {
	const maxBytes = 128
	id := r.Header.Get(requestIDHeader)
	if len(id) > maxBytes || strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return ""
	}
	return id
}

// statusRecorder remembers the status of an answer.
type statusRecorder struct {
	http.ResponseWriter
	status int // zero until the head is written
}

// WriteHeader implements http.ResponseWriter.
func (w *statusRecorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *statusRecorder) Write(body []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(body)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
