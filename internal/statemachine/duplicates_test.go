package statemachine

import (
	"encoding/binary"
	"testing"

	"github.com/kalamdb/kalamdb-go/internal/command"
	"github.com/kalamdb/kalamdb-go/internal/fault"
	"github.com/kalamdb/kalamdb-go/internal/shard"
	"github.com/kalamdb/kalamdb-go/internal/storage/keys"
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

// TestRememberedRequestsAreBounded applies many times more requests than the window holds: in memory and in the store
// there are never more than the window and a chunk.
func TestRememberedRequestsAreBounded(t *testing.T) {
	const window = 2 * chunk
	r := newReplica(t, shard.Meta)
	machine, err := NewWith(r.group, r.store, Options{RequestWindow: window})
	must(t, err)
	must(t, machine.Restore(r.engine))
	r.machine = machine
	meta, ok := machine.(*Meta)
	if !ok {
		t.Fatalf("the machine of %s is a %T", r.group, machine)
	}
	most := 0
	for first := uint64(1); first < 10*window; first += chunk / 2 {
		run := make([]command.Entry, 0, chunk/2)
		for index := first; index < first+chunk/2; index++ {
			id := binary.BigEndian.AppendUint64(make([]byte, 8, 16), index)
			data, err := command.Encode(&commandv1.Command{
				Header: &commandv1.Header{RequestId: id, Actor: "root", MinIndex: index - 1},
				Body:   &commandv1.Command_CreateNamespace{CreateNamespace: &commandv1.CreateNamespace{Name: "shop"}},
			})
			must(t, err)
			run = append(run, command.Entry{Index: index, Term: 1, Data: data})
		}
		_, err := r.apply(run)
		must(t, err)
		stored := 0
		lo, hi := keys.DedupAll(r.group)
		it, err := r.engine.Scan(lo, hi)
		must(t, err)
		for ok := it.First(); ok; ok = it.Next() {
			stored++
		}
		must(t, it.Close())
		listed := len(meta.duplicates.order) - meta.duplicates.head
		if len(meta.duplicates.found) != stored || listed != stored || stored > window+chunk {
			t.Fatalf("after index %d: %d requests in the store, %d in memory, %d in order; want at most %d",
				first+chunk/2-1, stored, len(meta.duplicates.found), listed, window+chunk)
		}
		most = max(most, stored)
	}
	if most < window {
		t.Errorf("never more than %d requests were remembered, want at least the window of %d", most, window)
	}
}
