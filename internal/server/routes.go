package server

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/kalamdb/kalamdb-go/internal/ident"
	"github.com/kalamdb/kalamdb-go/internal/multiraft/transport"
)

// This file finds peers, also those that have moved. A node that comes back at another address says so with every stream
// that it opens, for before the others can answer it, it can neither ask a leader nor have its address recorded. None of
// the addresses that are known of a peer is trusted: what is configured may be out of date, or a way of the operator's own,
// through a proxy or another network; what the peer says may be good in its own network only; what is recorded may be older
// than both. So they are tried in turn, each after the one before has failed, and a way that is good is kept.

// ways is which way to each peer is taken, and what the peers said of their addresses since the start. The zero value is ready.
type ways struct {
	mu sync.Mutex // guards by
	by map[ident.ReplicaID]way
}

type way struct {
	said  string // by the peer itself; empty as long as it has said nothing
	taken string // empty for the first of the addresses that are known
}

// addresses lists what is known of a peer, each once and the first choice first.
func (w way) addresses(configured string, known []string) []string {
	var all []string
	for _, addr := range append([]string{configured, w.said}, known...) {
		if addr != "" && !slices.Contains(all, addr) {
			all = append(all, addr)
		}
	}
	return all
}

// among returns the one of a peer's addresses that is taken; there is at least one.
func (w way) among(addresses []string) string {
	if slices.Contains(addresses, w.taken) {
		return w.taken
	}
	return addresses[0]
}

// find returns the address to use, empty when none is known.
func (w *ways) find(replica ident.ReplicaID, configured string, known ...string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.by[replica]
	if all := one.addresses(configured, known); len(all) > 0 {
		return one.among(all)
	}
	return ""
}

// failed goes on to the next address, if it is still the one in use that has failed.
func (w *ways) failed(replica ident.ReplicaID, addr, configured string, known ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.by[replica]
	all := one.addresses(configured, known)
	if len(all) < 2 || one.among(all) != addr {
		return
	}
	one.taken = "" // after the last it is the first again
	if next := slices.Index(all, addr) + 1; next < len(all) {
		one.taken = all[next]
	}
	w.set(replica, one)
}

// take notes what a peer says, and reports whether it says another address than before. Who is not looked for where it is
// configured to be, is looked for there first.
func (w *ways) take(replica ident.ReplicaID, addr, recorded string) (moved bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.by[replica]
	if one.said == addr {
		return false
	}
	before := cmp.Or(one.said, recorded, addr)
	one.said = addr
	if one.taken != "" {
		one.taken = addr
	}
	w.set(replica, one)
	return before != addr
}

func (w *ways) set(replica ident.ReplicaID, one way) {
	if w.by == nil {
		w.by = make(map[ident.ReplicaID]way)
	}
	w.by[replica] = one
}

// keep forgets all but members.
func (w *ways) keep(member func(ident.ReplicaID) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.by, func(replica ident.ReplicaID, _ way) bool { return !member(replica) })
}

// HandleAddress implements transport.AddressKeeper. Without certificates anybody can claim to be any replica, so nothing
// is kept of who is no member; a member that is not known here yet says it again with its next stream or call.
func (h peerHandler) HandleAddress(from ident.ReplicaID, addr string) (moved bool) {
	book := addressBook(h)
	return book.member(from) && h.n.ways.take(from, addr, book.recorded(from))
}

var _ transport.AddressKeeper = peerHandler{}

// addressBook finds peers: first where configuration says, since its operator wrote it; then where the node itself says;
// then where the catalog has it, or the other members; where nothing else is known, where this node was told when it joined.
type addressBook struct{ n *Node }

var _ transport.WayChooser = addressBook{}

// Address implements transport.Resolver.
func (b addressBook) Address(replica ident.ReplicaID) (string, bool) {
	configured, known := b.known(replica)
	if addr := b.n.ways.find(replica, configured, known...); addr != "" {
		return addr, true
	}
	for _, m := range b.n.who().Members {
		if m.Replica == replica {
			return m.RPCAddr, m.RPCAddr != ""
		}
	}
	return "", false
}

// AddressFailed implements transport.WayChooser.
func (b addressBook) AddressFailed(replica ident.ReplicaID, addr string) {
	configured, known := b.known(replica)
	b.n.ways.failed(replica, addr, configured, known...)
}

// known is what is known of a replica's address but for what it says itself.
func (b addressBook) known(replica ident.ReplicaID) (configured string, known []string) {
	if node, ok := b.node(replica); ok {
		for _, peer := range b.n.cfg.Cluster.Others() {
			if peer.NodeID == uint64(node) {
				configured = peer.RPCAddr
			}
		}
	}
	known = append(known, b.recorded(replica))
	if m, ok := b.n.gossip.told(replica); ok {
		known = append(known, m.GetRpcAddr())
	}
	return configured, known
}

// recorded is what the catalog says of a replica's address, empty when it says nothing.
func (b addressBook) recorded(replica ident.ReplicaID) string {
	if m, ok := b.n.catalog.Current().Member(replica); ok {
		return m.RPCAddr
	}
	return ""
}

// member reports whether a replica is one of the cluster's, as far as this node has heard.
func (b addressBook) member(replica ident.ReplicaID) bool {
	if m, ok := b.n.catalog.Current().Member(replica); ok {
		return !m.Removed
	}
	_, ok := b.node(replica)
	return ok
}
