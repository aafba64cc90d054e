package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/session"
)

// TestRepeatHeaders: what names a repeated request reaches the engine, and nonsense is refused before anything runs.
func TestRepeatHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleUser)
	send := func(key, age string) plainAnswer {
		answer := w.post("/v1/api/sql", oneStatement, func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Idempotency-Key", key)
			r.Header.Set("Idempotency-Age", age)
		})
		return plainAnswer{answer.Code, answer.Body.String()}
	}
	for _, test := range []struct {
		key, age string
		want     time.Duration
	}{{"k-1", "", 0}, {"k-1", "0", time.Millisecond}, {"\"quoted\"", "1500", 1500 * time.Millisecond}} {
		if got := send(test.key, test.age); got.status != http.StatusOK {
			t.Errorf("%q, %q: %d %s", test.key, test.age, got.status, got.body)
		}
		if w.sql.last.RepeatKey != test.key || w.sql.last.RepeatAge != test.want {
			t.Errorf("%q, %q arrived as %q, %v", test.key, test.age, w.sql.last.RepeatKey, w.sql.last.RepeatAge)
		}
	}
	calls := w.sql.calls
	for _, test := range []struct{ key, age string }{
		{"", "5"}, {strings.Repeat("k", 129), ""}, {"ä", ""}, {"k", "-1"}, {"k", "soon"}, {"k", "86400001"},
	} {
		if got := send(test.key, test.age); got.status != http.StatusBadRequest || !strings.Contains(got.body, "Idempotency-") {
			t.Errorf("%q, %q: %d %s", test.key, test.age, got.status, got.body)
		}
	}
	if w.sql.calls != calls {
		t.Errorf("%d refused requests ran", w.sql.calls-calls)
	}
}

type plainAnswer struct {
	status int
	body   string
}

// TestModeOfARequest: a mode that does not exist is refused; the others are accepted in JSON.
func TestModeOfARequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleUser)
	for mode, status := range map[string]int{
		"quorum": http.StatusOK, "all": http.StatusOK, "": http.StatusOK, "most": http.StatusBadRequest,
	} {
		if answer := w.query(token, `{"sql":"SELECT 1","replication_mode":"`+mode+`"}`); answer.Code != status {
			t.Errorf("replication_mode %q: %d %s, want %d", mode, answer.Code, answer.Body, status)
		}
	}
}

// TestReadLevelOfARequest: a level that does not exist is refused, and so is a bound without one.
func TestReadLevelOfARequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleUser)
	for members, status := range map[string]int{
		`"read_level":"linearizable"`: http.StatusOK, `"read_level":"lease"`: http.StatusOK, `"read_level":"local"`: http.StatusOK,
		`"read_level":"bounded"`: http.StatusOK, `"read_level":"bounded","max_staleness_ms":250`: http.StatusOK, `"read_level":""`: http.StatusOK,
		`"read_level":"eventual"`: http.StatusBadRequest, `"read_level":"local","max_staleness_ms":250`: http.StatusBadRequest,
		`"max_staleness_ms":250`: http.StatusBadRequest, `"read_level":"bounded","max_staleness_ms":0`: http.StatusBadRequest,
		`"read_level":"bounded","max_staleness_ms":"soon"`: http.StatusBadRequest, `"read_level":7`: http.StatusBadRequest,
	} {
		if answer := w.query(token, `{"sql":"SELECT 1",`+members+`}`); answer.Code != status {
			t.Errorf("%s: %d %s, want %d", members, answer.Code, answer.Body, status)
		}
	}
}
