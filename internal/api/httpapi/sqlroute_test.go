package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

const oneStatement = `{"sql":"SELECT 1"}`

func TestSQLAuthenticationFailures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleUser)
	for _, test := range []struct {
		name   string
		header string
		want   string
	}{
		{"no header", "", "MISSING_AUTHORIZATION"},
		{"empty token", "Bearer ", "MISSING_AUTHORIZATION"},
		{"empty token, trimmed on the way", "Bearer", "MISSING_AUTHORIZATION"},
		{"basic", "Basic YWxpY2U6cGFzcw==", "INVALID_CREDENTIALS"},
		{"no scheme", token, "INVALID_CREDENTIALS"},
		{"garbage", "Bearer garbage", "INVALID_CREDENTIALS"},
		{"forged", "Bearer " + token[:len(token)-4] + "AAAA", "INVALID_CREDENTIALS"},
	} {
		answer := w.post("/v1/api/sql", oneStatement, func(r *http.Request) {
			if test.header != "" {
				r.Header.Set("Authorization", test.header)
			}
			// Cookies do not count here.
			r.AddCookie(&http.Cookie{Name: "kalamdb_auth", Value: token})
		})
		got := readFailure(t, answer)
		if got.status != http.StatusUnauthorized || got.code != test.want || answer.Header().Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: got %+v, want 401 %s", test.name, got, test.want)
		}
	}
	w.clock.Advance(24*time.Hour + time.Minute)
	if got := readFailure(t, w.query(token, oneStatement)); got.status != http.StatusUnauthorized || got.code != "TOKEN_EXPIRED" {
		t.Errorf("expired: %+v", got)
	}
	if w.sql.calls != 0 {
		t.Errorf("%d requests without authentication were executed", w.sql.calls)
	}
}

// TestAccountThatCannotBeLookedUp: a node that is cut off does not call a good token bad.
func TestAccountThatCannotBeLookedUp(t *testing.T) {
	t.Parallel()
	w, elsewhere := newWorld(t, nil), newWorld(t, nil)
	token := elsewhere.addUser("alice", session.RoleUser)
	w.node.FailWith(errors.New("cut off"))
	answer := w.query(token, oneStatement)
	if got := readFailure(t, answer); got.status != http.StatusServiceUnavailable || got.code != "CLUSTER_UNAVAILABLE" ||
		answer.Header().Get("Retry-After") == "" {
		t.Errorf("got %+v", got)
	}
}

func TestBrokenBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) {
		c.RateLimit.MaxQueriesPerSec = 0
		c.Limits.MaxSQLBytes, c.RateLimit.RequestBodyLimitBytes = 1024, 4096
		c.Limits.MaxParamBytes = 1024
	})
	token := w.addUser("alice", session.RoleUser)
	params := func(n int) string { return strings.TrimSuffix(strings.Repeat("1,", n), ",") }
	for _, test := range []struct {
		name, body, code, part string
	}{
		{"empty", ``, "INVALID_INPUT", "JSON"},
		{"cut off", `{"sql":"SELECT 1"`, "INVALID_INPUT", "byte 17"},
		{"two values", oneStatement + oneStatement, "INVALID_INPUT", "byte"},
		{"comma behind the last", `{"sql":"SELECT 1",}`, "INVALID_INPUT", "object key"},
		{"no colon", `{"sql" "SELECT 1"}`, "INVALID_INPUT", "byte 8"},
		{"array", `[]`, "INVALID_INPUT", "array"},
		{"null", `null`, "INVALID_INPUT", "sql"},
		{"no sql", `{"params":[]}`, "INVALID_INPUT", "sql"},
		{"sql null", `{"sql":null}`, "INVALID_INPUT", "sql"},
		{"other case", `{"SQL":"SELECT 1"}`, "INVALID_INPUT", "sql"},
		{"sql twice", `{"sql":"SELECT 1","sql":"DROP TABLE t"}`, "INVALID_INPUT", "twice"},
		{"half a character in sql", `{"sql":"SELECT '\ud83d'"}`, "INVALID_INPUT", "surrogate"},
		{"half a character in a param", `{"sql":"x","params":["a\\\udE00"]}`, "INVALID_INPUT", "surrogate"},
		{"halves in the wrong order", `{"sql":"x","params":["\ude00\ud83d"]}`, "INVALID_INPUT", "surrogate"},
		{"sql number", `{"sql":1}`, "INVALID_INPUT", `"sql" holds a number`},
		{"params object", `{"sql":"x","params":{}}`, "INVALID_INPUT", `"params" holds a object`},
		{"namespace number", `{"sql":"x","namespace_id":1}`, "INVALID_INPUT", "namespace_id"},
		{"no UTF-8", "{\"sql\":\"\xff\"}", "INVALID_INPUT", "UTF-8"},
		{"long sql", `{"sql":"` + strings.Repeat("x", 1025) + `"}`, "INVALID_SQL", "1024"},
		{"param array", `{"sql":"x","params":[1,[2]]}`, "INVALID_PARAMETER", "$2"},
		{"param object", `{"sql":"x","params":[{"a":1}]}`, "INVALID_PARAMETER", "$1"},
		{"51 params", `{"sql":"x","params":[` + params(51) + `]}`, "INVALID_PARAMETER", "50"},
		{"long param", `{"sql":"x","params":["` + strings.Repeat("x", 1025) + `"]}`, "INVALID_PARAMETER", "1024"},
		{"long number", `{"sql":"x","params":[0.` + strings.Repeat("1", 1024) + `]}`, "INVALID_PARAMETER", "1024"},
		{"big integer", `{"sql":"x","params":[9223372036854775808]}`, "INVALID_PARAMETER", "64 bits"},
		{"big float", `{"sql":"x","params":[1e999]}`, "INVALID_PARAMETER", "double"},
	} {
		got := readFailure(t, w.query(token, test.body))
		if got.status != http.StatusBadRequest || got.code != test.code || !strings.Contains(got.message, test.part) {
			t.Errorf("%s: got %+v, want 400 %s with %q", test.name, got, test.code, test.part)
		}
	}
	if w.sql.calls != 0 {
		t.Errorf("%d broken bodies were executed", w.sql.calls)
	}
}

func TestRequestReachesTheEngine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleService)
	answer := w.post("/v1/api/sql",
		`{"sql":"SELECT $1","params":[null,true,false,-5,9223372036854775807,1.5,2e3,"tèxt\u0041","-5"],"namespace_id":"shop","extra":[{}]}`,
		func(r *http.Request) {
			withToken(token)(r)
			r.Header.Set("X-Request-ID", "request-7")
			r.Header.Set("Content-Type", "text/plain")
			r.Header.Set("X-Forwarded-For", "198.51.100.4")
		})
	if answer.Code != http.StatusOK || answer.Header().Get("X-Request-ID") != "request-7" {
		t.Fatalf("answer = %d %s, id %q", answer.Code, answer.Body, answer.Header().Get("X-Request-ID"))
	}
	got := w.sql.last
	if hash := got.Session.Password; hash == "" || strings.Contains(fmt.Sprintf("%v %+v %#v", got, got.Session, got.Session), string(hash)) {
		t.Errorf("the session has no hash of the password, or prints it: %+v", got.Session)
	}
	got.Session.Password = ""
	if got.SQL != "SELECT $1" || got.RequestID != "request-7" ||
		got.Session != (session.Session{User: "alice", Role: session.RoleService, Namespace: "shop", ClientIP: "198.51.100.4", Account: true}) {
		t.Errorf("request = %+v", got)
	}
	want := []datum.Datum{
		{},
		datum.NewBool(true), datum.NewBool(false), datum.NewBigInt(-5), datum.NewBigInt(math.MaxInt64),
		datum.NewDouble(1.5), datum.NewDouble(2000), datum.NewText("tèxtA"), datum.NewText("-5"),
	}
	if diff := cmp.Diff(want, got.Params, cmp.Comparer(func(a, b datum.Datum) bool { return a.Kind() == b.Kind() && datum.Equal(a, b) })); diff != "" {
		t.Error(diff)
	}
	w.query(token, `{"sql":"x","params":null,"namespace_id":null}`)
	if w.sql.last.Session.Namespace != "default" || len(w.sql.last.Params) != 0 {
		t.Errorf("nulls: %+v", w.sql.last)
	}
}

func TestUnsafeRequestIDsAreNotEchoed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, id := range []string{strings.Repeat("x", 129), "a b", "a\tb", "ü"} {
		answer := w.get("/livez", func(r *http.Request) { r.Header["X-Request-Id"] = []string{id} })
		if got := answer.Header().Get("X-Request-ID"); got != "" {
			t.Errorf("%q is echoed as %q", id, got)
		}
	}
}

func multipartBody(t *testing.T, parts map[string]string) (body *bytes.Buffer, contentType string) {
	t.Helper()
	body = new(bytes.Buffer)
	form := multipart.NewWriter(body)
	for name, text := range parts {
		if err := form.WriteField(name, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	return body, form.FormDataContentType()
}

func TestMultipartForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleUser)
	send := func(parts map[string]string) *httptest.ResponseRecorder {
		body, contentType := multipartBody(t, parts)
		return w.post("/v1/api/sql", body.String(), func(r *http.Request) {
			withToken(token)(r)
			r.Header.Set("Content-Type", contentType)
		})
	}
	answer := send(map[string]string{"sql": "SELECT $1", "params": "[7]", "namespace_id": "shop", "other": "ignored"})
	if answer.Code != http.StatusOK || w.sql.last.SQL != "SELECT $1" || w.sql.last.Session.Namespace != "shop" ||
		len(w.sql.last.Params) != 1 || !datum.Equal(w.sql.last.Params[0], datum.NewBigInt(7)) {
		t.Errorf("answer %d %s, request %+v", answer.Code, answer.Body, w.sql.last)
	}
	for _, test := range []struct {
		parts map[string]string
		code  string
	}{
		{map[string]string{"params": "[]"}, "INVALID_INPUT"},
		{map[string]string{"sql": "x", "params": "{}"}, "INVALID_INPUT"},
		{map[string]string{"sql": "\xff"}, "INVALID_INPUT"},
		{map[string]string{"sql": "x", "params": "[[]]"}, "INVALID_PARAMETER"},
		{map[string]string{"sql": "x", "file:photo": "bytes"}, "EXTRA_FILE"},
	} {
		if got := readFailure(t, send(test.parts)); got.status != http.StatusBadRequest || got.code != test.code {
			t.Errorf("%v: %+v, want %s", test.parts, got, test.code)
		}
	}
	for _, name := range []string{"sql", "params", "namespace_id", "read_level"} {
		var body strings.Builder
		for _, part := range [][2]string{{"sql", "SELECT 1"}, {name, ""}, {name, ""}} {
			fmt.Fprintf(&body, "--x\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", part[0], part[1])
		}
		twice := w.post("/v1/api/sql", body.String()+"--x--\r\n", func(r *http.Request) {
			withToken(token)(r)
			r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		})
		if got := readFailure(t, twice); got.status != http.StatusBadRequest || got.code != "INVALID_INPUT" {
			t.Errorf("part %q twice: %+v", name, got)
		}
	}
	broken := w.post("/v1/api/sql", "no form", func(r *http.Request) {
		withToken(token)(r)
		r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	})
	if got := readFailure(t, broken); got.code != "INVALID_INPUT" {
		t.Errorf("broken form: %+v", got)
	}
}

// TestEveryKindOfFailure holds the table of statuses, codes, redaction and retries to the surface.
func TestEveryKindOfFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.RateLimit.MaxQueriesPerSec = 0 })
	user, admin := w.addUser("alice", session.RoleUser), w.addUser("boss", session.RoleDBA)
	for _, test := range []struct {
		err    error
		status int
		code   string
		hidden bool
		retry  bool
	}{
		{errors.New("secret_table is broken"), 500, "INTERNAL_ERROR", true, false},
		{fault.New(fault.Internal, "secret_table is broken"), 500, "INTERNAL_ERROR", true, false},
		{fault.New(fault.Syntax, "secret_table unexpected").At(3, 14), 400, "BATCH_PARSE_ERROR", true, false},
		{fault.New(fault.InvalidStatement, "column secret_table not found"), 400, "SQL_EXECUTION_ERROR", false, false},
		{fault.New(fault.InvalidParameter, "secret_table $2 is missing"), 400, "INVALID_PARAMETER", false, false},
		{fault.New(fault.TableNotFound, "table secret_table not found"), 400, "SQL_EXECUTION_ERROR", true, false},
		{fault.New(fault.NotFound, "namespace secret_table not found"), 400, "SQL_EXECUTION_ERROR", true, false},
		{fault.New(fault.AlreadyExists, "secret_table already exists"), 400, "SQL_EXECUTION_ERROR", false, false},
		{fault.New(fault.DuplicateKey, "Primary key violation secret_table"), 400, "SQL_EXECUTION_ERROR", false, false},
		{fault.New(fault.NotNull, "secret_table must not be null"), 400, "SQL_EXECUTION_ERROR", false, false},
		{fault.New(fault.OutOfRange, "secret_table out of range"), 400, "SQL_EXECUTION_ERROR", false, false},
		{fault.New(fault.PermissionDenied, "permission denied secret_table"), 403, "PERMISSION_DENIED", false, false},
		{fault.New(fault.Unsupported, "secret_table is not supported"), 400, "SQL_EXECUTION_ERROR", false, false},
		{fault.New(fault.Conflict, "secret_table changed"), 409, "SQL_EXECUTION_ERROR", false, true},
		{fault.New(fault.NotLeader, "secret_table not the leader"), 503, "NOT_LEADER", false, true},
		{fault.New(fault.Unavailable, "secret_table no quorum"), 503, "CLUSTER_UNAVAILABLE", false, true},
		{fault.New(fault.Overloaded, "secret_table too many"), 503, "CLUSTER_UNAVAILABLE", false, true},
		{fault.New(fault.Timeout, "secret_table outcome unknown"), 504, "CLUSTER_UNAVAILABLE", false, false},
		{fault.New(fault.LimitExceeded, "secret_table too large"), 400, "SQL_EXECUTION_ERROR", false, false},
		{context.DeadlineExceeded, 504, "CLUSTER_UNAVAILABLE", false, false},
		{&exec.Error{Code: exec.CodeEmptySQL, SQL: "secret_table"}, 400, "EMPTY_SQL", false, false},
		{&exec.Error{Code: exec.CodeParamsWithBatch}, 400, "PARAMS_WITH_BATCH", false, false},
		{&exec.Error{Code: exec.CodeInvalidSQL}, 400, "INVALID_SQL", true, false},
		{&exec.Error{Code: exec.CodeInvalidParameter}, 400, "INVALID_PARAMETER", false, false},
		{&exec.Error{Code: exec.CodePermissionDenied}, 403, "PERMISSION_DENIED", false, false},
		{&exec.Error{Code: exec.CodeNotLeader}, 503, "NOT_LEADER", false, true},
		{&exec.Error{Code: exec.CodeClusterUnavailable}, 503, "CLUSTER_UNAVAILABLE", false, true},
		{&exec.Error{Code: exec.CodeInternal}, 500, "INTERNAL_ERROR", true, false},
	} {
		w.sql.err = fmt.Errorf("wrapped: %w", test.err)
		answer := w.query(user, oneStatement)
		got := readFailure(t, answer)
		if got.status != test.status || got.code != test.code || got.details != "" {
			t.Errorf("%v: got %+v, want %d %s", test.err, got, test.status, test.code)
		}
		if leaks := strings.Contains(got.message, "secret_table"); leaks && test.hidden {
			t.Errorf("%v: a user reads %q", test.err, got.message)
		}
		if retry := answer.Header().Get("Retry-After") != ""; retry != test.retry {
			t.Errorf("%v: Retry-After is there: %v, want %v", test.err, retry, test.retry)
		}
		if full := readFailure(t, w.query(admin, oneStatement)); full.code != test.code ||
			strings.Contains(test.err.Error(), "secret_table") && !strings.Contains(full.message, "secret_table") {
			t.Errorf("%v: an administrator reads %+v", test.err, full)
		}
	}
}

func TestPositionLeaderAndRetryAfterAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	user, admin := w.addUser("alice", session.RoleUser), w.addUser("boss", session.RoleDBA)
	w.sql.err = fault.New(fault.Syntax, "unexpected FORM").At(3, 14)
	for _, token := range []string{user, admin} {
		if got := readFailure(t, w.query(token, oneStatement)); !strings.Contains(got.message, "line 3, column 14") {
			t.Errorf("a syntax error says %q", got.message)
		}
	}
	notLeader := fault.New(fault.NotLeader, "not the leader")
	notLeader.Leader = "10.0.0.2:8080"
	w.sql.err = notLeader
	if got := readFailure(t, w.query(user, oneStatement)); !strings.Contains(got.message, "Leader: http://10.0.0.2:8080") {
		t.Errorf("a redirect says %q", got.message)
	}
	overloaded := fault.New(fault.Overloaded, "busy")
	overloaded.RetryAfter = 2500 * time.Millisecond
	w.sql.err = overloaded
	if got := w.query(user, oneStatement).Header().Get("Retry-After"); got != "3" {
		t.Errorf("Retry-After = %q, want 3", got)
	}
	w.sql.err = &exec.Error{Code: exec.CodeExecution, Statement: 2, SQL: "DELETE FROM t"}
	if got := readFailure(t, w.query(admin, oneStatement)); got.details != "DELETE FROM t" {
		t.Errorf("an administrator reads details %q", got.details)
	}
	if got := readFailure(t, w.query(user, oneStatement)); got.details != "" {
		t.Errorf("a user reads details %q", got.details)
	}
}

func TestInternalFailuresAreLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleUser)
	w.sql.err = fault.New(fault.DuplicateKey, "Primary key violation")
	w.query(token, oneStatement)
	if logs := w.logs.String(); logs != "" {
		t.Errorf("a caller's mistake is logged: %s", logs)
	}
	w.sql.err = errors.New("disk on fire")
	w.query(token, oneStatement)
	if logs := w.logs.String(); !strings.Contains(logs, "disk on fire") {
		t.Errorf("logs = %q", logs)
	}
}

func TestPanicsAreAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleUser)
	w.sql.work = func(context.Context) { panic("a mistake of ours") }
	answer := w.query(token, oneStatement)
	if got := readPlain(t, answer); got.status != http.StatusInternalServerError || got.code != "INTERNAL_ERROR" {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(w.logs.String(), "a mistake of ours") {
		t.Error("the panic is not logged")
	}
	w.sql.work = nil
	if answer := w.query(token, oneStatement); answer.Code != http.StatusOK {
		t.Errorf("afterwards: %d %s", answer.Code, answer.Body)
	}
}

func FuzzSQLBody(f *testing.F) {
	f.Add([]byte(oneStatement))
	f.Add([]byte(`{"sql":"x","params":[1,"a",null,true,1e5,-0],"namespace_id":"n"}`))
	f.Add([]byte(`{"sql":"\ud800","params":[18446744073709551616,[],{}]}`))
	f.Add([]byte(`{"SQL":1}`))
	w := newWorld(f, func(c *config.Config) { c.RateLimit.MaxQueriesPerSec = 0 })
	token := w.addUser("alice", session.RoleUser)
	f.Fuzz(func(t *testing.T, body []byte) {
		before := w.sql.calls
		answer := w.query(token, string(body))
		switch ran := w.sql.calls - before; {
		case answer.Code == http.StatusOK && ran == 1:
		case answer.Code == http.StatusBadRequest && ran == 0:
			readFailure(t, answer)
		default:
			t.Fatalf("body %q ran %d times: %d %s", body, ran, answer.Code, answer.Body)
		}
	})
}
