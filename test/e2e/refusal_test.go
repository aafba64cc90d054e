package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// refused is a request that must fail, and how.
type refused struct {
	name    string
	token   string // instead of root's; "none" sends no header
	body    []byte
	status  int
	code    string
	message []string // parts of the message
}

func sqlBody(text string, params ...any) []byte {
	body, err := json.Marshal(map[string]any{"sql": text, "params": params})
	if err != nil {
		panic(err)
	}
	return body
}

// signedToken makes a token of root's as the server makes them, with another expiry or key.
func signedToken(t *testing.T, expires time.Time, key string) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "kalamdb", "sub": "root", "role": "system", "token_type": "access",
		"iat": expires.Add(-time.Hour).Unix(), "exp": expires.Unix(),
	})
	signed, err := token.SignedString([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func refusedRequests(t *testing.T) []refused {
	t.Helper()
	const insert = "INSERT INTO app.notes (id, body) VALUES "
	return []refused{
		{
			name: "syntax error", body: sqlBody("SELECT id\nFROM app.notes\nWHERE id == 1"),
			status: 400, code: "BATCH_PARSE_ERROR", message: []string{"line 3", "column 11"},
		},
		{
			name: "syntax error in a later statement runs nothing", body: sqlBody(insert + "(90, 'x'); SELEC 1"),
			status: 400, code: "BATCH_PARSE_ERROR", message: []string{"line 1", "column"},
		},
		{name: "unknown table", body: sqlBody("SELECT * FROM app.nothing"), status: 400, code: "SQL_EXECUTION_ERROR", message: []string{"app.nothing", "not found"}},
		{name: "unknown namespace", body: sqlBody("SELECT * FROM nowhere.notes"), status: 400, code: "SQL_EXECUTION_ERROR", message: []string{"not found"}},
		{name: "insert into an unknown table", body: sqlBody("INSERT INTO app.nothing (id) VALUES (1)"), status: 400, code: "SQL_EXECUTION_ERROR", message: []string{"not found"}},
		{name: "unknown column", body: sqlBody("SELECT colour FROM app.notes"), status: 400, code: "SQL_EXECUTION_ERROR", message: []string{"colour"}},
		{name: "duplicate key", body: sqlBody(insert + "(1, 'again')"), status: 400, code: "SQL_EXECUTION_ERROR", message: []string{"Primary key violation", "1"}},
		{name: "duplicate key among new rows writes none", body: sqlBody(insert + "(91, 'x'), (92, 'y'), (91, 'z')"), status: 400, code: "SQL_EXECUTION_ERROR", message: []string{"Primary key violation"}},
		{name: "duplicate key beside a new row writes none", body: sqlBody(insert + "(93, 'x'), (2, 'again')"), status: 400, code: "SQL_EXECUTION_ERROR", message: []string{"Primary key violation"}},
		{name: "not null", body: sqlBody(insert + "(94, NULL)"), status: 400, code: "SQL_EXECUTION_ERROR", message: []string{"body"}},
		{name: "wrong type", body: sqlBody(insert+"($1, 'x')", "not a number"), status: 400, message: []string{"not a number"}},
		{name: "number out of range", body: sqlBody(insert + "(99999999999999999999, 'x')"), status: 400},
		{name: "division by zero", body: sqlBody("SELECT 1 / 0"), status: 400, code: "SQL_EXECUTION_ERROR", message: []string{"zero"}},
		{name: "missing parameter", body: sqlBody("SELECT * FROM app.notes WHERE id = $2", 1), status: 400, code: "INVALID_PARAMETER", message: []string{"$2"}},
		{name: "array as parameter", body: sqlBody("SELECT $1", []int{1}), status: 400, code: "INVALID_PARAMETER", message: []string{"$1"}},
		{name: "parameters with a batch", body: sqlBody("SELECT 1; SELECT $1", 1), status: 400, code: "PARAMS_WITH_BATCH"},
		{name: "no statement", body: sqlBody(" ; -- nothing\n"), status: 400, code: "EMPTY_SQL"},
		{name: "UPDATE without WHERE", body: sqlBody("UPDATE app.notes SET body = 'gone'"), status: 400, message: []string{"WHERE"}},
		{name: "DELETE without WHERE", body: sqlBody("DELETE FROM app.notes"), status: 400, message: []string{"WHERE"}},
		{name: "reserved namespace", body: sqlBody("CREATE NAMESPACE system"), status: 400},
		{name: "table that exists", body: sqlBody("CREATE TABLE app.notes (id INT PRIMARY KEY)"), status: 400, code: "SQL_EXECUTION_ERROR", message: []string{"already exists"}},
		{name: "DML on a system view", body: sqlBody("DELETE FROM system.users WHERE user_id = 'root'")},
		{name: "malformed JSON", body: []byte(`{"sql": "SELECT 1"`), status: 400, code: "INVALID_INPUT"},
		{name: "JSON of another shape", body: []byte(`["SELECT 1"]`), status: 400, code: "INVALID_INPUT"},
		{name: "no body", body: nil, status: 400, code: "INVALID_INPUT"},
		{name: "no SQL", body: []byte(`{}`), status: 400, code: "INVALID_INPUT"},
		{name: "SQL text over its limit", body: sqlBody("SELECT '" + strings.Repeat("x", 1<<20) + "'"), status: 400, code: "INVALID_SQL"},
		{name: "no token", token: "none", body: sqlBody("SELECT 1"), status: 401, code: "MISSING_AUTHORIZATION"},
		{name: "not a token", token: "nonsense", body: sqlBody("SELECT 1"), status: 401, code: "INVALID_CREDENTIALS"},
		{
			name: "expired token", token: signedToken(t, time.Now().Add(-5*time.Minute), jwtSecret),
			body: sqlBody("SELECT 1"), status: 401, code: "TOKEN_EXPIRED",
		},
		{
			name: "forged token", token: signedToken(t, time.Now().Add(time.Hour), "another secret of thirty-two bytes"),
			body: sqlBody("SELECT 1"), status: 401, code: "INVALID_CREDENTIALS",
		},
	}
}

// TestRefusalsAreClearAndLoseNothing sends what must be refused, wants the envelope of the specification
// and its code, and finds the rows unchanged and the node alive after each.
func TestRefusalsAreClearAndLoseNothing(t *testing.T) {
	c := startCluster(t, nil)
	root := c.nodes[0].root(t)
	root.must(t, "CREATE NAMESPACE app")
	root.must(t, "CREATE TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT NOT NULL) WITH (TYPE = 'SHARED')")
	root.must(t, "INSERT INTO app.notes (id, body) VALUES (1, 'one'), (2, 'two')")
	for i, request := range refusedRequests(t) {
		t.Run(request.name, func(t *testing.T) {
			at := root.at(c.nodes[i%len(c.nodes)])
			sender := *at
			switch request.token {
			case "":
			case "none":
				sender.token = ""
			default:
				sender.token = request.token
			}
			status, raw, err := sender.send(t.Context(), http.MethodPost, "/v1/api/sql", request.body)
			if err != nil {
				t.Fatal(err)
			}
			if request.status != 0 && status != request.status || status < 400 || status >= 500 {
				t.Errorf("status %d, want %d: %s", status, request.status, raw)
			}
			checkErrorEnvelope(t, raw, request)
			if rows := fmt.Sprint(at.must(t, "SELECT id, body FROM app.notes ORDER BY id").rows()); rows != "[[1 one] [2 two]]" {
				t.Errorf("rows afterwards: %s", rows)
			}
		})
	}
	for _, n := range c.nodes {
		if !n.running() {
			t.Errorf("%v has ended", n)
		}
	}
}

// checkErrorEnvelope wants status, results, took and error, nothing else, and the code and message.
func checkErrorEnvelope(t *testing.T, raw []byte, want refused) {
	t.Helper()
	var envelope map[string]json.RawMessage
	if err := json.Unmarshal(raw, &envelope); err != nil {
		t.Fatalf("answer %q: %v", raw, err)
	}
	if keys := slices.Sorted(maps.Keys(envelope)); !slices.Equal(keys, []string{"error", "results", "status", "took"}) {
		t.Errorf("keys %v: %s", keys, raw)
	}
	if string(envelope["status"]) != `"error"` || string(envelope["results"]) != "[]" {
		t.Errorf("status or results: %s", raw)
	}
	var said struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(envelope["error"], &said); err != nil || said.Code == "" || said.Message == "" {
		t.Fatalf("error has no code or message: %s", raw)
	}
	if want.code != "" && said.Code != want.code {
		t.Errorf("code %s, want %s: %s", said.Code, want.code, raw)
	}
	for _, part := range want.message {
		if !strings.Contains(said.Message, part) {
			t.Errorf("message %q does not say %q", said.Message, part)
		}
	}
}

// TestOversizedBodyIsRefused sends more than the limit, announced and unannounced.
func TestOversizedBodyIsRefused(t *testing.T) {
	n := newNode(t, testDir(t), 1)
	n.settings = n.settings.with(settings{"rate_limit.request_body_limit_bytes": 2 << 20})
	n.start(t)
	n.waitReady(t)
	root := n.root(t)
	for _, announced := range []bool{true, false} {
		body := bytes.NewReader(bytes.Repeat([]byte(" "), 2<<20+1))
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.url()+"/v1/api/sql", body)
		if err != nil {
			t.Fatal(err)
		}
		if !announced {
			request.ContentLength = -1
		}
		request.Header.Set("Authorization", "Bearer "+root.token)
		request.Header.Set("Content-Type", "application/json")
		answer, err := root.http.Do(request)
		if err != nil {
			t.Fatalf("announced %v: %v", announced, err)
		}
		var said bytes.Buffer
		_, err = said.ReadFrom(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(said.String(), "2097152") {
			t.Errorf("announced %v: %s %q, %v; want 413 and the limit", announced, answer.Status, said.String(), err)
		}
	}
	root.must(t, "SELECT 1")
}

// TestLoginRefusals wants wrong passwords and unknown users to be told apart by nobody, and repeated
// failures to lock the account on every node.
func TestLoginRefusals(t *testing.T) {
	c := startCluster(t, settings{"auth.lockout_failures": 3})
	root := c.nodes[0].root(t)
	root.must(t, "CREATE USER ann WITH PASSWORD 'password-of-ann' ROLE user")
	attempt := func(n *node, user, password string) (int, string) {
		t.Helper()
		anonymous := &client{base: n.url(), http: root.http}
		status, raw, err := anonymous.post(t.Context(), "/v1/api/auth/login", map[string]any{"user": user, "password": password})
		if err != nil {
			t.Fatal(err)
		}
		return status, string(raw)
	}
	const want = `{"error":"unauthorized","message":"Invalid credentials"}`
	for _, user := range []string{"ann", "nobody", "root"} {
		status, raw := attempt(c.nodes[0], user, "wrong")
		if status != http.StatusUnauthorized || strings.TrimSpace(raw) != want {
			t.Errorf("login of %s: %d %s, want 401 %s", user, status, raw, want)
		}
	}
	for _, body := range []string{"", "{", `{"user":"ann"}`, `{"user":"ann","password":"x","more":1}`} {
		anonymous := &client{base: c.nodes[0].url(), http: root.http}
		status, raw, err := anonymous.send(t.Context(), http.MethodPost, "/v1/api/auth/login", []byte(body))
		if err != nil || status != http.StatusBadRequest {
			t.Errorf("login with %q: %d %s, %v; want 400", body, status, raw, err)
		}
	}
	if status, raw := attempt(c.nodes[1], "ann", "password-of-ann"); status != http.StatusOK {
		t.Errorf("login of ann: %d %s", status, raw)
	}
	for i := range 3 {
		attempt(c.nodes[i], "ann", "wrong")
	}
	for _, n := range c.nodes {
		if status, raw := attempt(n, "ann", "password-of-ann"); status != http.StatusUnauthorized || !strings.Contains(raw, "account_locked") {
			t.Errorf("login of ann at %v after three failures: %d %s, want 401 account_locked", n, status, raw)
		}
	}
}
