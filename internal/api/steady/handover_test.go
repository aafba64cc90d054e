package steady

import (
	"net/http"
	"syscall"
	"testing"
)

// TestHandedOverConnectionIsOfTheSystem: who takes a connection over from net/http, as live queries do, can write to it without waiting.
func TestHandedOverConnectionIsOfTheSystem(t *testing.T) {
	t.Parallel()
	taken := make(chan error, 1)
	s := serveWith(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			taken <- err
			return
		}
		defer conn.Close()                            //nolint:errcheck // nothing is owed
		raw, err := conn.(syscall.Conn).SyscallConn() //nolint:errcheck,forcetypeassert // what is to be shown
		if err == nil {
			err = raw.Write(func(fd uintptr) bool {
				_, err = syscall.Write(int(fd), []byte("HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 3\r\n\r\nnow"))
				return true
			})
		}
		taken <- err
	})}, false)
	client := s.dial()
	client.send("GET /live HTTP/1.1\r\nHost: a\r\n\r\n")
	client.want("now")
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
}
