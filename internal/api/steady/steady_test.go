package steady

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestAnswersAreThoseOfNetHTTP sends the same bytes to both: usual requests, some behind each other, and unusual ones between them.
func TestAnswersAreThoseOfNetHTTP(t *testing.T) {
	t.Parallel()
	front := serveWith(t, Config{Handler: http.HandlerFunc(echo)}, false)
	alone := serveWith(t, Config{Handler: http.HandlerFunc(echo)}, true)
	for name, requests := range map[string][]string{
		"usual":                   {ask("a"), ask("b", "Accept: c"), ask("announced"), ask(""), ask("nothing"), ask("a")},
		"behind":                  {ask("a") + ask("b") + ask("c")},
		"long":                    {ask(strings.Repeat("x", maxBodyBytes)), ask("long"), ask("a")},
		"longer":                  {ask("a"), ask(strings.Repeat("x", maxBodyBytes+1)), ask("b")},
		"another path":            {ask("a"), strings.Replace(ask("a"), "/sql", "/other?x=y", 1), ask("b")},
		"get":                     {ask("a"), "GET /sql HTTP/1.1\r\nHost: here\r\n\r\n", ask("b")},
		"other field":             {ask("a"), ask("b", "Origin: there"), ask("c")},
		"chunks":                  {ask("a"), start + "Host: here\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", ask("c")},
		"expects":                 {ask("a"), start + "Host: here\r\nContent-Length: 0\r\nExpect: what\r\n\r\n"},
		"client closes":           {ask("a"), ask("b", "Connection: close")},
		"server closes":           {ask("a"), ask("close")},
		"no host":                 {ask("a"), start + "Content-Length: 0\r\n\r\n"},
		"two lengths":             {ask("a"), ask("b", "Content-Length: 2")},
		"nonsense":                {ask("a"), "nonsense\r\n\r\n"},
		"line ends behind a body": {ask("a") + "\r\n" + ask("b") + "\n\r\n" + ask("c"), "\r\n", "\r\n" + ask("d"), "\r\n" + ask("e", "Cookie: f")},
		"more line ends":          {ask("a"), strings.Repeat("\r\n", maxBlank/2) + ask("b"), strings.Repeat("\r\n", maxBlank) + ask("b")},
		"line ends at the start":  {"\r\n" + ask("a")},
		"forwarded":               {ask("a"), ask("b", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https")},
		"of a page":               {ask("a"), ask("b", "Cookie: c=d", "Sec-Fetch-Site: cross-site")},
		"upgrades":                {ask("a"), ask("b", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")},
		"waits for leave":         {ask("a"), ask("", "Expect: 100-continue")},
		"space before the colon":  {ask("a"), ask("b", "Accept : c")},
		"line that goes on":       {ask("a"), ask("b", "Accept: c", " d"), ask("c")},
		"bare line feeds":         {ask("a"), strings.ReplaceAll(ask("b"), "\r\n", "\n"), ask("c")},
		"last bare line feeds":    {ask("a"), strings.ReplaceAll(ask("b"), "\r\n\r\n", "\n\n"), ask("c")},
		"nul":                     {ask("a"), ask("b", "Accept: c\x00d")},
		"whole address":           {ask("a"), strings.Replace(ask("b"), "/sql", "http://there/sql", 1), ask("c")},
		"query":                   {ask("a"), strings.Replace(ask("b"), "/sql", "/sql?c=d", 1), ask("c")},
		"chunks with a length":    {ask("a"), ask("1\r\nx\r\n0\r\n\r\n", "Transfer-Encoding: chunked")},
		"odd coding":              {ask("a"), ask("b", "Transfer-Encoding: xchunked")},
		"length with zeros":       {ask("a"), start + "Host: here\r\nContent-Length: 0001\r\n\r\nb", ask("c")},
		"length with a sign":      {ask("a"), start + "Host: here\r\nContent-Length: +1\r\n\r\nb"},
		"length with a space":     {ask("a"), start + "Host: here\r\nContent-Length: 1 1\r\n\r\nb"},
		"odd host":                {ask("a"), start + "Host: a b\r\nContent-Length: 1\r\n\r\nb"},
		"earlier version":         {ask("a"), strings.Replace(ask("b", "Connection: keep-alive"), "HTTP/1.1", "HTTP/1.0", 1)},
	} {
		var got [2][]reply
		for i, s := range []*server{front, alone} {
			c := s.dial()
			for _, request := range requests {
				c.send(request)
				answers := strings.Count(request, "POST")
				if strings.TrimSpace(request) != "" {
					answers = max(1, answers)
				}
				for range answers {
					answer, err := c.receive()
					if err != nil {
						t.Fatalf("%s, server %d: %v", name, i, err)
					}
					got[i] = append(got[i], answer)
				}
			}
		}
		if diff := cmp.Diff(got[1], got[0]); diff != "" {
			t.Errorf("%s (-net/http +here):\n%s", name, diff)
		}
	}
}

// TestPiecesOfARequest come one by one; slow ones come to net/http as a whole.
func TestPiecesOfARequest(t *testing.T) {
	t.Parallel()
	const rest = 20 * time.Millisecond
	s := serveWith(t, Config{Handler: http.HandlerFunc(echo), Rest: rest}, false)
	c, text := s.dial(), ask("abc", "Accept: d")
	for i := range len(text) {
		c.send(text[i : i+1])
	}
	first, err := c.receive()
	if err != nil || !strings.Contains(first.Body, " abc <nil>") {
		t.Fatalf("%+v, %v", first, err)
	}
	c.send(text[:len(text)-1])
	time.Sleep(2 * rest) // the request is slow, which is the matter of the test
	c.send(text[len(text)-1:])
	if second, err := c.receive(); err != nil || second.Body != first.Body {
		t.Errorf("%+v, %v; want %q", second, err, first.Body)
	}
}

// TestClientThatGoesEndsItsRequest also when it took its time to go.
func TestClientThatGoesEndsItsRequest(t *testing.T) {
	t.Parallel()
	entered, ended := make(chan struct{}), make(chan error, 1)
	s := serveWith(t, Config{Idle: patience, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		select {
		case <-r.Context().Done():
			ended <- nil
		case <-time.After(patience):
			ended <- errors.New("the request goes on")
		}
	})}, false)
	c := s.dial()
	c.send(ask("a"))
	<-entered
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// lost is a connection that gives up on its client after the first request.
type lost struct {
	net.Conn
	asked atomic.Bool
}

func (l *lost) Read(p []byte) (int, error) {
	if l.asked.Swap(true) {
		return 0, &net.OpError{Op: "read", Err: syscall.ETIMEDOUT}
	}
	return l.Conn.Read(p)
}

// losing makes each connection of a listener a lost one.
type losing struct{ net.Listener }

func (l losing) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &lost{Conn: conn}, nil
}

// TestClientThatDoesNotAnswerEndsItsRequest: what TCP calls a timeout is no deadline of ours.
func TestClientThatDoesNotAnswerEndsItsRequest(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	f := New(Config{Path: "/sql", Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
			ended <- nil
		case <-time.After(patience):
			ended <- errors.New("the request goes on")
		}
	})})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rest := f.Listener(losing{l})
	defer rest.Close() //nolint:errcheck // the test ends
	c := (&server{t: t, addr: l.Addr().String()}).dial()
	c.send(ask("a"))
	if err := <-ended; err != nil {
		t.Error(err)
	}
	f.Drain()
	if err := f.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// whoServes answers with who does.
func whoServes(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if r.Context().Value(http.ServerContextKey) != nil {
		_, _ = io.WriteString(w, "net/http")
		return
	}
	_, _ = io.WriteString(w, "here")
}

// TestTrickleGoesToNetHTTP, which bounds the time of a head and of a body: a byte now and then makes no request last.
func TestTrickleGoesToNetHTTP(t *testing.T) {
	t.Parallel()
	const rest = 50 * time.Millisecond
	s := serveWith(t, Config{Rest: rest, Handler: http.HandlerFunc(whoServes)}, false)
	c, text, n := s.dial(), ask("a"), 0
	c.send(text)
	c.want("here")
	for began := time.Now(); time.Since(began) < 2*rest; n++ {
		c.send(text[n : n+1])
		time.Sleep(rest / 10) // the request is slow, which is the matter of the test
	}
	c.send(text[n:])
	c.want("net/http")
}

// TestDeadlinesDoNotOutliveARequest where there are none for the next one.
func TestDeadlinesDoNotOutliveARequest(t *testing.T) {
	t.Parallel()
	var s *server
	s = serveWith(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) == "long" {
			s.watched(begun)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
		if string(body) == "last" { // behind which the client goes
			return
		}
		if err := http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0)); err != nil {
			t.Error(err)
		}
	})}, false)
	c := s.dial()
	for _, body := range []string{"a", "long", "b", "last"} {
		c.send(ask(body))
		c.want(body)
	}
}

// TestNextRequestDuringALongOne: a watch reads the first byte of it.
func TestNextRequestDuringALongOne(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	s := serveWith(t, Config{Idle: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) == "long" {
			entered <- struct{}{}
			<-release
		}
		_, _ = w.Write(bytes.ToUpper(body))
	})}, false)
	c := s.dial()
	for range 3 {
		c.send(ask("long"))
		<-entered
		c.send(ask("next") + ask("last"))
		s.watched(read)
		release <- struct{}{}
		c.want("LONG")
		c.want("NEXT")
		c.want("LAST")
	}
}

// TestAnswerThatBreaksOff is cut, so that a part does not pass for the whole, and the server goes on.
func TestAnswerThatBreaksOff(t *testing.T) {
	t.Parallel()
	s := serveWith(t, Config{Write: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch string(body) {
		case "short":
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "abc")
		case "chunks":
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience))
			_, _ = w.Write(make([]byte, 2*heldBytes))
			panic(http.ErrAbortHandler)
		case "abort":
			panic(http.ErrAbortHandler)
		case "exit":
			runtime.Goexit()
		case "fine":
			w.Header().Set("Content-Length", "3")
			_, _ = io.WriteString(w, "abc")
			if _, err := io.WriteString(w, "d"); !errors.Is(err, http.ErrContentLength) {
				t.Errorf("more than announced: %v", err)
			}
		}
	})}, false)
	for _, how := range []string{"short", "chunks", "abort", "exit"} {
		c := s.dial()
		c.send(ask(how))
		if answer, err := c.receive(); err == nil && !answer.Broken {
			t.Errorf("%s: whole answer %+v", how, answer)
		}
		if !c.ended() {
			t.Errorf("%s: the connection goes on", how)
		}
	}
	c := s.dial()
	c.send(ask("fine"))
	c.want("abc")
}

// sink is a connection that takes everything.
type sink struct {
	net.Conn
	got []byte
}

func (s *sink) Write(p []byte) (int, error) {
	s.got = append(s.got, p...)
	return len(p), nil
}

// TestLongAnswersAreNotCopied, and a connection keeps little between requests.
func TestLongAnswersAreNotCopied(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 3 * keepAnswerBytes, heldBytes - 1, heldBytes, 5 * heldBytes} {
		for _, announced := range []bool{true, false} {
			to := &sink{}
			a := &answer{conn: &conn{Conn: to}, header: make(http.Header)}
			body := bytes.Repeat([]byte("0123456789"), size)[:size]
			a.reset()
			if announced {
				a.header.Set("Content-Length", strconv.Itoa(size))
			}
			if n, err := a.Write(body); n != size || err != nil {
				t.Fatal(n, err)
			}
			if cap(a.out) > 2*heldBytes {
				t.Errorf("an answer of %d bytes (announced: %t) takes %d", size, announced, cap(a.out))
			}
			if !a.finish() || cap(a.out)+cap(a.head) > 2*keepAnswerBytes {
				t.Errorf("of an answer of %d bytes (announced: %t) %d and %d are kept", size, announced, cap(a.out), cap(a.head))
			}
			r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(to.got)), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes, %v; want %d", len(got), err, size)
			}
			_ = r.Body.Close() // it was read
		}
	}
}

// BenchmarkRequests is one request and its answer over a connection, here and by net/http.
func BenchmarkRequests(b *testing.B) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", "2")
		_, _ = io.WriteString(w, "ok")
	})
	for _, name := range []string{"here", "net/http"} {
		b.Run(name, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			front, alone := New(Config{Handler: handler, Path: "/sql"}), &http.Server{Handler: handler, ReadHeaderTimeout: patience}
			addr := l.Addr().String()
			if name == "here" {
				l = front.Listener(l)
			}
			go func() { _ = alone.Serve(l) }()
			defer alone.Close() //nolint:errcheck // the benchmark ends
			defer front.Cut()
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close() //nolint:errcheck // the benchmark ends
			request, answer := []byte(ask("a body", "Authorization: Bearer abc", "Content-Type: application/json")), make([]byte, 4096)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, err := conn.Read(answer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
