//go:build !linux

package bench

import (
	"net"
	"sync/atomic"
)

// liveReaders reads each socket on a goroutine of its own.
type liveReaders struct {
	unhurried atomic.Bool // they read as they always do
}

// liveWire is a connection.
type liveWire struct{ net.Conn }

// adopt takes a connection over and starts to read it.
func (r *liveReaders) adopt(conn net.Conn, s *liveSocket) error {
	s.wire = &liveWire{conn}
	go func() {
		defer close(s.ended)
		data := make([]byte, 4<<10)
		for {
			n, err := conn.Read(data)
			s.took(data[:n])
			if err != nil {
				s.fail(err)
				return
			}
		}
	}()
	return nil
}

// end lets the reader find the end.
func (w *liveWire) end() { _ = w.Close() } // nothing is owed
