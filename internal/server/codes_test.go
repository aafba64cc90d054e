package server

import (
	"context"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/api/httpapi"
	"github.com/kalamdb/kalamdb-go/internal/auth"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/metrics"
)

// surfaceCodes are the codes of the SQL route that clients know, written down once more: a code that is renamed is missed.
const surfaceCodes = "RATE_LIMIT_EXCEEDED INVALID_PARAMETER BATCH_PARSE_ERROR EMPTY_SQL PARAMS_WITH_BATCH SQL_EXECUTION_ERROR FORWARD_FAILED " +
	"NOT_LEADER INVALID_SQL TABLE_NOT_FOUND PERMISSION_DENIED CLUSTER_UNAVAILABLE LEADER_NOT_AVAILABLE INTERNAL_ERROR INVALID_INPUT " +
	"FILE_TOO_LARGE TOO_MANY_FILES MISSING_FILE EXTRA_FILE FILE_NOT_FOUND INVALID_MIME_TYPE MISSING_AUTHORIZATION TOKEN_EXPIRED " +
	"INVALID_CREDENTIALS SETUP_REQUIRED ACCOUNT_LOCKED REMOTE_ACCESS_DENIED INSUFFICIENT_PERMISSIONS AUTHENTICATION_ERROR IP_BANNED " +
	"TOO_MANY_CONNECTIONS"

// codesNotGiven are the codes that this route has no cause for. docs/design/compatibility.md says why.
const codesNotGiven = "FORWARD_FAILED LEADER_NOT_AVAILABLE TABLE_NOT_FOUND FILE_TOO_LARGE TOO_MANY_FILES MISSING_FILE FILE_NOT_FOUND " +
	"INVALID_MIME_TYPE ACCOUNT_LOCKED REMOTE_ACCESS_DENIED INSUFFICIENT_PERMISSIONS IP_BANNED"

// provocation makes a server answer with a code.
type provocation struct {
	code    string
	status  int
	provoke func(t *testing.T, p *provoked) (status int, body []byte)
}

// provoked is what provocations work on.
type provoked struct {
	node      *Node // it runs alone
	root, ann client
	cluster   func() []*Node // three nodes, made when they are first wanted
}

// say is the provocation of one statement by the administrator.
func say(r request) func(*testing.T, *provoked) (int, []byte) {
	return func(_ *testing.T, p *provoked) (int, []byte) { return p.root.answerTo(r) }
}

// answerTo sends a request to the SQL route and returns the answer as it is.
func (c client) answerTo(r request) (int, []byte) {
	c.t.Helper()
	status, _, a := c.send(r)
	body, err := json.Marshal(a)
	if err != nil {
		c.t.Fatal(err)
	}
	return status, body
}

func headed(r request, name, value string) request {
	r.header = map[string]string{name: value}
	return r
}

func provocations(t *testing.T, secret string) []provocation {
	t.Helper()
	one := statement("SELECT 1")
	return []provocation{
		{"EMPTY_SQL", 400, say(statement(" ; -- nothing"))},
		{"PARAMS_WITH_BATCH", 400, say(statement("SELECT $1; SELECT $1", 1))},
		{"INVALID_PARAMETER", 400, say(request{body: `{"sql":"SELECT $1","params":[{}]}`})},
		{"BATCH_PARSE_ERROR", 400, say(statement("SELEC 1"))},
		{"INVALID_SQL", 400, say(statement("SELECT 1" + strings.Repeat(" ", 1<<20)))},
		{"INVALID_INPUT", 400, say(request{body: `{"sql":`})},
		{"EXTRA_FILE", 400, say(fileForm(t))},
		{"SQL_EXECUTION_ERROR", 400, say(statement("SELECT 1 / 0"))},
		{"INTERNAL_ERROR", 500, say(statement("SELECT * FROM app.spoilt"))},
		{"PERMISSION_DENIED", 403, func(_ *testing.T, p *provoked) (int, []byte) {
			return p.ann.answerTo(statement("CREATE NAMESPACE mine"))
		}},
		{"MISSING_AUTHORIZATION", 401, say(headed(one, "Authorization", ""))},
		{"INVALID_CREDENTIALS", 401, say(headed(one, "Authorization", "Basic YTpi"))},
		{"TOKEN_EXPIRED", 401, func(t *testing.T, p *provoked) (int, []byte) {
			t.Helper()
			return p.root.answerTo(headed(one, "Authorization", "Bearer "+aged(t, p.ann.token, secret)))
		}},
		{"TRANSACTION_NOT_FOUND", 400, say(headed(one, "X-Transaction-ID", "1-absent"))},
		{"TRANSACTION_CONFLICT", 409, provokeConflict},
		{"TRANSACTION_BUSY", 409, provokeBusy},
		{"SETUP_REQUIRED", 401, provokeSetup},
		{"AUTHENTICATION_ERROR", 500, provokeBrokenAuthentication},
		{"RATE_LIMIT_EXCEEDED", 429, provokeRateLimit},
		{"TOO_MANY_CONNECTIONS", 503, provokeConnections},
		{"PAYLOAD_TOO_LARGE", 413, func(_ *testing.T, p *provoked) (int, []byte) {
			return p.root.postRaw(request{body: `{"sql":"` + strings.Repeat("x", int(p.node.cfg.RateLimit.RequestBodyLimitBytes)) + `"}`})
		}},
		{"NOT_FOUND", 404, func(_ *testing.T, p *provoked) (int, []byte) { return p.root.post("/v1/api/nothing", struct{}{}) }},
		{"METHOD_NOT_ALLOWED", 405, func(_ *testing.T, p *provoked) (int, []byte) { return p.root.post("/v1/api/auth/me", struct{}{}) }},
		{"DISK_FULL", 507, provokeFullDisk},
		{"NOT_LEADER", 503, provokeOtherNode},
		{"CLUSTER_UNAVAILABLE", 503, provokeLostMajority},
	}
}

// TestEveryCodeIsProvoked: for each code that clients know or that the code declares there is a request over HTTP that is answered with
// it, or the code stands among those that are not given.
func TestEveryCodeIsProvoked(t *testing.T) { //nolint:tparallel // the provocations come one after the other: two share a cluster
	t.Parallel()
	const secret = "the-secret-of-the-tests-0123456789abcdef"
	cfg := testConfig(t.TempDir())
	cfg.Auth.JWTSecret = secret
	n := openNode(t, cfg, Options{})
	waitReady(t, n)
	root := login(t, n, "root", rootPassword)
	root.sql("CREATE USER ann WITH PASSWORD 'Secret-of-ann-1' ROLE user")
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE SHARED TABLE app.spoilt (id BIGINT PRIMARY KEY)")
	root.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY, v INT)")
	root.sql("INSERT INTO app.spoilt VALUES (1); INSERT INTO app.t VALUES (1, 1)")
	spoil(t, n, "app", "spoilt")
	p := &provoked{n, root, login(t, n, "ann", "Secret-of-ann-1"), sync.OnceValue(func() []*Node {
		return openCluster(t, func(cfg *config.Config) {
			cfg.Cluster.ReplicationTimeoutMilli = 500
			cfg.Server.ShutdownTimeoutMillis = 0
		})
	})}
	seen := map[string]bool{}
	for _, c := range provocations(t, secret) {
		seen[c.code] = true
		t.Run(c.code, func(t *testing.T) {
			mine := *p
			mine.root.t, mine.ann.t = t, t
			status, body := c.provoke(t, &mine)
			if got := codeIn(body); status != c.status || got != c.code {
				t.Errorf("got %d %s, want %d %s: %.300s", status, got, c.status, c.code, body)
			}
		})
	}
	known := map[string]bool{}
	for _, code := range slices.Concat(strings.Fields(surfaceCodes), declaredCodes(t)) {
		known[code] = true
	}
	for _, code := range slices.Sorted(maps.Keys(known)) {
		if given := !slices.Contains(strings.Fields(codesNotGiven), code); seen[code] != given {
			t.Errorf("code %s: provoked %v, said to be given %v", code, seen[code], given)
		}
	}
}

// codeIn reads the code of an answer, in the envelope of the SQL route or in the shape of the other routes.
func codeIn(body []byte) string {
	var envelope struct {
		Error json.RawMessage `json:"error"`
	}
	var nested struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(body, &envelope) != nil {
		return ""
	}
	if json.Unmarshal(envelope.Error, &nested) == nil {
		return nested.Code
	}
	return strings.Trim(string(envelope.Error), `"`)
}

// declaredCodes reads the constants of the type Code from the sources of the engine and of the HTTP surface.
func declaredCodes(t *testing.T) []string {
	t.Helper()
	var codes []string
	for _, path := range []string{"../sql/exec/error.go", "../api/httpapi/failures.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		before := len(codes)
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !strings.HasPrefix(strings.ToLower(spec.Names[0].Name), "code") {
				return true
			}
			if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
				text, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				codes = append(codes, text)
			}
			return true
		})
		if len(codes)-before < 10 {
			t.Fatalf("%s declares %d codes: this test reads it wrongly", path, len(codes)-before)
		}
	}
	return codes
}

// postRaw is post with a body that is no JSON of a value.
func (c client) postRaw(r request) (int, []byte) {
	c.t.Helper()
	sent, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url+"/v1/api/sql", strings.NewReader(r.body))
	if err != nil {
		c.t.Fatal(err)
	}
	sent.Header.Set("Authorization", "Bearer "+c.token)
	response, err := http.DefaultClient.Do(sent)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, body
}

func provokeConflict(t *testing.T, p *provoked) (int, []byte) {
	t.Helper()
	id := p.root.begin()
	p.root.continues(id, "UPDATE app.t SET v = v + 1 WHERE id = 1")
	p.root.sql("UPDATE app.t SET v = 100 WHERE id = 1")
	return p.root.answerTo(headed(statement("COMMIT"), "X-Transaction-ID", id))
}

// provokeBusy sends a long query in a transaction and another statement beside it.
func provokeBusy(t *testing.T, p *provoked) (int, []byte) {
	t.Helper()
	id := p.root.begin()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		body, _ := json.Marshal(map[string]string{"sql": "SELECT count(*) FROM generate_series(1, 100000000) a"}) // a map of texts
		sent, err := http.NewRequestWithContext(ctx, http.MethodPost, p.root.url+"/v1/api/sql", strings.NewReader(string(body)))
		if err != nil {
			return
		}
		sent.Header.Set("Authorization", "Bearer "+p.root.token)
		sent.Header.Set("X-Transaction-ID", id)
		if response, err := http.DefaultClient.Do(sent); err == nil {
			_ = response.Body.Close() // it was cut off
		}
	}()
	defer func() { stop(); <-done }()
	open := "SELECT count(*) FROM system.sessions WHERE state = 'active' AND transaction_id = '" + id + "'"
	for deadline := time.Now().Add(tooLong); p.root.grid(open) == "0"; {
		if time.Now().After(deadline) {
			t.Fatal("the long query never began")
		}
	}
	return p.root.answerTo(headed(statement("SELECT 1"), "X-Transaction-ID", id))
}

// provokeSetup asks a server whose root has no password.
func provokeSetup(t *testing.T, _ *provoked) (int, []byte) {
	t.Helper()
	cfg := testConfig(t.TempDir())
	cfg.Auth.RootPassword = ""
	n := openNode(t, cfg, Options{})
	waitReady(t, n)
	c := client{t: t, url: "http://" + n.APIAddr()}
	return c.answerTo(headed(statement("SELECT 1"), "Authorization", ""))
}

// brokenAuthentication fails as no caller can make it fail.
type brokenAuthentication struct{ httpapi.Authenticator }

func (brokenAuthentication) Authenticate(context.Context, string) (auth.Identity, error) {
	return auth.Identity{}, errors.New("the key of tokens cannot be read")
}

func provokeBrokenAuthentication(t *testing.T, p *provoked) (int, []byte) {
	t.Helper()
	api, err := httpapi.New(httpapi.Config{
		Settings: p.node.cfg, SQL: p.node.sql, Auth: brokenAuthentication{p.node.users}, Health: clusterView{p.node},
		Metrics: metrics.New(metrics.Build{}), Logger: p.node.logger, Clock: p.node.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(api.Handler())
	defer listener.Close()
	p.root.url = listener.URL
	return p.root.answerTo(statement("SELECT 1"))
}

func provokeRateLimit(t *testing.T, _ *provoked) (int, []byte) {
	t.Helper()
	cfg := testConfig(t.TempDir())
	cfg.RateLimit.MaxQueriesPerSec = 1
	n := openNode(t, cfg, Options{})
	waitReady(t, n)
	c := login(t, n, "root", rootPassword)
	for range 50 {
		if status, body := c.answerTo(statement("SELECT 1")); status != http.StatusOK {
			return status, body
		}
	}
	return http.StatusOK, nil
}

func provokeConnections(t *testing.T, _ *provoked) (int, []byte) {
	t.Helper()
	cfg := testConfig(t.TempDir())
	cfg.Performance.MaxConnections = 1
	n := openNode(t, cfg, Options{})
	waitReady(t, n)
	held, err := net.Dial("tcp", n.APIAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()                                               // nothing was sent over it
	return client{t: t, url: "http://" + n.APIAddr()}.post("/v1/api/sql", struct{}{}) // connections are taken in their order
}

// loneMember is a cluster of one.
func loneMember(t *testing.T, dir string, change func(*config.Config)) *Node {
	t.Helper()
	cfg := testConfig(dir)
	cfg.Cluster.ClusterID, cfg.Cluster.NodeID, cfg.Cluster.RPCAddr = "test", 1, "127.0.0.1:0"
	change(cfg)
	n := openNode(t, cfg, Options{})
	waitReady(t, n)
	return n
}

func provokeFullDisk(t *testing.T, _ *provoked) (int, []byte) {
	t.Helper()
	dir := t.TempDir()
	n := loneMember(t, dir, func(*config.Config) {})
	c := login(t, n, "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY)")
	closeNode(t, n)
	n = loneMember(t, dir, func(cfg *config.Config) { cfg.Storage.MinFreeBytes = 1 << 60 })
	return login(t, n, "root", rootPassword).answerTo(statement("INSERT INTO app.t VALUES (1)"))
}

// provokeOtherNode goes on in a transaction at a node that does not have it.
func provokeOtherNode(t *testing.T, p *provoked) (int, []byte) {
	t.Helper()
	nodes := p.cluster()
	waitReady(t, nodes...)
	id := login(t, nodes[1], "root", rootPassword).begin()
	status, body := login(t, nodes[0], "root", rootPassword).answerTo(headed(statement("SELECT 1"), "X-Transaction-ID", id))
	if want := "Leader: http://" + nodes[1].APIAddr(); !strings.Contains(string(body), want) {
		t.Errorf("the answer %s has no %q in it", body, want)
	}
	return status, body
}

// provokeLostMajority asks the last of three nodes.
func provokeLostMajority(t *testing.T, p *provoked) (int, []byte) {
	t.Helper()
	nodes := p.cluster()
	waitReady(t, nodes...)
	c := login(t, nodes[0], "root", rootPassword)
	c.sql("CREATE NAMESPACE app")
	c.sql("CREATE SHARED TABLE app.t (id BIGINT PRIMARY KEY)")
	closeNode(t, nodes[1])
	closeNode(t, nodes[2])
	var status int
	var body []byte
	for _, sql := range []string{"INSERT INTO app.t VALUES (1)", "SELECT * FROM app.t"} {
		status, body = c.answerTo(statement(sql))
		if (status != http.StatusServiceUnavailable && status != http.StatusGatewayTimeout) || codeIn(body) != "CLUSTER_UNAVAILABLE" {
			t.Errorf("%s without a majority: %d %s", sql, status, body)
		}
	}
	return http.StatusServiceUnavailable, body // or 504, when it was under way
}
