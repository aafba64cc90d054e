package wsapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

func newPipe(t *testing.T, limit int, timeout time.Duration) (*outbox, net.Conn) {
	t.Helper()
	server, client := net.Pipe()
	o := newOutbox(server, limit, timeout, &sync.Pool{})
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

// TestOutboxIsBounded: what does not fit is refused whole, and nobody waits.
func TestOutboxIsBounded(t *testing.T) {
	t.Parallel()
	o, client := newPipe(t, 100, time.Minute)
	if !o.put(500, filled(500, 'a')) {
		t.Fatal("an empty outbox has room for anything")
	}
	if o.put(1, filled(1, 'b')) {
		t.Error("more than the limit is held")
	}
	read(t, client, 500)
	if err := o.pace(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !o.put(60, filled(60, 'c')) || !o.put(40, filled(40, 'd')) {
		t.Error("there is room")
	}
	if o.put(1, filled(1, 'e')) {
		t.Error("there is no room")
	}
	if got := read(t, client, 100); got[59:61] != "cd" {
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
	o.put(10, filled(10, 'a'))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := o.pace(ctx); !errors.Is(err, errGone) {
		t.Errorf("pace: %v", err)
	}
}

// TestOneWriteForAll: what gathers during a write goes out with the next one.
func TestOneWriteForAll(t *testing.T) {
	t.Parallel()
	server, client := net.Pipe()
	counted := &countingConn{Conn: server}
	o := newOutbox(counted, 1<<20, time.Minute, &sync.Pool{})
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
