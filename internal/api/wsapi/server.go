// Package wsapi is the WebSocket surface: live queries on one connection for each client. It also serves them as
// Server-Sent Events, one live query for each request, to clients that have no WebSocket.
//
// Server upgrades requests of GET /v1/ws and keeps the connections. A Conn authenticates its caller, reads
// messages on one goroutine, and is the Sink of its subscriptions. Nothing writes permanently: frames are
// put into an outbox that is bounded in bytes, and while there is something in outboxes a few goroutines write
// for all connections, each time everything that has gathered for one; see drains.
//
// Always true:
//
//   - Nobody waits for a client. An outbox holds OutboxBytes and, beyond them, one delivery, so that what one command changed arrives
//     together. A client whose outbox is full, or that takes nothing for WriteTimeout, has its outbox
//     dropped, is told to resume from the last _seq it has seen, and is disconnected (close code 1013). Both come
//     behind the frame that had begun; whoever does not take them within WriteTimeout is cut off without a word.
//   - A frame of a change is encoded once for all receivers that see the same; only the subscription's id is
//     put in for each, also into compressed frames.
//   - A large delivery is held once for all receivers and encoded as it is written to each; see backlog.
//   - A message over the limit is answered and the connection kept; a message that is no message ends it.
//   - Callers prove who they are within the time limit, by the header of the upgrade or by the first message.
//
// Close codes: 1000 silence, 1001 shutdown, 1002 malformed frame, 1008 not authenticated, 1011 malformed message, 1013 too slow, or the
// server cannot authenticate now.
package wsapi

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/live"
)

// Authenticator proves who callers are. Refusals are *auth.Error.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (auth.Identity, error)
}

// Config is what a Server needs. Zero bounds take their defaults.
type Config struct {
	Live   *live.Service // required
	Auth   Authenticator // required
	Logger *slog.Logger  // required

	Origins           []string      // browsers on these origins may connect; * is all. None: only the server's own
	StrictOrigin      bool          // clients that name no origin are refused
	MaxMessageBytes   int64         // of one message from a client; default 1 MiB; a larger one is refused
	MaxMessagesPerSec int           // of one connection; 0 means no limit; more are refused
	MaxSubscriptions  int           // of one connection; default 100; more are refused
	OutboxBytes       int           // unsent frames of one connection, and one delivery; default 2 MiB; a client over it is disconnected
	AuthTimeout       time.Duration // from the upgrade to the first message; default 3 s
	IdleTimeout       time.Duration // without any frame from the client; default 30 s
	WriteTimeout      time.Duration // for how long a client may take nothing of a write, and then of the notice; default 10 s
	RequestTimeout    time.Duration // of one message's work before it is refused; default 30 s
}

// Server keeps the live connections of a node.
type Server struct {
	config   Config
	upgrader websocket.Upgrader
	codec    *codec
	drains   drains

	mu      sync.Mutex // guards conns, peak, closed and opened
	conns   map[*Conn]struct{}
	peak    int // the most conns so far
	closed  bool
	opened  uint64 // connections since the start
	running sync.WaitGroup

	stopping context.Context //nolint:containedctx // ends the event streams, which are requests of their own
	stop     context.CancelFunc
}

// New makes a server without connections.
func New(config Config) (*Server, error) {
	if config.Live == nil || config.Auth == nil || config.Logger == nil {
		return nil, errors.New("wsapi: a required part is missing")
	}
	setDefault(&config.MaxMessageBytes, 1<<20)
	setDefault(&config.MaxSubscriptions, 100)
	setDefault(&config.OutboxBytes, 2<<20)
	setDefault(&config.AuthTimeout, 3*time.Second)
	setDefault(&config.IdleTimeout, 30*time.Second)
	setDefault(&config.WriteTimeout, 10*time.Second)
	setDefault(&config.RequestTimeout, 30*time.Second)
	s := &Server{config: config, codec: newCodec(), conns: make(map[*Conn]struct{})}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.upgrader = websocket.Upgrader{
		// The connection that the upgrade gives is not read and not written through: see frameReader and outbox.
		ReadBufferSize: readAhead, WriteBufferSize: 1024, WriteBufferPool: &sync.Pool{},
		CheckOrigin: s.allowsUpgrade,
	}
	return s, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// allowsOrigin judges the Origin of browsers; other clients send none.
func (s *Server) allowsOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(s.config.Origins, "*") || slices.Contains(s.config.Origins, origin) {
		return true
	}
	parsed, err := url.Parse(origin)
	return err == nil && parsed.Host != "" && strings.EqualFold(parsed.Host, r.Host)
}

// allowsUpgrade also judges those that send no Origin. Every browser does with an upgrade.
func (s *Server) allowsUpgrade(r *http.Request) bool {
	return s.allowsOrigin(r) && (r.Header.Get("Origin") != "" || !s.config.StrictOrigin)
}

// hijackable finds the connection under wrapped response writers.
type hijackable struct{ http.ResponseWriter }

// Hijack implements http.Hijacker.
func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(h.ResponseWriter).Hijack()
}

// ServeHTTP upgrades a request and returns; the connection goes on by itself.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == EventsPath {
		s.serveEvents(w, r)
		return
	}
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the server is shutting down", http.StatusServiceUnavailable)
		return
	}
	query := r.URL.Query()
	c := newConn(s, peerIP(r))
	c.noGzip = query.Get("compress") == "false"
	if header := r.Header.Get("Authorization"); header != "" {
		var ok bool
		if c.token, ok = bearer(header); !ok {
			http.Error(w, "only Bearer tokens are accepted here", http.StatusUnauthorized)
			return
		}
		c.fromHeader = true
		c.protocol = protocol{msgpack: query.Get("serialization") == "msgpack", gzip: query.Get("compression") != "none"}
	}
	upgraded, err := s.upgrader.Upgrade(hijackable{w}, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	c.open(upgraded.NetConn())
	if !s.add(c) {
		c.out.end(websocket.CloseGoingAway, "the server is shutting down")
		return
	}
	// What the HTTP server keeps for a request goes when its goroutine ends.
	go c.begin()
}

func bearer(header string) (token string, ok bool) {
	scheme, token, found := strings.Cut(header, " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(token), true
}

func peerIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

func (s *Server) add(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.opened++
	c.number = s.opened
	s.conns[c] = struct{}{}
	s.peak = max(s.peak, len(s.conns))
	s.running.Add(1)
	return true
}

// enter counts an event stream; the server waits for it.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Add(1)
	}
	return !s.closed
}

func (s *Server) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Connections is the number of open connections.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Peak is the highest number of connections that were open at once.
func (s *Server) Peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

// Opened is the number of connections that were opened since the start.
func (s *Server) Opened() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// Refuse answers new connections with 503 from now on; the open ones go on.
func (s *Server) Refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// Shutdown refuses new connections, closes the open ones with 1001 and waits for them until ctx ends; then they are
// cut off.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	s.stop()
	open := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		c.out.end(websocket.CloseGoingAway, "the server is shutting down")
	}
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	for _, c := range open {
		c.out.abort()
	}
	<-done
}
