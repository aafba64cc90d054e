package server

import (
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/config"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// TestAddressOfAReplicaThatIsNotInTheCatalogYet is a node that was away while replica 6 joined and became the leader.
func TestAddressOfAReplicaThatIsNotInTheCatalogYet(t *testing.T) {
	t.Parallel()
	hands := clock.NewManual(time.Unix(1_700_000_000, 0))
	n := &Node{catalog: catalog.NewStore(), cfg: &config.Config{}, clock: hands}
	n.gossip = newGossip(n)
	book := addressBook{n}
	if addr, ok := book.Address(6); ok {
		t.Fatalf("Address(6) = %q before anybody spoke of it", addr)
	}
	n.gossip.store(2, &nodev1.GetNodeInfoResponse{Members: []*nodev1.MemberAddress{
		{ReplicaId: 6, NodeId: 3, RpcAddr: "old:1"}, {ReplicaId: 2, NodeId: 2, RpcAddr: "two:1"},
	}}, hands.Now())
	hands.Advance(time.Second)
	n.gossip.store(4, &nodev1.GetNodeInfoResponse{Members: []*nodev1.MemberAddress{{ReplicaId: 6, NodeId: 3, RpcAddr: "new:1"}}}, hands.Now())
	if addr, ok := book.Address(6); !ok || addr != "new:1" {
		t.Errorf("Address(6) = %q, %v; want what was heard last", addr, ok)
	}
	if node, ok := book.node(6); !ok || node != 3 {
		t.Errorf("node(6) = %d, %v; want 3", node, ok)
	}
	if _, ok := book.Address(7); ok {
		t.Error("an address of replica 7, of which nobody spoke")
	}
}
