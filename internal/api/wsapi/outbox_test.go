package wsapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newPipe(t *testing.T, limit int, timeout time.Duration) (*outbox, net.Conn) {
	t.Helper()
	server, client := net.Pipe()
	o := newOutbox(server, limit, timeout, &drains{}, nil)
	o.stuck = func() { o.endWith(1013, "slow", true, filled(3, 'x')) }
	t.Cleanup(func() {
		o.abort()
		_ = client.Close() // a test may have closed it
		o.wait()
	})
	return o, client
}

func filled(n int, with byte) func([]byte) []byte {
	return func(dst []byte) []byte { return append(dst, bytes.Repeat([]byte{with}, n)...) }
}

func read(t *testing.T, conn net.Conn, n int) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(conn, data); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestOutboxIsBounded: it holds its limit and one delivery beyond it; what does not fit is refused whole, and nobody waits.
func TestOutboxIsBounded(t *testing.T) {
	t.Parallel()
	o, client := newPipe(t, 100, time.Minute)
	put := func(n int, with byte, want bool) {
		t.Helper()
		if o.put(n, filled(n, with)) != want {
			t.Errorf("%d bytes are taken: %v", n, !want)
		}
	}
	put(60, 'a', true)
	put(500, 'b', true) // one delivery, whatever else is held
	put(500, 'c', false)
	put(40, 'd', true) // for which there was room before it
	put(1, 'e', false)
	if got := read(t, client, 600); got != strings.Repeat("a", 60)+strings.Repeat("b", 500)+strings.Repeat("d", 40) {
		t.Errorf("frames came as %q", got)
	}
	if err := o.pace(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(60, 'f', true)
	put(40, 'g', true)
	put(30, 'h', true) // over the limit; nothing behind it
	put(1, 'i', false)
	if got := read(t, client, 130); got != strings.Repeat("f", 60)+strings.Repeat("g", 40)+strings.Repeat("h", 30) {
		t.Errorf("frames came as %q", got)
	}
}

// TestSlowClientLosesWhatIsHeld: and is told in its place.
func TestSlowClientLosesWhatIsHeld(t *testing.T) {
	t.Parallel()
	o, client := newPipe(t, 100, time.Minute)
	o.put(10, filled(10, 'a'))
	// The first write is under way once its first byte has arrived.
	if got := read(t, client, 1); got != "a" {
		t.Fatalf("got %q", got)
	}
	o.put(50, filled(50, 'b'))
	o.endWith(1013, "slow", true, filled(3, 'x'))
	o.put(5, filled(5, 'c'))
	rest, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	if want := "aaaaaaaaa" + "xxx" + string(appendClose(nil, 1013, "slow")); string(rest) != want {
		t.Errorf("got %q, want %q", rest, want)
	}
	if err := o.pace(t.Context()); !errors.Is(err, errGone) {
		t.Errorf("pace after the end: %v", err)
	}
}

// TestWriteTimeout: a client that does not read at all is cut off.
func TestWriteTimeout(t *testing.T) {
	t.Parallel()
	o, _ := newPipe(t, 100, time.Millisecond)
	o.put(10, func(dst []byte) []byte { return append(appendFrame(dst, opText, 8), "8 bytes."...) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := o.pace(ctx); !errors.Is(err, errGone) {
		t.Errorf("pace: %v", err)
	}
}

// TestClientThatReadsTooLateIsTold: when a write has lasted too long, whoever reads within the grace has the frame that had
// begun, the notice and the code, and nothing of what was given up; also when the connection was to end behind it.
func TestClientThatReadsTooLateIsTold(t *testing.T) {
	t.Parallel()
	for _, ending := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) { testReaderTooLate(t, ending) })
	}
}

func testReaderTooLate(t *testing.T, ending bool) {
	t.Helper()
	o, client := newPipe(t, 1<<20, time.Second)
	stuck, told := make(chan struct{}), o.stuck
	o.stuck = func() {
		told()
		close(stuck)
	}
	frame := func(text string) func([]byte) []byte {
		return func(dst []byte) []byte { return append(appendFrame(dst, opText, len(text)), text...) }
	}
	first := strings.Repeat("a", 70_000)
	o.mu.Lock() // so that all go out in one write
	o.held.own = frame("b")(frame(first)(nil))
	o.held.bytes = len(o.held.own)
	o.write(frame("b"))
	o.mu.Unlock()
	begun := read(t, client, 5)
	o.put(1, frame("b"))
	if ending {
		o.end(1000, "")
	}
	<-stuck
	rest, err := io.ReadAll(client)
	if err != nil {
		t.Fatal(err)
	}
	want := string(appendClose(append(frame(first)(nil), "xxx"...), 1013, "slow"))
	if got := begun + string(rest); got != want {
		t.Errorf("ending %v: got %d bytes that end in %q, want %d that end in %q", ending, len(got), got[len(got)-20:], len(want), want[len(want)-20:])
	}
}

// TestSlowSocketIsTold: so it is with a real connection, whose buffers took some of the frames; a client that reads in time
// gets all of them.
func TestSlowSocketIsTold(t *testing.T) {
	t.Parallel()
	for _, slow := range []bool{true, false} {
		server, client := socketPair(t)
		o := newOutbox(server, 64<<20, time.Minute, &drains{}, nil)
		stuck := make(chan struct{})
		o.stuck = func() {
			o.endWith(1013, "slow", true, nil)
			close(stuck)
		}
		if slow {
			o.timeout, o.grace = time.Millisecond, time.Minute
		}
		const frames, size = 512, 64 << 10
		for range frames {
			o.put(size, func(dst []byte) []byte { return append(appendFrame(dst, opBinary, size), make([]byte, size)...) })
		}
		want := frames
		if slow {
			<-stuck
		} else {
			o.end(1013, "slow")
		}
		all, err := io.ReadAll(client)
		if err != nil {
			t.Fatal(err)
		}
		end := appendClose(nil, 1013, "slow")
		body, found := bytes.CutSuffix(all, end)
		one := len(appendFrame(nil, opBinary, size)) + size
		if got := len(body) / one; !found || len(body)%one != 0 || slow && got >= want || !slow && got != want {
			t.Errorf("slow %v: %d bytes are %d frames and %d bytes, the close frame behind them %v", slow, len(body), got, len(body)%one, found)
		}
		o.wait()
	}
}

// socketPair is the two ends of a connection.
func socketPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() //nolint:errcheck // it has served
	if client, err = new(net.Dialer).DialContext(t.Context(), "tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = server.Close(), client.Close() }) // a test may have closed them
	return server, client
}

// TestSlowClientsHoldNobodyUp: however many do not read, whoever reads is written to.
func TestSlowClientsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	var all drains
	const size = 16 << 20 // more than buffers take
	for range 3 * writers() {
		server, _ := socketPair(t)
		o := newOutbox(server, size, time.Minute, &all, func() {})
		t.Cleanup(func() {
			o.abort()
			o.wait()
		})
		o.put(size, filled(size, 'a'))
	}
	server, client := socketPair(t)
	o := newOutbox(server, size, time.Minute, &all, func() {})
	for range 100 {
		o.put(1, filled(1, 'b'))
		if got := read(t, client, 1); got != "b" {
			t.Fatalf("got %q", got)
		}
	}
	if err := o.pace(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.wait()
}

// TestOneWriteForAll: what gathers during a write goes out with the next one.
func TestOneWriteForAll(t *testing.T) {
	t.Parallel()
	server, client := net.Pipe()
	counted := &countingConn{Conn: server}
	o := newOutbox(counted, 1<<20, time.Minute, &drains{}, func() {})
	o.put(2, filled(2, 'a'))
	read(t, client, 1)
	for range 100 {
		o.put(10, filled(10, 'b'))
	}
	read(t, client, 1+1000)
	o.end(1000, "")
	if _, err := io.ReadAll(client); err != nil {
		t.Fatal(err)
	}
	o.wait()
	if counted.writes > 3 {
		t.Errorf("%d writes", counted.writes)
	}
}

type countingConn struct {
	net.Conn
	writes int
}

// Write implements net.Conn.
func (c *countingConn) Write(data []byte) (int, error) {
	c.writes++
	return c.Conn.Write(data)
}
