package statemachine

import (
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	commandv1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/command/v1"
)

// TestRequestWindow repeats one request further and further on in the log: it is answered as long as the window reaches
// back to it, and refused after that, with the configured window as with the default one, and after a restart.
func TestRequestWindow(t *testing.T) {
	for _, window := range []uint64{0, 1024, 5000, 100_000} {
		r := newReplica(t, shard.Meta)
		start := func() {
			machine, err := NewWith(r.group, r.store, Options{RequestWindow: window})
			must(t, err)
			must(t, machine.Restore(r.engine))
			r.machine = machine
		}
		start()
		send := func(index uint64) *commandv1.Response {
			t.Helper()
			id := make([]byte, 16)
			id[0] = 7
			data, err := command.Encode(&commandv1.Command{
				Header: &commandv1.Header{RequestId: id, Actor: "root"},
				Body:   &commandv1.Command_CreateNamespace{CreateNamespace: &commandv1.CreateNamespace{Name: "shop"}},
			})
			must(t, err)
			outcome, err := r.apply([]command.Entry{{Index: index, Term: 1, Data: data}})
			must(t, err)
			response, err := command.DecodeResponse(outcome.Results[0])
			must(t, err)
			return response
		}
		const first = chunk + 10 // in the second chunk, so that forgetting the first one is not enough
		if response := send(first); response.GetFailure() != nil {
			t.Fatalf("window %d: %v", window, response.GetFailure())
		}
		reaches := RequestWindow(window)
		for _, index := range []uint64{first + 1, first + reaches/2, first + reaches} {
			if response := send(index); response.GetFailure() != nil || response.GetIndex() != first {
				t.Errorf("window %d: repeated %d entries later: %v", window, index-first, response)
			}
		}
		start()
		for _, index := range []uint64{first + reaches + 1, first + reaches + 2*chunk} {
			response := send(index)
			// Forgetting is by chunks, so the exact end is one chunk wide.
			if index > first+reaches+chunk && fault.Kind(response.GetFailure().GetKind()) != fault.Timeout {
				t.Errorf("window %d: repeated %d entries later: %v, want an unknown outcome", window, index-first, response)
			}
		}
	}
}
