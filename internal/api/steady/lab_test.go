package steady

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience bounds what tests wait for; nothing should come near it.
const patience = 30 * time.Second

// server is a front with net/http behind it, or net/http alone.
type server struct {
	t     *testing.T
	front *Front
	http  *http.Server
	addr  string
}

func serveWith(t *testing.T, c Config, alone bool) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.Path, c.Logger = "/sql", slog.New(slog.NewTextHandler(t.Output(), nil))
	s := &server{t: t, front: New(c), http: &http.Server{Handler: c.Handler, ReadHeaderTimeout: patience}, addr: l.Addr().String()}
	if !alone {
		l = s.front.Listener(l)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(l) }()
	t.Cleanup(func() {
		s.front.Cut()
		if err := s.http.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.front.Wait(ctx); err != nil {
			t.Errorf("connections are left: %v", err)
		}
	})
	return s
}

// begun and read are how far the watch of a connection has come: it waits for a byte, or has one.
func begun(<-chan struct{}) bool { return true }

func read(reading <-chan struct{}) bool {
	select {
	case <-reading:
		return true
	default:
		return false
	}
}

// watched returns when a connection is watched so far.
func (s *server) watched(far func(reading <-chan struct{}) bool) {
	s.until("a connection is watched", func(conns map[*conn]struct{}) bool {
		for c := range conns {
			c.watch.mu.Lock()
			reading := c.watch.reading
			c.watch.mu.Unlock()
			if reading != nil && far(reading) {
				return true
			}
		}
		return false
	})
}

// holds returns when the front has taken in so many connections.
func (s *server) holds(count int) {
	s.until("the connections are taken in", func(conns map[*conn]struct{}) bool { return len(conns) == count })
}

// until waits for what is so by itself in time. It may be called by handlers.
func (s *server) until(what string, so func(conns map[*conn]struct{}) bool) {
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	look := func() bool {
		s.front.mu.Lock()
		defer s.front.mu.Unlock()
		return so(s.front.conns)
	}
	for deadline := time.Now().Add(patience); !look(); <-again.C {
		if time.Now().After(deadline) {
			s.t.Errorf("not in time: %s", what)
			return
		}
	}
}

// client is a connection of a client.
type client struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

func (s *server) dial() *client {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	return &client{conn, s.t, bufio.NewReader(conn)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// reply is an answer without its date.
type reply struct {
	Status int
	Header http.Header
	Length int64
	Codes  []string
	Body   string
	Close  bool
	Broken bool
}

func (c *client) receive() (reply, error) {
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return reply{}, err
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close() // it was read
	if r.Header.Get("Date") == "" && r.StatusCode < http.StatusBadRequest {
		c.t.Error("an answer without a date")
	}
	r.Header.Del("Date")
	return reply{r.StatusCode, r.Header, r.ContentLength, r.TransferEncoding, string(body), r.Close, err != nil}, nil
}

func (c *client) want(body string) reply {
	c.t.Helper()
	got, err := c.receive()
	if err != nil || got.Status != http.StatusOK || got.Body != body {
		c.t.Fatalf("answer %+v, %v; want %q", got, err, body)
	}
	return got
}

// ended reports that the server has closed the connection.
func (c *client) ended() bool {
	_, err := c.in.ReadByte()
	failure, late := errors.AsType[net.Error](err)
	return err != nil && (!late || !failure.Timeout())
}

func ask(body string, fields ...string) string {
	fields = append([]string{"Host: here", "Content-Length: " + strconv.Itoa(len(body))}, fields...)
	return start + strings.Join(fields, "\r\n") + "\r\n\r\n" + body
}

// echo answers with what it was asked, in a form that the body names.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	text := fmt.Sprintf("%s %s %s %s %d %v %v %s %v", r.Method, r.URL, r.Host, r.Proto, r.ContentLength, r.Header, r.Close, body, err)
	w.Header().Set("Content-Type", "text/plain")
	w.Header()["X-Two"] = []string{"a", "b\r\nc"}
	switch string(body) {
	case "announced":
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		w.WriteHeader(http.StatusCreated)
	case "long":
		text = strings.Repeat("0123456789", 1<<15)
		for part := range 10 {
			_, err = io.WriteString(w, text[part<<15:(part+1)<<15])
		}
		text = ""
	case "nothing":
		text = ""
	case "close":
		w.Header().Set("Connection", "close")
	case "abort":
		panic(http.ErrAbortHandler)
	}
	if text != "" {
		_, err = io.WriteString(w, text)
	}
	if err != nil {
		panic(err)
	}
}
