package server

import (
	"slices"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/catalog"
	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
)

// This file finds peers, also those that have moved. A node that comes back at another address says so with every stream
// that it opens, for before the others can answer it, it can neither ask a leader nor have its address recorded. What is
// configured may be a way of the operator's own, through a proxy or another network, so it is not held against what the
// node says, but against what the node said when it was configured: as long as that has not changed, the way is good.

// route is the configured address of a peer, and what the peer called its address when that was configured.
type route struct {
	Node       ident.NodeID `json:"node_id"`
	Configured string       `json:"configured"`
	Called     string       `json:"called,omitempty"` // empty as long as nothing is recorded of the peer
}

// keepRoutes brings the stored routes in line with the configuration.
func (n *Node) keepRoutes() error {
	id, current := n.who(), n.catalog.Current()
	if id.State != stateMember {
		return nil
	}
	var routes []route
	for _, peer := range n.cfg.Cluster.Others() {
		want := route{Node: ident.NodeID(peer.NodeID), Configured: peer.RPCAddr}
		for _, known := range id.Routes {
			if known.Node == want.Node && known.Configured == want.Configured {
				want.Called = known.Called
			}
		}
		if m, ok := catalogMember(current, want.Node); ok && want.Called == "" {
			want.Called = m.RPCAddr
		}
		routes = append(routes, want)
	}
	if slices.Equal(routes, id.Routes) {
		return nil
	}
	id.Routes = routes
	return n.become(id)
}

// saidAddresses is what members said of their addresses themselves, since the start. The zero value is ready.
type saidAddresses struct {
	mu sync.Mutex // guards by
	by map[ident.ReplicaID]saidAddress
}

// saidAddress counts until something else is recorded than was when it was said.
type saidAddress struct{ addr, recorded string }

// take notes what a replica says, and reports whether that is news.
func (s *saidAddresses) take(replica ident.ReplicaID, addr, recorded string) (news bool) {
	said := saidAddress{addr: addr, recorded: recorded}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.by[replica]
	if before == said {
		return false
	}
	if s.by == nil {
		s.by = make(map[ident.ReplicaID]saidAddress)
	}
	s.by[replica] = said
	return before.addr != addr
}

// newest is what a replica calls its address, as it said itself or as it is recorded, whichever is newer.
func (s *saidAddresses) newest(replica ident.ReplicaID, recorded string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if said, ok := s.by[replica]; ok && said.recorded == recorded {
		return said.addr
	}
	return recorded
}

// recordedAddress is what the catalog says of a replica's address, empty when it says nothing.
func recordedAddress(current *catalog.Catalog, replica ident.ReplicaID) string {
	if m, ok := current.Member(replica); ok {
		return m.RPCAddr
	}
	return ""
}

// HandleAddress implements transport.AddressKeeper.
func (h peerHandler) HandleAddress(from ident.ReplicaID, addr string) (moved bool) {
	return h.n.said.take(from, addr, recordedAddress(h.n.catalog.Current(), from))
}

var _ transport.AddressKeeper = peerHandler{}

// addressBook finds peers: what configuration says of a node wins, since its operator wrote it, unless the node has moved
// since; then what the node itself says, or the catalog records; then what the other members say; then what this node was
// told when it joined.
type addressBook struct{ n *Node }

// Address implements transport.Resolver.
func (b addressBook) Address(replica ident.ReplicaID) (string, bool) {
	newest := b.n.said.newest(replica, recordedAddress(b.n.catalog.Current(), replica))
	id := b.n.who()
	if node, known := b.node(replica); known {
		for _, peer := range b.n.cfg.Cluster.Others() {
			if peer.NodeID == uint64(node) && !id.movedSince(node, newest) {
				return peer.RPCAddr, true
			}
		}
	}
	if newest != "" {
		return newest, true
	}
	if m, ok := b.n.gossip.told(replica); ok {
		return m.GetRpcAddr(), m.GetRpcAddr() != ""
	}
	for _, m := range id.Members {
		if m.Replica == replica {
			return m.RPCAddr, m.RPCAddr != ""
		}
	}
	return "", false
}

// movedSince reports whether a peer calls its address otherwise now than when it was configured.
func (id identity) movedSince(node ident.NodeID, newest string) bool {
	for _, r := range id.Routes {
		if r.Node == node {
			return newest != "" && r.Called != "" && r.Called != newest
		}
	}
	return false
}
