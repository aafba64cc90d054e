package transport

import (
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	raftpb "go.etcd.io/raft/v3/raftpb"

	"github.com/kalamdb/kalamdb-go/internal/ident"
)

// waysInTurn resolves every replica to the first of its addresses that has not failed.
type waysInTurn struct {
	mu     sync.Mutex // guards all below
	ways   []string
	failed []string
}

func (w *waysInTurn) Address(ident.ReplicaID) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, addr := range w.ways {
		if !slices.Contains(w.failed, addr) {
			return addr, true
		}
	}
	return "", false
}

func (w *waysInTurn) AddressFailed(_ ident.ReplicaID, addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = append(w.failed, addr)
}

// TestResolverHearsOfWaysThatFail: an address at which nobody listens and one of another replica are named as failed, once each, and the one that is
// good is not, also when the connection to it breaks.
func TestResolverHearsOfWaysThatFail(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	arrived := make(chan struct{}, 1000)
	other, otherAddr := serve(t, GRPCConfig{}, &quietHandler{})
	other.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 3})
	meant, meantAddr := serve(t, GRPCConfig{}, &quietHandler{messages: func([]Message) {
		select {
		case arrived <- struct{}{}:
		default:
		}
	}})
	meant.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 2})
	ways := &waysInTurn{ways: []string{closed.Addr().String(), otherAddr, meantAddr}}
	from, _ := serve(t, GRPCConfig{Resolver: ways}, &quietHandler{})
	from.SetIdentity(Identity{ClusterUID: ident.ClusterUID{7}, Replica: 1})
	untilArrived := func() {
		t.Helper()
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			from.Send(2, []Message{{Group: 1, Raft: &raftpb.Message{
				Type: raftpb.MsgHeartbeat.Enum(), From: new(uint64(1)), To: new(uint64(2)),
			}}})
			select {
			case <-arrived:
				return
			case <-ticker.C:
			case <-t.Context().Done():
				t.Fatal("nothing arrives")
			}
		}
	}
	untilArrived()
	from.moved(2, "elsewhere:1")
	for len(arrived) > 0 {
		<-arrived
	}
	untilArrived()
	ways.mu.Lock()
	defer ways.mu.Unlock()
	if want := []string{closed.Addr().String(), otherAddr}; !slices.Equal(ways.failed, want) {
		t.Errorf("failed are %v, want %v", ways.failed, want)
	}
}
