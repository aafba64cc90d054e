package httpapi_test

import (
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"github.com/kalamdb/kalamdb-go/internal/api/httpapi"
	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/metrics"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
	"github.com/kalamdb/kalamdb-go/test/metanode"
)

var rewrite = flag.Bool("rewrite", false, "write golden files instead of comparing them")

const (
	testSecret = "k3y-of-the-tests-0123456789abcdefghij"
	password   = "a long enough password"
	local      = "127.0.0.1:40000"
	remote     = "203.0.113.7:40000"
)

// fakeSQL answers every request the same way and remembers the last one.
type fakeSQL struct {
	mu       sync.Mutex // guards all below
	last     exec.Request
	calls    int
	response *exec.Response
	err      error
	work     func(ctx context.Context)
	rows     func(sink exec.RowSink) error // gives rows of a query; nil for an answer that is collected
}

func (f *fakeSQL) Execute(ctx context.Context, request exec.Request) (*exec.Response, error) {
	f.mu.Lock()
	f.last, f.calls = request, f.calls+1
	work := f.work
	f.mu.Unlock()
	if work != nil {
		work(ctx)
	}
	if f.rows != nil && request.Rows != nil {
		if err := f.rows(request.Rows); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.response, f.err
}

// fakeHealth answers what the test sets.
type fakeHealth struct {
	ready   httpapi.Readiness
	cluster httpapi.ClusterHealth
	err     error
}

func (f *fakeHealth) Ready(context.Context) httpapi.Readiness { return f.ready }

func (f *fakeHealth) Cluster(context.Context) (httpapi.ClusterHealth, error) { return f.cluster, f.err }

// world is the HTTP surface over real accounts, with time that tests move.
type world struct {
	*httpapi.Server
	t        testing.TB
	node     *metanode.Node
	auth     *auth.Service
	clock    *clock.Manual
	sql      *fakeSQL
	health   *fakeHealth
	settings *config.Config
	handler  http.Handler
	logs     *lockedBuffer
}

// lockedBuffer collects log lines from many goroutines.
type lockedBuffer struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (b *lockedBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newWorld(tb testing.TB, change func(*config.Config)) *world {
	tb.Helper()
	wall := clock.NewManual(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	node, err := metanode.Open(tb.TempDir(), wall)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if failure := node.Close(); failure != nil {
			tb.Error(failure)
		}
	})
	service, err := auth.New(auth.Config{
		Catalog: node.Catalog, Executor: node.Executor, Clock: wall, Secret: auth.FixedSecret(testSecret),
		BcryptCost: bcrypt.MinCost, LockoutFailures: 5,
	})
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{
		t: tb, node: node, auth: service, clock: wall, settings: config.Default(), logs: &lockedBuffer{},
		sql: &fakeSQL{response: &exec.Response{}}, health: &fakeHealth{ready: httpapi.Readiness{Ready: true}},
	}
	if change != nil {
		change(w.settings)
	}
	w.Server, err = httpapi.New(httpapi.Config{
		Settings: w.settings, SQL: w.sql, Auth: service, Health: w.health,
		Metrics: metrics.New(metrics.Build{}), Logger: slog.New(slog.NewTextHandler(w.logs, nil)), Clock: wall,
		Build: httpapi.Build{Version: "1.2.3", Date: "2026-05-01"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	w.handler = w.Handler()
	return w
}

// addUser stores an account and returns an access token of it.
func (w *world) addUser(id string, role session.Role) string {
	w.t.Helper()
	hash, err := w.auth.Hash(w.t.Context(), password)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.node.Executor.Execute(w.t.Context(), shard.Meta, &commandv1.Command{
		Body: &commandv1.Command_CreateUser{CreateUser: &commandv1.CreateUser{User: &commandv1.User{
			Id: id, PasswordHash: hash, Role: uint32(role), AuthType: auth.TypePassword,
		}}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.token(id)
}

func (w *world) token(id string) string {
	w.t.Helper()
	answer := w.post("/v1/api/auth/login", `{"user":"`+id+`","password":"`+password+`"}`, nil)
	var body struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &body); err != nil || body.AccessToken == "" {
		w.t.Fatalf("login of %s: %d %s", id, answer.Code, answer.Body)
	}
	return body.AccessToken
}

func (w *world) do(r *http.Request) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	if r.RemoteAddr == "" || r.RemoteAddr == "192.0.2.1:1234" {
		r.RemoteAddr = local
	}
	w.handler.ServeHTTP(recorder, r)
	return recorder
}

func (w *world) post(path, body string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(r)
	}
	return w.do(r)
}

func (w *world) get(path string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if change != nil {
		change(r)
	}
	return w.do(r)
}

// query posts SQL with a token.
func (w *world) query(token, body string) *httptest.ResponseRecorder {
	return w.post("/v1/api/sql", body, withToken(token))
}

func withToken(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func from(address string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = address }
}

// envelope is the error part of an answer in either shape.
type envelope struct {
	status  int
	code    string
	message string
	details string
}

// readFailure checks that an answer has the shape of a failed SQL request and returns its parts.
func readFailure(t *testing.T, answer *httptest.ResponseRecorder) envelope {
	t.Helper()
	var body struct {
		Status  string            `json:"status"`
		Results []json.RawMessage `json:"results"`
		Took    *float64          `json:"took"`
		Error   *struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Details string `json:"details"`
		} `json:"error"`
	}
	decoder := json.NewDecoder(strings.NewReader(answer.Body.String()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		t.Fatalf("answer %s: %v", answer.Body, err)
	}
	if body.Status != "error" || body.Results == nil || len(body.Results) != 0 || body.Took == nil || body.Error == nil {
		t.Fatalf("answer %s has not the shape of a failure", answer.Body)
	}
	if got := answer.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("content type = %q", got)
	}
	return envelope{answer.Code, body.Error.Code, body.Error.Message, body.Error.Details}
}

// readPlain is readFailure for routes other than SQL.
func readPlain(t *testing.T, answer *httptest.ResponseRecorder) envelope {
	t.Helper()
	var body struct {
		Error   *string `json:"error"`
		Message *string `json:"message"`
	}
	decoder := json.NewDecoder(strings.NewReader(answer.Body.String()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil || body.Error == nil || body.Message == nil || *body.Message == "" {
		t.Fatalf("answer %s has not the shape of a failure: %v", answer.Body, err)
	}
	return envelope{status: answer.Code, code: *body.Error, message: *body.Message}
}

// wantGolden compares an answer with a file in testdata; run with -rewrite to write it.
func wantGolden(t *testing.T, name string, answer *httptest.ResponseRecorder) {
	t.Helper()
	path := filepath.Join("testdata", name+".json")
	got := answer.Body.String() + "\n"
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("answer differs from %s:\n%s", path, diff)
	}
	if !json.Valid(answer.Body.Bytes()) {
		t.Errorf("answer is not JSON: %s", got)
	}
}
