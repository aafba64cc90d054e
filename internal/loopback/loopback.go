// Package loopback finds addresses on 127.0.0.1 for processes that are started later, or stopped and
// started again at the same place.
//
// A port that the kernel chose for a listener, and that the listener has given up, is free for everybody:
// any outgoing connection or another such listener can take it before the process listens again. So the ports
// come from below the ranges that kernels choose from (32768 and up on Linux, 49152 and up elsewhere), one
// process never gives one twice, and two processes never give the same: ports come in blocks, and the process that listens
// on the first port of a block has the others.
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

// Ports are taken from [firstPort, lastPort), in blocks of blockPorts.
const (
	firstPort  = 20000
	lastPort   = 32000
	blockPorts = 50
	allBlocks  = (lastPort - firstPort) / blockPorts
)

// ErrNoPort says that no port of the range is free, or that the process has been given all of them.
var ErrNoPort = errors.New("loopback: no free port")

var (
	mu     sync.Mutex
	guards = map[int]net.Listener{} // by block of this process; they are listened on as long as it lives
	next   []int                    // ports of these blocks that were not given yet
)

// Addresses returns count addresses of 127.0.0.1, each with a port that nobody listens on now and that neither this process nor
// another one has been given before. When every block is some process's the search ends with ErrNoPort.
func Addresses(ctx context.Context, count int) ([]string, error) {
	mu.Lock()
	defer mu.Unlock()
	var found []string
	for len(found) < count {
		if len(next) == 0 && !takeBlock(ctx) {
			return nil, fmt.Errorf("%w: %d of %d found between %d and %d", ErrNoPort, len(found), count, firstPort, lastPort)
		}
		address := at(next[0])
		next = next[1:]
		if free(ctx, address) {
			found = append(found, address)
		}
	}
	return found, nil
}

// Listen listens on such an address. When the listener is closed, nobody but this process takes the port.
func Listen(ctx context.Context) (net.Listener, error) {
	addresses, err := Addresses(ctx, 1)
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addresses[0])
	if err != nil {
		return nil, fmt.Errorf("loopback: %w", err)
	}
	return listener, nil
}

// takeBlock claims a block that is no process's, and reports whether there was one. It needs mu.
func takeBlock(ctx context.Context) bool {
	// A random start, so that processes that search at the same time seldom meet.
	start := rand.IntN(allBlocks) //nolint:gosec // it keeps nobody out
	for i := range allBlocks {
		block := (start + i) % allBlocks
		first := firstPort + block*blockPorts
		guard, err := new(net.ListenConfig).Listen(ctx, "tcp", at(first))
		if err != nil {
			continue
		}
		guards[block] = guard
		for port := first + 1; port < first+blockPorts; port++ {
			next = append(next, port)
		}
		return true
	}
	return false
}

func at(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func free(ctx context.Context, address string) bool {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return false
	}
	return listener.Close() == nil
}
