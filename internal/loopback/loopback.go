// Package loopback finds addresses on 127.0.0.1 for processes that are started later, or stopped and
// started again at the same place.
//
// A port that the kernel chose for a listener, and that the listener has given up, is free for everybody:
// any outgoing connection or another such listener can take it before the process listens. So the ports
// come from below the ranges that kernels choose from (32768 and up on Linux, 49152 and up elsewhere), and
// one process never gives one twice.
//
// Wires are forwarders between such processes, which can cut them off from each other.
package loopback

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports are taken from [firstPort, lastPort].
const (
	firstPort = 20000
	lastPort  = 32000
)

// ErrNoPort says that no port of the range is free, or that the process has been given all of them.
var ErrNoPort = errors.New("loopback: no free port")

var (
	mu    sync.Mutex
	given = map[int]bool{} // at most lastPort-firstPort+1 of them
)

// Addresses returns count addresses of 127.0.0.1, each with a port that nobody listens on now and that this
// process has not been given before. A bound of one try per port of the range ends the search with
// ErrNoPort.
func Addresses(ctx context.Context, count int) ([]string, error) {
	mu.Lock()
	defer mu.Unlock()
	var found []string
	// A random start, so that two processes that search at the same time do not meet.
	start := rand.IntN(lastPort - firstPort + 1) //nolint:gosec // it keeps nobody out
	for i := 0; i <= lastPort-firstPort && len(found) < count; i++ {
		port := firstPort + (start+i)%(lastPort-firstPort+1)
		address := fmt.Sprintf("127.0.0.1:%d", port)
		if given[port] || !free(ctx, address) {
			continue
		}
		given[port] = true
		found = append(found, address)
	}
	if len(found) < count {
		return nil, fmt.Errorf("%w: %d of %d found between %d and %d", ErrNoPort, len(found), count, firstPort, lastPort)
	}
	return found, nil
}

func free(ctx context.Context, address string) bool {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return false
	}
	return listener.Close() == nil
}
