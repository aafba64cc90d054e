package server

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
)

// request is one request of the SQL route as it goes over the wire.
type request struct {
	body   string // JSON, unless the header says otherwise
	header map[string]string
}

func statement(sql string, params ...any) request {
	body, err := json.Marshal(map[string]any{"sql": sql, "params": params})
	if err != nil {
		panic(err) // the texts and numbers of a table of tests
	}
	return request{body: string(body)}
}

// fileForm is a request that brings a file along.
func fileForm(t *testing.T) request {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	if err := form.WriteField("sql", "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	part, err := form.CreateFormFile("file:photo", "photo.png")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write([]byte("pixels")); err != nil {
		t.Fatal(err)
	}
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	return request{body.String(), map[string]string{"Content-Type": form.FormDataContentType()}}
}

// send runs a request in the client's name, unless it brings its own, and returns what a failure says.
func (c client) send(r request) (status int, header http.Header, a answer) {
	c.t.Helper()
	sent, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url+"/v1/api/sql", strings.NewReader(r.body))
	if err != nil {
		c.t.Fatal(err)
	}
	sent.Header.Set("Content-Type", "application/json")
	sent.Header.Set("Authorization", "Bearer "+c.token)
	for name, value := range r.header {
		sent.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(sent)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // it was read to its end
	body, err := io.ReadAll(response.Body)
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	if err != nil {
		c.t.Fatalf("%s: %d %s: %v", r.body, response.StatusCode, body, err)
	}
	return response.StatusCode, response.Header, a
}

// wantError sends a request that must fail with a status and a code, and returns the message. Nobody but an
// administrator reads details.
func (c client) wantError(r request, status int, code string, admin bool) string {
	c.t.Helper()
	got, _, a := c.send(r)
	if got != status || a.Status != "error" || a.Error == nil || a.Error.Code != code || a.Error.Message == "" {
		c.t.Errorf("%.80s: got %d %+v, want %d %s", r.body, got, a.Error, status, code)
		return ""
	}
	if a.Results == nil || len(a.Results) > 0 {
		c.t.Errorf("%.80s: results are %v", r.body, a.Results)
	}
	if !admin && a.Error.Details != "" {
		c.t.Errorf("%.80s: a user reads the details %q", r.body, a.Error.Details)
	}
	return a.Error.Message
}

// aged returns a token that is like the given one but expired in 1970, signed with the server's secret.
func aged(t *testing.T, token, secret string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err = json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	claims["iat"], claims["exp"] = 100, 200
	if payload, err = json.Marshal(claims); err != nil {
		t.Fatal(err)
	}
	signed := parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload)
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(signed)) // a hash cannot fail
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// spoil replaces the stored bytes of every row of a SHARED table by what no row looks like.
func spoil(t *testing.T, n *Node, namespace, name string) {
	t.Helper()
	lo, hi := keys.TableSpan(shard.SharedShard(0), mustTable(t, n, namespace, name))
	rows, err := n.store.Scan(lo, hi)
	if err != nil {
		t.Fatal(err)
	}
	batch := n.store.NewBatch()
	for ok := rows.First(); ok; ok = rows.Next() {
		if err := batch.Set(bytes.Clone(rows.Key()), []byte{0xff}); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	if batch.Count() == 0 {
		t.Fatalf("%s.%s has no row", namespace, name)
	}
	if err := n.store.Commit(batch); err != nil {
		t.Fatal(err)
	}
}

// TestEveryErrorCodeOverHTTP provokes every code of the SQL route that one node can give, with real statements. The
// name secret_place stands for what a caller must not learn from a message that is hidden from him.
func TestEveryErrorCodeOverHTTP(t *testing.T) {
	t.Parallel()
	const secret = "the-secret-of-the-tests-0123456789abcdef"
	cfg := testConfig(t.TempDir())
	cfg.Auth.JWTSecret = secret
	n := openNode(t, cfg, Options{})
	waitReady(t, n)
	root := login(t, n, "root", rootPassword)
	root.sql("CREATE USER ann WITH PASSWORD 'Secret-of-ann-1' ROLE user")
	root.sql("CREATE NAMESPACE app")
	root.sql("CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT NOT NULL)")
	root.sql("CREATE TABLE app.hidden (id BIGINT PRIMARY KEY) WITH (TYPE='SHARED', ACCESS_LEVEL='private')")
	root.sql("CREATE TABLE app.spoilt (id BIGINT PRIMARY KEY, secret_place TEXT) WITH (TYPE='SHARED', ACCESS_LEVEL='public')")
	root.sql("INSERT INTO app.spoilt VALUES (1, 'x')")
	spoil(t, n, "app", "spoilt")
	ann := login(t, n, "ann", "Secret-of-ann-1")
	deep := statement("SELECT " + strings.Repeat("(", 300) + "secret_place" + strings.Repeat(")", 300))
	for _, test := range []struct {
		name    string
		request request
		status  int
		code    string
		part    string // what an administrator reads in the message
		hidden  bool   // from others
	}{
		{"nothing", statement(" ; "), 400, "EMPTY_SQL", "no SQL statement", false},
		{"parameters of two statements", statement("SELECT $1; SELECT $1", 1), 400, "PARAMS_WITH_BATCH", "", false},
		{"missing parameter", statement("SELECT $2", 1), 400, "INVALID_PARAMETER", "$2", false},
		{"parameter of no SQL type", request{body: `{"sql":"SELECT $1","params":[[1]]}`}, 400, "INVALID_PARAMETER", "$1", false},
		{"no statement", statement("SELEC secret_place"), 400, "BATCH_PARSE_ERROR", "SELEC", true},
		{"second of two", statement("SELECT 1; SELECT x FROM secret_place WHERE"), 400, "BATCH_PARSE_ERROR", "line 1", true},
		{"too deep", deep, 400, "INVALID_SQL", "200 levels", true},
		{"no table", statement("SELECT * FROM app.secret_place"), 400, "SQL_EXECUTION_ERROR", "table 'app.secret_place' not found", true},
		{"no namespace", statement("SELECT * FROM secret_place.t"), 400, "SQL_EXECUTION_ERROR", "not found", true},
		{"no column", statement("SELECT nowhere FROM app.notes"), 400, "SQL_EXECUTION_ERROR", "nowhere", false},
		{"one key twice", statement("INSERT INTO app.notes VALUES (1, 'a'), (1, 'b')"), 400, "SQL_EXECUTION_ERROR", "Primary key violation", false},
		{"no value", statement("INSERT INTO app.notes VALUES (1, NULL)"), 400, "SQL_EXECUTION_ERROR", "body", false},
		{"no number", statement("SELECT 1 / 0"), 400, "SQL_EXECUTION_ERROR", "zero", false},
		{"damaged row", statement("SELECT * FROM app.spoilt"), 500, "INTERNAL_ERROR", "spoilt", true},
		{"no JSON", request{body: `{"sql":`}, 400, "INVALID_INPUT", "JSON", false},
		{"no text", request{body: `{"sql":1}`}, 400, "INVALID_INPUT", "sql", false},
		{"a file", fileForm(t), 400, "EXTRA_FILE", "files", false},
		{"no transaction", request{statement("SELECT 1").body, map[string]string{"X-Transaction-ID": "TX-1-999"}}, 400, "TRANSACTION_NOT_FOUND", "", false},
		{"no token", request{statement("SELECT 1").body, map[string]string{"Authorization": ""}}, 401, "MISSING_AUTHORIZATION", "", false},
		{"basic", request{statement("SELECT 1").body, map[string]string{"Authorization": "Basic YTpi"}}, 401, "INVALID_CREDENTIALS", "", false},
		{"old token", request{statement("SELECT 1").body, map[string]string{"Authorization": "Bearer " + aged(t, ann.token, secret)}}, 401, "TOKEN_EXPIRED", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			root, ann := root, ann
			root.t, ann.t = t, t
			full := root.wantError(test.request, test.status, test.code, true)
			if !strings.Contains(full, test.part) {
				t.Errorf("an administrator reads %q, want %q in it", full, test.part)
			}
			read := ann.wantError(test.request, test.status, test.code, false)
			if test.hidden == (read == full) || test.hidden && strings.Contains(read, "secret_place") {
				t.Errorf("a user reads %q, an administrator %q; hidden: %v", read, full, test.hidden)
			}
		})
	}
	for _, sql := range []string{"CREATE NAMESPACE mine", "SELECT * FROM system.users", "DROP USER root"} {
		ann.wantError(statement(sql), http.StatusForbidden, "PERMISSION_DENIED", false)
	}
	// A table that a user may not see is answered like one that is not there.
	absent := ann.wantError(statement("SELECT * FROM app.secret_place"), http.StatusBadRequest, "SQL_EXECUTION_ERROR", false)
	if unseen := ann.wantError(statement("SELECT * FROM app.hidden"), http.StatusBadRequest, "SQL_EXECUTION_ERROR", false); unseen != absent {
		t.Errorf("of a table that is hidden a user reads %q, of an absent one %q", unseen, absent)
	}
}

// TestStringsThatProgramsRead: clients look for these texts in messages, whatever else stands around them.
func TestStringsThatProgramsRead(t *testing.T) {
	t.Parallel()
	_, root, _ := systemNode(t)
	message := func(sql string) string {
		status, a := root.ask(sql)
		if status != http.StatusOK || len(a.Results) != 1 {
			t.Fatalf("%s: %d %+v", sql, status, a.Error)
		}
		return a.Results[0].Message
	}
	if got := message("INSERT INTO app.notes VALUES (1, 'a'), (2, 'b')"); got != "Inserted 2 row(s)" {
		t.Errorf("INSERT says %q", got)
	}
	if got := message("CREATE INDEX by_body ON app.notes (body)"); !strings.Contains(got, "Job ID: ") {
		t.Errorf("CREATE INDEX says %q", got)
	}
	for sql, part := range map[string]string{
		"INSERT INTO app.notes VALUES (1, 'c')":                 "Primary key violation",
		"CREATE NAMESPACE app":                                  "already exists",
		"CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY)":   "already exists",
		"CREATE USER ann WITH PASSWORD 'Secret-of-2' ROLE user": "already exists",
		"DROP TABLE app.absent":                                 "not found",
		"DROP USER absent":                                      "not found",
		"SELECT absent FROM app.notes":                          "not found",
	} {
		if got := root.wantError(statement(sql), http.StatusBadRequest, "SQL_EXECUTION_ERROR", true); !strings.Contains(got, part) {
			t.Errorf("%s says %q, want %q in it", sql, got, part)
		}
	}
	if got := message("DROP TABLE app.notes"); !strings.Contains(got, "Cleanup job: ") {
		t.Errorf("DROP TABLE says %q", got)
	}
}

// TestTooManyQueriesOverHTTP counts the requests of a user until he is told to wait.
func TestTooManyQueriesOverHTTP(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t.TempDir())
	cfg.RateLimit.MaxQueriesPerSec = 1
	n := openNode(t, cfg, Options{})
	waitReady(t, n)
	root := login(t, n, "root", rootPassword)
	for range 20 {
		status, header, a := root.send(statement("SELECT 1"))
		if status == http.StatusOK {
			continue
		}
		if status != http.StatusTooManyRequests || a.Error.Code != "RATE_LIMIT_EXCEEDED" || header.Get("Retry-After") == "" {
			t.Errorf("got %d %+v, Retry-After %q", status, a.Error, header.Get("Retry-After"))
		}
		return
	}
	t.Error("20 requests were answered under a limit of one a second")
}
