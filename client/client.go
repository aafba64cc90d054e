// Package client speaks to a KalamDB server: SQL over HTTP, live queries over WebSocket.
//
// A Client knows the addresses of one or more nodes of a cluster and goes to another one when a node does not
// answer. What always holds:
//
//   - A statement is sent again when the server said that nothing of it ran, when no connection came about, or when it
//     only reads. An INSERT, UPDATE, DELETE or WITH is sent again whatever happened, under a key by which the servers
//     recognise it: it runs once, and its result is the first one. Anything else whose answer was lost is
//     ErrOutcomeUnknown: it may have run.
//   - A subscription survives lost connections: it reconnects, to any node, and goes on behind the last _seq that
//     it gave. When the server no longer has the changes since then, the subscription says Reset and starts again.
//     It never leaves something out silently.
//   - Changes of a table go to the node that leads its group once an answer has said which one that is, if it is one of
//     Config.URLs: a step less for each. It makes nothing depend on that node; any other does the same.
//   - Attempts are bounded by the caller's context and by Config.Attempts; between them is a pause that grows, with
//     jitter.
//
// A Client may be used by many goroutines; a Subscription belongs to one.
package client

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Config says how to reach a cluster and who asks. Zero bounds take their defaults.
type Config struct {
	URLs     []string // required; such as http://127.0.0.1:8080, one for each node
	Token    string   // an access token; empty logs in with User and Password
	User     string
	Password string
	HTTP     *http.Client  // nil is a client of its own with a timeout of 60 s
	Attempts int           // of one statement; default 8
	Pause    time.Duration // after the first failed attempt; it doubles up to 2 s; default 50 ms
}

// Errors that callers branch on.
var (
	// ErrOutcomeUnknown says that a statement may or may not have run.
	ErrOutcomeUnknown = errors.New("the outcome of the statement is unknown")
	// ErrUnauthorized says that the server does not accept the caller.
	ErrUnauthorized = errors.New("the server does not accept the caller")
)

// Error is what a server said about a statement or subscription that it refused.
type Error struct {
	Code    string // stable, such as PERMISSION_DENIED
	Message string
	Status  int // of the HTTP answer; zero for subscriptions
	// Final says that a live query fails each time it begins where it was: there is a row for which its condition has no value, as one that
	// divides by zero.
	Final bool
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Client runs statements and keeps subscriptions.
type Client struct {
	config  Config
	silence time.Duration // of a server before a subscription leaves it

	mu      sync.Mutex // guards what is below
	token   string
	node    int            // position in URLs of the node that answered last
	leaders map[string]int // positions in URLs of nodes that lead what statements change, by target; at most maxLeaders
}

// New checks the configuration; it does not connect.
func New(config Config) (*Client, error) {
	if len(config.URLs) == 0 {
		return nil, errors.New("client: URLs is empty")
	}
	urls := make([]string, len(config.URLs))
	for i, text := range config.URLs {
		parsed, err := url.Parse(text)
		if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
			return nil, fmt.Errorf("client: URL %q: want http://host:port", text)
		}
		urls[i] = strings.TrimSuffix(text, "/")
	}
	config.URLs = urls
	if config.Token == "" && config.User == "" {
		return nil, errors.New("client: Token or User is required")
	}
	if config.HTTP == nil {
		config.HTTP = &http.Client{Timeout: time.Minute}
	}
	if config.Attempts == 0 {
		config.Attempts = 8
	}
	if config.Pause == 0 {
		config.Pause = 50 * time.Millisecond
	}
	return &Client{config: config, token: config.Token, silence: silence}, nil
}

// url returns the address of the node in use.
func (c *Client) url() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.config.URLs[c.node]
}

// leave goes on to the next node, unless another caller already did.
func (c *Client) leave(failed string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config.URLs[c.node] == failed {
		c.node = (c.node + 1) % len(c.config.URLs)
	}
	maps.DeleteFunc(c.leaders, func(_ string, node int) bool { return c.config.URLs[node] == failed })
}

// forget drops a token that was refused. It reports whether there is a way to get another.
func (c *Client) forget(token string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.config.User == "" {
		return false
	}
	if c.token == token {
		c.token = ""
	}
	return true
}

// answer is a whole HTTP answer.
type answer struct {
	status     int
	body       []byte
	retryAfter time.Duration
	retry      bool // Retry-After was given

	transaction string // id of the one that is open
	leader      string // URL of the node that leads what was changed, when it is another one and was asked for
}

// retryable is a failure before anything ran.
type retryable struct {
	cause error
	after time.Duration
}

// Error implements error.
func (r *retryable) Error() string { return r.cause.Error() }

// Unwrap returns what went wrong.
func (r *retryable) Unwrap() error { return r.cause }

// maxAnswerBytes bounds an answer.
const maxAnswerBytes = 256 << 20

// once names a statement for as long as it is sent again.
type once struct {
	key     string    // empty for what is not sent again
	first   time.Time // zero before it is sent
	unknown bool      // whether a copy may have run

	transaction string // id that the request goes on in, "new" for one that begins, "" outside
	target      string // what the statement changes, if the answer shall say where its leader is
}

// newOnce draws a key for a statement.
func newOnce() *once {
	return &once{key: crand.Text()}
}

// sign adds the key, and from the second time on the age, to a request.
func (o *once) sign(header http.Header) {
	if o.transaction != "" {
		header.Set(transactionHeader, o.transaction)
	}
	if o.target != "" {
		header.Set(followHeader, "1")
	}
	if o.key == "" {
		return
	}
	header.Set("Idempotency-Key", o.key)
	now := time.Now()
	if o.first.IsZero() {
		o.first = now
		return
	}
	header.Set("Idempotency-Age", strconv.FormatInt(max(now.Sub(o.first).Milliseconds(), 1), 10))
}

func (c *Client) post(ctx context.Context, address, token string, body any, named *once) (answer, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return answer{}, fmt.Errorf("encode the request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(encoded))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	named.sign(request.Header)
	if named.key != "" {
		request.GetBody = nil // the transport would send it again by itself, without its age
	}
	response, err := c.config.HTTP.Do(request)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return answer{}, &retryable{cause: err} // the request never left
		}
		return answer{}, err
	}
	read, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return answer{}, err
	}
	a := answer{
		status: response.StatusCode, body: read,
		transaction: response.Header.Get(transactionHeader), leader: response.Header.Get(leaderHeader),
	}
	if after := response.Header.Get("Retry-After"); after != "" {
		a.retry = true
		if seconds, err := strconv.Atoi(after); err == nil {
			a.retryAfter = time.Duration(seconds) * time.Second
		}
	}
	return a, nil
}

const longestPause = 2 * time.Second

// pause waits before attempt n (from 1), at least as long as the server asked for.
func (c *Client) pause(ctx context.Context, n int, least time.Duration) error {
	wait := min(c.config.Pause<<min(n-1, 16), longestPause)
	wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // jitter needs no secrecy
	timer := time.NewTimer(max(wait, least))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Unreachable reports whether an error means that no node could be asked: the statement did not run.
func Unreachable(err error) bool {
	var failed *retryable
	var refused *Error
	return errors.As(err, &failed) && !errors.As(err, &refused)
}
