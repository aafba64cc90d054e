package loopback

import (
	"errors"
	"net"
	"testing"
)

func TestAddressesAreFreeAndNeverGivenTwice(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		addresses, err := Addresses(t.Context(), 4)
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range addresses {
			if seen[address] {
				t.Fatalf("%s was given twice", address)
			}
			seen[address] = true
		}
		listener, err := net.Listen("tcp", addresses[0])
		if err != nil {
			t.Fatalf("an address that was given cannot be listened on: %v", err)
		}
		t.Cleanup(func() { _ = listener.Close() })
	}
}

// TestProcessesShareNoBlock: while somebody else listens on the first port of every block but one, addresses come from that one only, and
// then there are no more.
func TestProcessesShareNoBlock(t *testing.T) {
	mu.Lock()
	next = nil
	mu.Unlock()
	var others []net.Listener
	left := -1
	for block := range allBlocks {
		other, err := net.Listen("tcp", at(firstPort+block*blockPorts))
		switch {
		case err != nil: // this process's, or another's
		case left < 0:
			left = firstPort + block*blockPorts
			_ = other.Close()
		default:
			others = append(others, other)
		}
	}
	t.Cleanup(func() {
		for _, other := range others {
			_ = other.Close()
		}
	})
	if left < 0 || len(others) == 0 {
		t.Fatal("no block is free; the test shows nothing")
	}
	listener, err := Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	if at, ok := listener.Addr().(*net.TCPAddr); !ok || at.Port <= left || at.Port >= left+blockPorts {
		t.Errorf("%v does not belong to the block at %d", listener.Addr(), left)
	}
	if _, err := Addresses(t.Context(), blockPorts); !errors.Is(err, ErrNoPort) {
		t.Errorf("more addresses than the block has: %v, want ErrNoPort", err)
	}
}
