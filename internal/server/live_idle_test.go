package server

import (
	"bufio"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
)

// TestIdleConnectionIsSmall: what an authenticated connection that does nothing holds beside the stack of its goroutine, its
// client in this process included.
func TestIdleConnectionIsSmall(t *testing.T) { // not beside others: it counts the memory of the process
	n, c := liveNode(t, nil)
	const connections = 1000
	var dialer net.Dialer
	open := func(count int) {
		reader := bufio.NewReader(nil)
		for range count {
			conn, err := dialer.DialContext(t.Context(), "tcp", n.APIAddr())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
			_, err = fmt.Fprintf(conn, "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer %s\r\n\r\n", c.token)
			if err != nil {
				t.Fatal(err)
			}
			reader.Reset(conn)
			for answer := ""; !strings.Contains(answer, `"}}`); {
				part, err := reader.ReadString('}')
				if err != nil {
					t.Fatalf("%q: %v", answer, err)
				}
				answer += part
			}
		}
	}
	measure := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	open(50)
	before := measure()
	open(connections)
	each := (measure() - before) / connections
	if each > 4<<10 {
		t.Errorf("an idle connection and its client hold %d bytes, want at most 4 KiB", each)
	}
}
