//go:build !unix

package wsapi

import (
	"net"
	"syscall"
)

// promptly returns what writes to a connection without waiting: nothing here, so each write has a goroutine.
func promptly(net.Conn) syscall.RawConn { return nil }

// promptWriter is never used here.
type promptWriter struct{}

func (*promptWriter) write(syscall.RawConn, []byte) (int, error) { return 0, nil }
