package server

import (
	"cmp"
	"slices"

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

// passOn is memberAddresses with, before what is recorded of a member, what it has told this node itself, if that is something else. Of two nodes
// that have moved each may have told a third one only where it is; as long as they do not reach each other they may not get it recorded either,
// for one of them may lead the group that would.
func (n *Node) passOn() []*nodev1.MemberAddress {
	var addresses []*nodev1.MemberAddress
	for _, m := range n.memberAddresses() {
		if said := n.ways.said(ident.ReplicaID(m.GetReplicaId())); said != "" && said != m.GetRpcAddr() {
			addresses = append(addresses, &nodev1.MemberAddress{
				ReplicaId: m.GetReplicaId(), NodeId: m.GetNodeId(), RpcAddr: said, ApiAddr: m.GetApiAddr(),
			})
		}
		addresses = append(addresses, m)
	}
	return addresses
}

// told returns what the other members say of a replica, the newest first. It may be one that this node's catalog does not have yet: a node that
// was away while the cluster changed may be led by such a replica: its address then stands in entries that only this
// leader can send, and the leader sends nothing before it has been answered.
func (g *gossip) told(replica ident.ReplicaID) []*nodev1.MemberAddress {
	g.mu.Lock()
	defer g.mu.Unlock()
	type word struct {
		from ident.ReplicaID
		heard
		said []*nodev1.MemberAddress
	}
	var words []word
	for from, h := range g.infos {
		w := word{from: from, heard: h}
		for _, m := range h.info.GetMembers() {
			if m.GetReplicaId() == uint64(replica) {
				w.said = append(w.said, m)
			}
		}
		if len(w.said) > 0 {
			words = append(words, w)
		}
	}
	slices.SortFunc(words, func(a, b word) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.from, b.from)) })
	var all []*nodev1.MemberAddress
	for _, w := range words {
		all = append(all, w.said...)
	}
	return all
}
