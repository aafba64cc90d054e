package server

import (
	"slices"
	"testing"
	"time"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/clock"
	"github.com/kalamdb/kalamdb-go/internal/config"
	"github.com/kalamdb/kalamdb-go/internal/ident"
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
	if got := book.Addresses(6); !slices.Equal(got, []string{"new:1", "old:1"}) {
		t.Errorf("Addresses(6) = %v; want what was heard last first, and then the rest", got)
	}
	if _, ok := book.Address(7); ok {
		t.Error("an address of replica 7, of which nobody spoke")
	}
}

// TestMembersPassOnWhatTheyWereTold: a third node passes on where another one says that it is, beside where it is recorded to be; and what can be no address is not
// tried.
func TestMembersPassOnWhatTheyWereTold(t *testing.T) {
	t.Parallel()
	hands := clock.NewManual(time.Unix(1_700_000_000, 0))
	node := func() *Node {
		n := &Node{catalog: catalog.NewStore(), cfg: &config.Config{}, clock: hands}
		n.gossip = newGossip(n)
		edit := n.catalog.Current().Edit()
		for id, addr := range map[ident.ReplicaID]string{1: "one:1", 2: "two:1", 3: "three:1"} {
			edit.SetMember(&catalog.Member{Replica: id, Node: ident.NodeID(id), RPCAddr: addr})
		}
		n.catalog.Publish(edit.Picture())
		return n
	}
	third, asker := node(), node()
	handler := peerHandler{third}
	handler.HandleAddress(2, "two:2")
	handler.HandleAddress(3, "three:1") // as recorded
	asker.gossip.store(1, &nodev1.GetNodeInfoResponse{Members: third.passOn()}, hands.Now())
	if got := (addressBook{asker}).Addresses(2); !slices.Equal(got, []string{"two:1", "two:2"}) {
		t.Errorf("Addresses(2) = %v", got)
	}
	if got := (addressBook{asker}).Addresses(3); !slices.Equal(got, []string{"three:1"}) {
		t.Errorf("Addresses(3) = %v", got)
	}
	asker.gossip.store(1, &nodev1.GetNodeInfoResponse{Members: []*nodev1.MemberAddress{
		{ReplicaId: 2, NodeId: 2, RpcAddr: "0.0.0.0:1"}, {ReplicaId: 2, NodeId: 2, RpcAddr: "nowhere"},
	}}, hands.Now())
	if got := (addressBook{asker}).Addresses(2); !slices.Equal(got, []string{"two:1"}) {
		t.Errorf("Addresses(2) = %v", got)
	}
}
