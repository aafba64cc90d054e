package loopback

import (
	"bufio"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// echo answers every line with the same line.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn) }()
		}
	}()
	return listener.Addr().String()
}

func TestWiresSwallowDelayAndBreak(t *testing.T) {
	t.Parallel()
	w := NewWires()
	defer w.Close()
	address, err := w.Lay(t.Context(), 1, 2, echo(t))
	if err != nil {
		t.Fatal(err)
	}
	dial := func() (net.Conn, *bufio.Reader) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn, bufio.NewReader(conn)
	}
	// say writes a line and waits for its echo.
	say := func(conn net.Conn, lines *bufio.Reader, patience time.Duration) error {
		if _, err := conn.Write([]byte("hello\n")); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		_, err := lines.ReadString('\n')
		return err
	}
	for name, cut := range map[string]Direction{
		"there": func(from, to int) bool { return from == 1 && to == 2 },
		"back":  func(from, to int) bool { return from == 2 && to == 1 },
		"both":  Alone(2),
	} {
		conn, lines := dial()
		if err := say(conn, lines, 10*time.Second); err != nil {
			t.Fatalf("before %s is cut: %v", name, err)
		}
		w.Cut(cut)
		var timeout net.Error
		if err := say(conn, lines, 50*time.Millisecond); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s is cut: %v, want silence", name, err)
		}
		w.Mend()
		if err := say(conn, lines, 10*time.Second); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s is mended: %v, want a broken connection", name, err)
		}
	}
	w.Delay(func(from, _ int) bool { return from == 1 }, 60*time.Millisecond)
	conn, lines := dial()
	began := time.Now()
	if err := say(conn, lines, 10*time.Second); err != nil || time.Since(began) < 60*time.Millisecond {
		t.Errorf("a slow wire: %v after %v", err, time.Since(began))
	}
}
