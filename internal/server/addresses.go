package server

import (
	"github.com/kalamdb/kalamdb-go/internal/ident"
	nodev1 "github.com/kalamdb/kalamdb-go/proto/kalamdb/node/v1"
)

// memberAddresses lists where this node finds the members that its catalog records.
func (n *Node) memberAddresses() []*nodev1.MemberAddress {
	var addresses []*nodev1.MemberAddress
	for _, m := range n.catalog.Current().Members() {
		if !m.Removed {
			addresses = append(addresses, &nodev1.MemberAddress{
				ReplicaId: uint64(m.Replica), NodeId: uint64(m.Node), RpcAddr: m.RPCAddr, ApiAddr: m.APIAddr,
			})
		}
	}
	return addresses
}

// told returns what the other members say of a replica that this node's catalog does not have yet. A node that
// was away while the cluster changed may be led by such a replica: its address then stands in entries that only this
// leader can send, and the leader sends nothing before it has been answered.
func (g *gossip) told(replica ident.ReplicaID) (*nodev1.MemberAddress, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var newest heard
	var found *nodev1.MemberAddress
	for _, h := range g.infos {
		for _, m := range h.info.GetMembers() {
			if m.GetReplicaId() == uint64(replica) && (found == nil || h.at.After(newest.at)) {
				newest, found = h, m
			}
		}
	}
	return found, found != nil
}
