package bench

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// liveReaders reads all sockets of a lab on one thread: it sleeps in one call for all of them and reads each once for what has
// come. A goroutine for each socket would read twice for every frame, be scheduled in between, and be charged to the servers,
// which share the machine.
type liveReaders struct {
	mu      sync.Mutex // guards sockets and poll
	poll    int        // zero before the first socket
	sockets map[int32]*liveSocket

	unhurried atomic.Bool // nobody asks when a frame came, so that they are read together, countRest apart
}

// countRest is how long readers that only count leave alone what has come. Each frame that wakes a thread costs its sender and
// this process a few microseconds, which on a machine of its own a client would not take from the servers.
const countRest = 2 * time.Millisecond

// liveWire is a connection outside of the Go runtime's own waiting, which would wake for every frame as well.
type liveWire struct{ fd int }

// adopt takes a connection over and starts to read it.
func (r *liveReaders) adopt(conn net.Conn, s *liveSocket) error {
	fd, err := detach(conn)
	if err != nil {
		return err
	}
	s.wire = &liveWire{fd}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.poll == 0 {
		if r.poll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
			return fmt.Errorf("wait for sockets: %w", err)
		}
		r.sockets = make(map[int32]*liveSocket)
		go r.run(r.poll)
	}
	r.sockets[int32(fd)] = s
	event := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP, Fd: int32(fd)}
	return syscall.EpollCtl(r.poll, syscall.EPOLL_CTL_ADD, fd, &event)
}

// run ends with the last socket.
func (r *liveReaders) run(poll int) {
	events, data := make([]syscall.EpollEvent, 256), make([]byte, 256<<10)
	for {
		if r.unhurried.Load() {
			time.Sleep(countRest)
		}
		n, err := syscall.EpollWait(poll, events, -1)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			panic("waiting for sockets failed: " + err.Error()) // nothing can be measured any more
		}
		for i := range max(0, n) {
			r.mu.Lock()
			s := r.sockets[events[i].Fd]
			r.mu.Unlock()
			if s == nil {
				continue // it has ended, and a process that was just started has not closed it yet
			}
			got, err := syscall.Read(int(events[i].Fd), data)
			if got > 0 {
				s.took(data[:got])
				continue
			}
			if err == nil {
				err = errors.New("the server ended the connection")
			}
			s.fail(err)
			if r.leave(events[i].Fd, s) {
				return
			}
		}
	}
}

// leave forgets a socket that has ended, and reports whether it was the last.
func (r *liveReaders) leave(fd int32, s *liveSocket) (last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sockets, fd)
	_ = syscall.EpollCtl(r.poll, syscall.EPOLL_CTL_DEL, int(fd), nil) // not by closing it: a process that is being started may have it as well
	_ = syscall.Close(int(fd))                                        // it has ended
	close(s.ended)
	if len(r.sockets) > 0 {
		return false
	}
	_ = syscall.Close(r.poll) // nothing is in it
	r.poll = 0
	return true
}

// Write implements io.Writer.
func (w *liveWire) Write(data []byte) (int, error) {
	for written := 0; written < len(data); {
		n, err := syscall.Write(w.fd, data[written:])
		if err != nil {
			return written, err
		}
		written += n
	}
	return len(data), nil
}

// end lets the reader find the end.
func (w *liveWire) end() { _ = syscall.Shutdown(w.fd, syscall.SHUT_RDWR) } // it may have ended
