package httpapi

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kalamdb/kalamdb-go/internal/api/ratelimit"
)

// TestGuardedConnectionsAreOfTheSystem: who takes an accepted connection over can write to it without waiting.
func TestGuardedConnectionsAreOfTheSystem(t *testing.T) {
	t.Parallel()
	inner, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := newGuardedListener(inner, ratelimit.NewGate(10, 10), prometheus.NewCounter(prometheus.CounterOpts{Name: "refused"}))
	defer listener.Close() //nolint:errcheck // it has served
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close() //nolint:errcheck // nothing is owed
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()                            //nolint:errcheck // nothing is owed
	raw, err := accepted.(syscall.Conn).SyscallConn() //nolint:errcheck,forcetypeassert // what is to be shown
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err = raw.Write(func(fd uintptr) bool {
		_, failed = syscall.Write(int(fd), []byte("now"))
		return true
	}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	got := make([]byte, 3)
	if err = client.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err = io.ReadFull(client, got); err != nil || string(got) != "now" {
		t.Errorf("%q, %v", got, err)
	}
	one, other := net.Pipe()
	defer one.Close()   //nolint:errcheck // nothing is owed
	defer other.Close() //nolint:errcheck // nothing is owed
	if _, err = (&guardedConn{Conn: one}).SyscallConn(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a pipe: %v", err)
	}
}
