package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/api/httpapi"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/session"
)

// deadline bounds what tests wait for; nothing should come near it.
const deadline = 30 * time.Second

// serve runs the world's server on a port of the kernel's choice.
func (w *world) serve() (address string, ended <-chan error) {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	outcome := make(chan error, 1)
	go func() { outcome <- w.Serve(listener) }()
	w.t.Cleanup(func() {
		if err := w.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return listener.Addr().String(), outcome
}

// reply is an answer that was read to its end.
type reply struct {
	status     int
	protoMajor int
	body       string
}

func (w *world) send(client *http.Client, address, token string) (reply, error) {
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "http://"+address+"/v1/api/sql", strings.NewReader(oneStatement))
	if err != nil {
		return reply{}, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := client.Do(r)
	if err != nil {
		return reply{}, err
	}
	body, err := io.ReadAll(answer.Body)
	return reply{answer.StatusCode, answer.ProtoMajor, string(body)}, errors.Join(err, answer.Body.Close())
}

func newClient(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	transport := &http.Transport{Protocols: &protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: deadline}
}

func TestBothVersionsOfHTTPOnOnePort(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleUser)
	address, _ := w.serve()
	for _, http2 := range []bool{false, true} {
		answer, err := w.send(newClient(t, http2), address, token)
		if err != nil || answer.status != http.StatusOK || (answer.protoMajor == 2) != http2 {
			t.Errorf("HTTP/2 %v: %+v, err = %v", http2, answer, err)
		}
	}
}

func TestHTTP2CanBeTurnedOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.Server.EnableHTTP2 = false })
	token := w.addUser("alice", session.RoleUser)
	address, _ := w.serve()
	if _, err := w.send(newClient(t, true), address, token); err == nil {
		t.Error("HTTP/2 is answered although it is off")
	}
	if answer, err := w.send(newClient(t, false), address, token); err != nil || answer.status != http.StatusOK {
		t.Errorf("HTTP/1.1: %v", err)
	}
}

func TestShutdownFinishesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleUser)
	entered, release := make(chan struct{}), make(chan struct{})
	w.sql.work = func(context.Context) { close(entered); <-release }
	address, ended := w.serve()
	answered := make(chan error, 1)
	go func() {
		answer, err := w.send(newClient(t, false), address, token)
		if err == nil && answer.status != http.StatusOK {
			err = errors.New(answer.body)
		}
		answered <- err
	}()
	<-entered
	down := make(chan error, 1)
	go func() { down <- w.Shutdown(t.Context()) }()
	// Serve returns as soon as the listener is closed, while the request is still under way.
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
	if conn, err := net.Dial("tcp", address); err == nil {
		t.Error("a stopping server accepts connections")
		_ = conn.Close()
	}
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("request under way: %v", err)
	}
	if err := <-down; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

func TestShutdownCutsOffAtItsDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleUser)
	entered := make(chan struct{})
	w.sql.work = func(ctx context.Context) { close(entered); <-ctx.Done() }
	address, _ := w.serve()
	answered := make(chan error, 1)
	go func() {
		_, err := w.send(newClient(t, false), address, token)
		answered <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v, want the context's error", err)
	}
	if err := <-answered; err == nil {
		t.Error("the request was answered although it was cut off")
	}
}

// TestClosedConnectionEndsItsQuery within 50 ms, of requests that net/http serves and of others. The least time of some counts: others may keep the
// machine busy.
func TestClosedConnectionEndsItsQuery(t *testing.T) {
	t.Parallel()
	const limit, tries = 50 * time.Millisecond, 20
	w := newWorld(t, nil)
	token := w.addUser("alice", session.RoleUser)
	entered, ended := make(chan struct{}), make(chan struct{})
	w.sql.work = func(ctx context.Context) {
		entered <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
	}
	address, _ := w.serve()
	for _, more := range []string{"", "X-Forwarded-For: 192.0.2.7\r\n"} {
		least := deadline
		for try := 0; try < tries && least >= limit; try++ {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fprintf(conn, "POST /v1/api/sql HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer %s\r\n%sContent-Length: %d\r\n\r\n%s",
				token, more, len(oneStatement), oneStatement); err != nil {
				t.Fatal(err)
			}
			<-entered
			began := time.Now()
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
				least = min(least, time.Since(began))
			case <-time.After(deadline):
				t.Fatal("the query goes on")
			}
		}
		if least >= limit {
			t.Errorf("with %q the query went on for %v", more, least)
		}
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.Performance.MaxConnections = 1 })
	address, _ := w.serve()
	dial := func() (net.Conn, *bufio.Reader) {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(deadline)); err != nil {
			t.Fatal(err)
		}
		return conn, bufio.NewReader(conn)
	}
	ask := func(conn net.Conn, reader *bufio.Reader) (int, string) {
		t.Helper()
		if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return readAnswer(t, reader)
	}
	first, firstReader := dial()
	if status, body := ask(first, firstReader); status != http.StatusOK {
		t.Fatalf("first connection: %d %s", status, body)
	}
	second, secondReader := dial()
	// The request has more bytes than its headers: the answer is read all the same.
	if _, err := io.WriteString(second, "POST /v1/api/sql HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n"+strings.Repeat("x", 1<<16)); err != nil {
		t.Fatal(err)
	}
	if status, body := readAnswer(t, secondReader); status != http.StatusServiceUnavailable || !strings.Contains(body, "TOO_MANY_CONNECTIONS") {
		t.Errorf("second connection: %d %s", status, body)
	}
	if _, err := secondReader.ReadByte(); err == nil {
		t.Error("the refused connection stays open")
	}
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		t.Fatal(err)
	}
	// The server learns of the close on its own; connections are refused until it does.
	for {
		third, thirdReader := dial()
		_, err := io.WriteString(third, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
		status := 0
		if err == nil {
			status, _ = readAnswer(t, thirdReader)
		}
		_ = third.Close()
		if status == http.StatusOK {
			return
		}
	}
}

// TestRefusalWaitsForTheRequest: an answer that comes before the request is discarded by Go's client and by others.
func TestRefusalWaitsForTheRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.Performance.MaxConnections = 1 })
	address, _ := w.serve()
	held, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }() // nothing was sent over it
	for range 200 {
		answer, err := http.Post("http://"+address+"/v1/api/sql", "application/json", strings.NewReader(`{"sql":"SELECT 1"}`))
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("status %d, %v", answer.StatusCode, err)
		}
	}
}

// readAnswer returns zero for a connection that was reset before its answer was read.
func readAnswer(t *testing.T, reader *bufio.Reader) (status int, body string) {
	t.Helper()
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		return 0, err.Error()
	}
	raw, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(raw)
}

// TestRefusedBodiesGetTheirAnswer: a client that sends all before it reads learns why it was refused.
func TestRefusedBodiesGetTheirAnswer(t *testing.T) {
	t.Parallel()
	const bodyBytes = 24 << 20 // more than the buffers of both ends hold
	for _, test := range []struct {
		name  string
		limit int64
		want  string
	}{
		{"too large", 1 << 20, "413"},
		{"not authenticated", bodyBytes, "401"},
	} {
		w := newWorld(t, func(c *config.Config) { c.RateLimit.RequestBodyLimitBytes = test.limit })
		address, _ := w.serve()
		conn, err := (&net.Dialer{Timeout: deadline}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(conn, "POST /v1/api/sql HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", bodyBytes)
		for sent := 0; sent < bodyBytes && err == nil; sent += 1 << 20 {
			_, err = conn.Write(make([]byte, 1<<20))
		}
		line, errRead := bufio.NewReader(conn).ReadString('\n')
		if err = errors.Join(err, errRead, conn.Close()); err != nil || !strings.Contains(line, test.want) {
			t.Errorf("%s: answer %q, %v; want %s", test.name, line, err, test.want)
		}
	}
}

func TestLargeHeadersAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.Limits.MaxHeaderBytes = 4096 })
	address, _ := w.serve()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/livez", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Large", strings.Repeat("x", 64<<10))
	answer, err := newClient(t, false).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
	if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status = %d", answer.StatusCode)
	}
}

func TestNewRefusesMissingParts(t *testing.T) {
	t.Parallel()
	if _, err := httpapi.New(httpapi.Config{}); err == nil {
		t.Error("New accepted an empty configuration")
	}
}
