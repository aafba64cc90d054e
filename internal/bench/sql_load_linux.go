package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// sqlThread is clients on one thread, which sleeps in one call for all their connections, reads each once for an answer and
// sends the next request at once. A goroutine for each would read twice for every answer and be scheduled in between, which is
// charged to the servers, for they share the machine.
type sqlThread struct {
	poll    int
	clients map[int32]*sqlClient
	listed  []*sqlClient
}

// sqlClient has one request under way.
type sqlClient struct {
	*sqlConnection
	fd      int
	number  int // of the client
	n       int // of the request
	started time.Time
	took    latencies
}

func newSQLLoad(clients int) (sqlLoad, error) {
	if clients == 1 {
		return &sqlGoroutines{}, nil
	}
	poll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("wait for answers: %w", err)
	}
	return &sqlThread{poll: poll, clients: make(map[int32]*sqlClient)}, nil
}

func (l *sqlThread) add(connection *sqlConnection) error {
	client := &sqlClient{number: len(l.listed)}
	l.listed = append(l.listed, client)
	return l.connect(client, connection)
}

// connect gives a client its connection, outside of the Go runtime's own waiting.
func (l *sqlThread) connect(client *sqlClient, connection *sqlConnection) error {
	fd, err := detach(connection.Conn)
	if err != nil {
		return err
	}
	client.sqlConnection, client.fd = connection, fd
	l.clients[int32(fd)] = client
	return syscall.EpollCtl(l.poll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP, Fd: int32(fd)})
}

// detach takes the socket of a connection out of the Go runtime's hands. The connection is closed in any case.
func detach(conn net.Conn) (fd int, err error) {
	defer func() { err = errors.Join(err, conn.Close()) }()
	plain, ok := conn.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("%T is no socket", conn)
	}
	raw, err := plain.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("take a socket over: %w", err)
	}
	fd = -1
	// A server that is started meanwhile must not keep the socket open.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if control := raw.Control(func(old uintptr) { fd, err = syscall.Dup(int(old)) }); control != nil || err != nil {
		return -1, fmt.Errorf("take a socket over: %w", errors.Join(control, err))
	}
	syscall.CloseOnExec(fd)
	if err = syscall.SetNonblock(fd, false); err != nil {
		return -1, errors.Join(err, syscall.Close(fd))
	}
	return fd, nil
}

func (l *sqlThread) run(ctx context.Context, duration time.Duration, first int, asks sqlAsks) ([]latencies, error) {
	deadline := time.Now().Add(duration)
	for _, client := range l.listed {
		client.n, client.took, client.started = first, nil, time.Now()
		if err := client.send(asks.request(client.number, client.n)); err != nil {
			return nil, err
		}
	}
	events := make([]syscall.EpollEvent, len(l.listed))
	for left := len(l.listed); left > 0; {
		n, err := syscall.EpollWait(l.poll, events, int(startPatience.Milliseconds()))
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return nil, fmt.Errorf("wait for answers: %w", err)
		}
		if n == 0 {
			return nil, fmt.Errorf("no answer within %v", startPatience)
		}
		for i := range max(0, n) {
			client := l.clients[events[i].Fd]
			answer, whole, err := client.receive()
			if err != nil {
				return nil, err
			}
			if !whole {
				continue
			}
			now := time.Now()
			client.took, client.started = append(client.took, now.Sub(client.started)), now
			client.n++
			if err = l.follow(client, answer.leader, asks); err != nil {
				return nil, err
			}
			if !now.Before(deadline) || ctx.Err() != nil {
				left--
				continue
			}
			if err = client.send(asks.request(client.number, client.n)); err != nil {
				return nil, err
			}
		}
	}
	took := make([]latencies, len(l.listed))
	for i, client := range l.listed {
		took[i] = client.took
	}
	return took, ctx.Err()
}

// follow takes a client to the server that an answer names, if it names one.
func (l *sqlThread) follow(client *sqlClient, leader string, asks sqlAsks) error {
	if leader == "" {
		return nil
	}
	next, err := asks.dial(leader)
	if err != nil {
		return err
	}
	delete(l.clients, int32(client.fd))
	return errors.Join(syscall.Close(client.fd), l.connect(client, next))
}

// send writes a request, which the socket has room for: there is one at a time.
func (c *sqlClient) send(body string) error {
	for data := c.compose(body); len(data) > 0; {
		n, err := syscall.Write(c.fd, data)
		if err != nil {
			return fmt.Errorf("ask a server: %w", err)
		}
		data = data[n:]
	}
	return nil
}

// receive reads once.
func (c *sqlClient) receive() (answer sqlAnswer, whole bool, err error) {
	n, err := syscall.Read(c.fd, c.room())
	if err == nil && n == 0 {
		err = errors.New("the server ended the connection")
	}
	if err != nil {
		return answer, false, fmt.Errorf("read an answer: %w", err)
	}
	return c.take(n)
}

func (l *sqlThread) close() error {
	var failed []error
	for _, client := range l.clients {
		failed = append(failed, syscall.Close(client.fd))
	}
	return errors.Join(append(failed, syscall.Close(l.poll))...)
}
