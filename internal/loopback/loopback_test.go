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

func TestAddressesSaysWhenThereAreNoMore(t *testing.T) {
	if _, err := Addresses(t.Context(), lastPort-firstPort+2); !errors.Is(err, ErrNoPort) {
		t.Fatalf("more addresses than there are ports: %v, want ErrNoPort", err)
	}
}
