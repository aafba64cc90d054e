package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/datum"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/session"
	"github.com/kalamdb/kalamdb-go/internal/sql/exec"
)

// streamed is a server whose one query has two columns.
func streamed(t *testing.T, rows func(sink exec.RowSink) error, count int) (url, token string, w *world) {
	t.Helper()
	w = newWorld(t, nil)
	token = w.addUser("alice", session.RoleUser)
	w.sql.rows = rows
	w.sql.response = &exec.Response{SingleRows: true, Results: []exec.Result{{
		Columns: streamedColumns(), HasRows: true, Streamed: true, RowCount: count, AsUser: "alice",
	}}}
	server := httptest.NewServer(w.handler)
	t.Cleanup(server.Close)
	return server.URL, token, w
}

func streamedColumns() []exec.Column {
	return []exec.Column{{Name: "id", Type: datum.Of(datum.Int)}, {Name: "text", Type: datum.Of(datum.Text)}}
}

// give sends rows to a sink as a query does, and then fails with an error, if there is one.
func give(count int, failure error) func(sink exec.RowSink) error {
	return func(sink exec.RowSink) error {
		if err := sink.Begin(streamedColumns(), "alice"); err != nil {
			return err
		}
		row := make([]datum.Datum, 2)
		for i := range count {
			row[0], row[1] = datum.NewInt(datum.Int, int64(i)), datum.NewText(strings.Repeat("x", 100))
			if err := sink.Row(row); err != nil {
				return err
			}
		}
		return failure
	}
}

// answer is what came back.
type answer struct {
	status int
	length int64 // as announced; negative when it is sent in parts
	body   []byte
}

func ask(t *testing.T, url, token string) (answer, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url+"/v1/api/sql", strings.NewReader(oneStatement))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.ContentLength, body}, err
}

// TestRowsAreStreamed: a short answer has its length, a long one is sent in parts; both are the same envelope.
func TestRowsAreStreamed(t *testing.T) {
	t.Parallel()
	for _, count := range []int{0, 1, 500, 20_000} {
		url, token, _ := streamed(t, give(count, nil), count)
		got, err := ask(t, url, token)
		if err != nil {
			t.Fatal(err)
		}
		if long := count > 1000; (got.length < 0) != long {
			t.Errorf("%d rows: Content-Length %d", count, got.length)
		}
		var envelope struct {
			Status  string `json:"status"`
			Results []struct {
				Schema   []any   `json:"schema"`
				Rows     [][]any `json:"rows"`
				RowCount int     `json:"row_count"`
				AsUser   string  `json:"as_user"`
			} `json:"results"`
		}
		if err = json.Unmarshal(got.body, &envelope); err != nil {
			t.Fatalf("%d rows: %v", count, err)
		}
		result := envelope.Results[0]
		if len(result.Rows) != count || result.RowCount != count || len(result.Schema) != 2 || result.AsUser != "alice" || envelope.Status != "success" {
			t.Errorf("%d rows: got %d, row_count %d, as %s, %s", count, len(result.Rows), result.RowCount, result.AsUser, envelope.Status)
		}
		if count > 0 && result.Rows[count-1][0] != float64(count-1) {
			t.Errorf("the last row is %v", result.Rows[count-1])
		}
		if !strings.HasSuffix(string(got.body), `,"error":null}`) {
			t.Errorf("%d rows: the envelope ends with %q", count, got.body[len(got.body)-20:])
		}
	}
}

// TestFailureBeforeRowsAreSent is answered like any other, whatever was rendered.
func TestFailureBeforeRowsAreSent(t *testing.T) {
	t.Parallel()
	url, token, _ := streamed(t, give(100, fault.New(fault.InvalidStatement, "division by zero")), 0)
	got, err := ask(t, url, token)
	if err != nil {
		t.Fatal(err)
	}
	if got.status != http.StatusBadRequest || !strings.HasPrefix(string(got.body), `{"status":"error","results":[],`) {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// TestFailureAfterRowsWereSent cuts the connection: no client may take the rows that it has for all of them.
func TestFailureAfterRowsWereSent(t *testing.T) {
	t.Parallel()
	url, token, w := streamed(t, give(20_000, fault.New(fault.InvalidStatement, "division by zero")), 0)
	got, err := ask(t, url, token)
	if !errors.Is(err, io.ErrUnexpectedEOF) || json.Valid(got.body) {
		t.Errorf("the answer of %d bytes ended with %v, want a cut", len(got.body), err)
	}
	if !strings.Contains(w.logs.String(), "division by zero") {
		t.Errorf("nothing is said of it: %s", w.logs.String())
	}
}

// TestQueryThatBeginsAnew may take rows back that were not sent, and no others.
func TestQueryThatBeginsAnew(t *testing.T) {
	t.Parallel()
	url, token, _ := streamed(t, func(sink exec.RowSink) error {
		return errors.Join(give(10, nil)(sink), give(3, nil)(sink))
	}, 3)
	if got, err := ask(t, url, token); err != nil || strings.Count(string(got.body), "xxx") == 0 || strings.Contains(string(got.body), "[3,") {
		t.Errorf("%v %s", err, got.body)
	}
	url, token, _ = streamed(t, func(sink exec.RowSink) error {
		if err := give(20_000, nil)(sink); err != nil {
			return err
		}
		return give(3, nil)(sink)
	}, 3)
	if _, err := ask(t, url, token); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("rows that were sent are taken back: %v", err)
	}
}

// onePipe is a listener with one connection.
type onePipe struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *onePipe) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *onePipe) Close() error   { close(p.done); return nil }
func (p *onePipe) Addr() net.Addr { return &net.TCPAddr{} }

// TestReaderThatTakesNoRowsIsCutOff: a query ends ten seconds after its reader took the last part of the answer, so that
// it does not keep its picture of the store and its place among the requests. Each part that is taken begins the time anew.
func TestReaderThatTakesNoRowsIsCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleUser)
	for name, c := range map[string]struct {
		takesAt, endsAt time.Duration
		takes           int64
	}{
		"takes nothing":   {takesAt: 0, takes: 1, endsAt: 10 * time.Second},
		"takes two parts": {takesAt: 9 * time.Second, takes: 150 << 10, endsAt: 19 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			type ending struct {
				after time.Duration
				err   error
			}
			began, ended := time.Now(), make(chan ending, 1)
			w.sql.rows = func(sink exec.RowSink) error {
				err := give(20_000, nil)(sink)
				ended <- ending{time.Since(began), err}
				return err
			}
			p := &onePipe{conns: make(chan net.Conn, 1), done: make(chan struct{})}
			client, server := net.Pipe()
			p.conns <- server
			web, served := &http.Server{Handler: w.handler, ReadHeaderTimeout: time.Minute}, make(chan error, 1)
			go func() { served <- web.Serve(p) }()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://node.example/v1/api/sql", strings.NewReader(oneStatement))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+token)
			if err = request.Write(client); err != nil {
				t.Fatal(err)
			}
			time.Sleep(c.takesAt)
			if _, err = io.CopyN(io.Discard, client, c.takes); err != nil {
				t.Fatal(err)
			}
			if e := <-ended; e.after != c.endsAt || !errors.Is(e.err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: the query ended after %v with %v, want %v", name, e.after, e.err, c.endsAt)
			}
			if _, err = io.Copy(io.Discard, client); err != nil {
				t.Errorf("%s: the connection ends with %v", name, err)
			}
			if err = errors.Join(web.Close(), <-served); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
	}
}
