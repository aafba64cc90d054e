package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// TestTransactionHeader: the id goes in and out by a header, and failures of transactions have their codes.
func TestTransactionHeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleUser)
	ask := func(id string) (status int, code, open, retry string) {
		answer := w.post("/v1/api/sql", oneStatement, func(r *http.Request) {
			withToken(token)(r)
			if id != "" {
				r.Header.Set("X-Transaction-ID", id)
			}
		})
		if answer.Code != http.StatusOK {
			code = readFailure(t, answer).code
		}
		return answer.Code, code, answer.Header().Get("X-Transaction-ID"), answer.Header().Get("Retry-After")
	}
	for _, id := range []string{"", "new", "1-0193"} {
		w.sql.response = &exec.Response{Transaction: "1-0193"}
		if status, _, open, _ := ask(id); status != http.StatusOK || open != "1-0193" || w.sql.last.Transaction != id {
			t.Errorf("%q: %d, open %q, the engine was given %q", id, status, open, w.sql.last.Transaction)
		}
	}
	w.sql.response = &exec.Response{}
	if _, _, open, _ := ask("1-0193"); open != "" {
		t.Errorf("a transaction that ended is announced as %q", open)
	}
	for _, test := range []struct {
		err    error
		status int
		code   string
		open   string
		retry  string
	}{
		{&exec.Error{Code: exec.CodeExecution, Transaction: "1-0193"}, 400, "SQL_EXECUTION_ERROR", "1-0193", ""},
		{&exec.Error{Code: exec.CodeTransactionConflict}, 409, "TRANSACTION_CONFLICT", "", "1"},
		{&exec.Error{Code: exec.CodeTransactionBusy}, 409, "TRANSACTION_BUSY", "", "1"},
		{&exec.Error{Code: exec.CodeNoTransaction}, 400, "TRANSACTION_NOT_FOUND", "", ""},
		{fault.New(fault.NotLeader, "elsewhere"), 503, "NOT_LEADER", "", "1"},
	} {
		w.sql.err = test.err
		status, code, open, retry := ask("1-0193")
		if status != test.status || code != test.code || open != test.open || retry != test.retry {
			t.Errorf("%v: %d %s, open %q, retry after %q; want %+v", test.err, status, code, open, retry, test)
		}
	}
}
