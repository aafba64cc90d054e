//go:build unix

package wsapi

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// promptly returns what writes to a connection without waiting, nil where there is no such thing.
func promptly(conn net.Conn) syscall.RawConn {
	plain, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := plain.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// promptWriter writes what a connection takes at once.
type promptWriter struct {
	once    func(fd uintptr) bool // made once, so that a write allocates nothing
	data    []byte
	written int
	err     error
}

// write returns how much was taken.
func (w *promptWriter) write(conn syscall.RawConn, data []byte) (written int, err error) {
	if w.once == nil {
		w.once = func(fd uintptr) bool {
			w.written, w.err = syscall.Write(int(fd), w.data)
			return true
		}
	}
	w.data, w.written, w.err = data, 0, nil
	err = conn.Write(w.once)
	w.data = nil
	switch {
	case err != nil:
		return 0, fmt.Errorf("write to a client: %w", err)
	case errors.Is(w.err, syscall.EAGAIN) || errors.Is(w.err, syscall.EINTR):
		return 0, nil
	case w.err != nil:
		return 0, fmt.Errorf("write to a client: %w", w.err)
	}
	return w.written, nil
}
