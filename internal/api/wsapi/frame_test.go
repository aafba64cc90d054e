package wsapi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// scripted is a connection whose client has said all it will, in pieces of a few bytes.
type scripted struct {
	net.Conn
	said  *bytes.Reader
	piece int
}

// Read implements net.Conn.
func (s *scripted) Read(into []byte) (int, error) { return s.said.Read(into[:min(len(into), s.piece)]) }

// Write implements net.Conn.
func (s *scripted) Write(data []byte) (int, error) { return len(data), nil }

// Close implements net.Conn.
func (s *scripted) Close() error { return nil }

// SetDeadline implements net.Conn.
func (s *scripted) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (s *scripted) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// handed gives a scripted connection to an upgrader.
type handed struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack implements http.Hijacker.
func (h handed) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// heard is what a reader made of what a client said.
type heard struct {
	messages []string
	end      string
}

// hear reads with the reader of connections.
func hear(tb testing.TB, said []byte, piece int) heard {
	tb.Helper()
	server := &Server{config: Config{MaxMessageBytes: 1 << 20, OutboxBytes: 1 << 20, WriteTimeout: time.Minute, IdleTimeout: time.Minute}}
	c := newConn(server, "")
	c.open(&scripted{said: bytes.NewReader(said), piece: piece})
	c.known = true
	defer c.out.wait()
	c.in.wait()
	var h heard
	for {
		opcode, data, err := c.read()
		var malformed *protocolError
		switch {
		case err == nil:
			h.messages = append(h.messages, fmt.Sprintf("%d %x", opcode, data))
			continue
		case errors.Is(err, errClosing):
			h.end = "closed"
		case errors.As(err, &malformed):
			h.end = "malformed"
		case errors.Is(err, io.EOF):
			h.end = "broken off"
		default:
			h.end = err.Error()
		}
		return h
	}
}

// hearNaively reads with the library.
func hearNaively(tb testing.TB, said []byte) heard {
	tb.Helper()
	r := httptest.NewRequest(http.MethodGet, "/v1/ws", nil)
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	} {
		r.Header.Set(name, value)
	}
	conn := &scripted{said: bytes.NewReader(said), piece: 1 << 20}
	upgrader := websocket.Upgrader{ReadBufferSize: 1024}
	ws, err := upgrader.Upgrade(handed{httptest.NewRecorder(), conn}, r, nil)
	if err != nil {
		tb.Fatal(err)
	}
	ws.SetReadLimit(1 << 40)
	var h heard
	for {
		kind, data, err := ws.ReadMessage()
		var closing *websocket.CloseError
		switch {
		case err == nil:
			h.messages = append(h.messages, fmt.Sprintf("%d %x", kind, data))
			continue
		case errors.As(err, &closing) && closing.Code != websocket.CloseAbnormalClosure:
			h.end = "closed"
		case closing != nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			h.end = "broken off"
		default:
			h.end = "malformed"
		}
		return h
	}
}

// clientFrame is a frame as clients send it.
func clientFrame(first byte, payload string) []byte {
	mask := [4]byte{1, 2, 3, 4}
	frame := appendFrame(nil, first&0xf, len(payload))
	frame[0] = first
	frame[1] |= maskBit
	frame = append(frame, mask[:]...)
	for i := range payload {
		frame = append(frame, payload[i]^mask[i&3])
	}
	return frame
}

func long(n int) string { return string(bytes.Repeat([]byte("0123456789abcde"), n/15+1)[:n]) }

var conversations = map[string][]byte{
	"one message":                   clientFrame(0x81, "hello"),
	"nothing":                       nil,
	"an empty message":              clientFrame(0x82, ""),
	"two at once":                   slices.Concat(clientFrame(0x81, "one"), clientFrame(0x82, "two")),
	"a long one":                    clientFrame(0x81, long(700)),
	"a longer one":                  clientFrame(0x81, long(70_000)),
	"in parts":                      slices.Concat(clientFrame(0x01, "a"), clientFrame(0x00, long(300)), clientFrame(0x80, "c"), clientFrame(0x81, "d")),
	"a ping within":                 slices.Concat(clientFrame(0x01, "a"), clientFrame(0x89, "ping"), clientFrame(0x80, "b")),
	"a close within":                slices.Concat(clientFrame(0x01, "a"), clientFrame(0x88, "\x03\xe8"), clientFrame(0x80, "b")),
	"a message within another":      slices.Concat(clientFrame(0x01, "a"), clientFrame(0x81, "b")),
	"the continuation of nothing":   clientFrame(0x80, "a"),
	"a reserved bit":                clientFrame(0xc1, "a"),
	"an unknown opcode":             clientFrame(0x83, "a"),
	"an unknown control opcode":     clientFrame(0x8b, "a"),
	"a long ping":                   clientFrame(0x89, long(126)),
	"a ping in parts":               clientFrame(0x09, "a"),
	"a pong":                        slices.Concat(clientFrame(0x8a, long(125)), clientFrame(0x81, "a")),
	"not masked":                    {0x81, 0x01, 'a'},
	"a frame of negative length":    {0x81, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4},
	"broken off in a header":        {0x81, 0xfe, 0x01},
	"broken off in a payload":       clientFrame(0x81, "hello")[:8],
	"a close without a code":        clientFrame(0x88, ""),
	"a close with half a code":      clientFrame(0x88, "\x03"),
	"a close with a reason":         clientFrame(0x88, "\x0b\xb8bye"),
	"a close with a bad code":       clientFrame(0x88, "\x03\xed"),
	"a close whose reason is bytes": clientFrame(0x88, "\x03\xe8\xff"),
	"something behind the close":    slices.Concat(clientFrame(0x88, "\x03\xe8"), clientFrame(0x81, "a")),
}

// TestFramesAreReadAsTheLibraryReadsThem: the reader that idle connections can afford understands what another one does.
func TestFramesAreReadAsTheLibraryReadsThem(t *testing.T) {
	for name, said := range conversations {
		want := hearNaively(t, said)
		for _, piece := range []int{1, 3, 255, 1 << 20} {
			if got := hear(t, said, piece); got.end != want.end || !slices.Equal(got.messages, want.messages) {
				t.Errorf("%s, in pieces of %d: %.200v, want %.200v", name, piece, got, want)
			}
		}
	}
}

// FuzzFrames: whatever comes is read as the library reads it.
func FuzzFrames(f *testing.F) {
	for _, said := range conversations {
		if len(said) < 1000 { // large ones are slow to make smaller
			f.Add(said, 7)
		}
	}
	f.Fuzz(func(t *testing.T, said []byte, piece int) {
		got, want := hear(t, said, max(1, piece)), hearNaively(t, said)
		if got.end == "broken off" && want.end == "malformed" || got.end == errEndless.Error() {
			return // the library complains before it has the whole header, and not of what is only claimed
		}
		if got.end != want.end || !slices.Equal(got.messages, want.messages) {
			t.Errorf("%.200v, want %.200v", got, want)
		}
	})
}

// TestOversizedMessages: one over the limit is read to its end, whole or in parts, and what comes behind it is understood.
func TestOversizedMessages(t *testing.T) {
	for name, said := range map[string][]byte{
		"whole":    clientFrame(0x81, long(101)),
		"in parts": slices.Concat(clientFrame(0x01, long(60)), clientFrame(0x00, ""), clientFrame(0x00, long(60)), clientFrame(0x89, "x"), clientFrame(0x80, "z")),
	} {
		server := &Server{config: Config{MaxMessageBytes: 100, OutboxBytes: 1 << 20, WriteTimeout: time.Minute}}
		c := newConn(server, "")
		c.open(&scripted{said: bytes.NewReader(slices.Concat(clientFrame(0x81, long(100)), said, clientFrame(0x81, "next"))), piece: 50})
		for i, want := range []string{long(100), "", "next"} {
			_, data, err := c.read()
			if tooLarge := i == 1; errors.Is(err, errTooLarge) != tooLarge || !tooLarge && (err != nil || string(data) != want) {
				t.Errorf("%s: message %d is %.20q, %v", name, i, data, err)
			}
		}
		c.out.wait()
	}
}

// TestIdleConnectionIsSmall: what a connection takes that has authenticated and says nothing more. Its goroutine has to
// keep the smallest stack there is, though it has read and answered a message.
func TestIdleConnectionIsSmall(t *testing.T) {
	server, err := New(plainConfig())
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server)
	defer web.Close()
	defer server.Shutdown(t.Context())
	connect := func(count int) []net.Conn {
		open := make([]net.Conn, count)
		for i := range open {
			open[i] = shakeHands(t, web.Listener.Addr().String())
		}
		return open
	}
	memory := func() (stacks, heap int64) {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.StackInuse), int64(m.HeapAlloc)
	}
	// What goroutines begin with follows the average of those that there are.
	open := connect(300)
	stacks, heap := memory()
	const count = 500
	open = append(open, connect(count)...)
	stacksAfter, heapAfter := memory()
	stack, rest := (stacksAfter-stacks)/count, (heapAfter-heap)/count
	t.Logf("%d bytes of stack, %d of heap, of which the client takes some hundred", stack, rest)
	if underRace {
		t.Skip("frames are larger under the race detector")
	}
	if stack > 3<<10 || rest > 3<<10 {
		t.Errorf("an idle connection takes %d bytes of stack and %d of heap, want at most 3 KiB of each", stack, rest)
	}
	for _, conn := range open {
		_ = conn.Close() // nothing is owed
	}
}

// shakeHands connects without a goroutine of its own and authenticates by a message.
func shakeHands(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	const request = "GET /v1/ws HTTP/1.1\r\nHost: node.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	const hello = `{"type":"authenticate","method":"jwt","token":"t","protocol":{"serialization":"json","compression":"none"}}`
	read := func(until string) {
		var got []byte
		buffer := make([]byte, 512)
		for !bytes.Contains(got, []byte(until)) {
			n, failure := conn.Read(buffer)
			if got = append(got, buffer[:n]...); failure != nil {
				t.Fatalf("%v behind %q", failure, got)
			}
		}
	}
	if _, err = conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	read("\r\n\r\n")
	if _, err = conn.Write(clientFrame(0x81, hello)); err != nil {
		t.Fatal(err)
	}
	read("auth_success")
	return conn
}
