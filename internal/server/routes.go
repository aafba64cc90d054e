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
// that it opens, for before the others can answer it, it can neither ask a leader nor have its address recorded. Who is not reached so, since
// it has moved too, hears of it from the others, who pass on what they were told. None of the addresses that are known of a peer is trusted:
// what is configured may be out of date, or a way of the operator's own, through a proxy or another network; what the peer says may be good
// in its own network only; what others were told or is recorded may be older than both. So the transport tries all of them, each after the
// one before has failed or kept it waiting, and the one at which the peer itself answers is kept.

// ways is which way to each peer is taken, and what the peers said of their addresses since the start. The zero value is ready.
type ways struct {
	mu sync.Mutex // guards by
	by map[ident.ReplicaID]way
}

type way struct {
	said  string // by the peer itself; empty as long as it has said nothing
	taken string // where it was found; empty where that is as configured, or was not looked for
}

// addresses lists what is known of a peer, each once and the first choice first.
func (w way) addresses(configured string, known []string) []string {
	var all []string
	for _, addr := range append([]string{configured, w.said}, known...) {
		if addr != "" && !slices.Contains(all, addr) {
			all = append(all, addr)
		}
	}
	if i := slices.Index(all, w.taken); i > 0 {
		copy(all[1:], all[:i])
		all[0] = w.taken
	}
	return all
}

// find lists the addresses to try.
func (w *ways) find(replica ident.ReplicaID, configured string, known ...string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.by[replica].addresses(configured, known)
}

// found notes at which of its addresses a peer was found.
func (w *ways) found(replica ident.ReplicaID, addr, configured string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.by[replica]
	if one.taken = addr; addr == configured {
		one.taken = ""
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

// said is what a peer has said, empty when it has said nothing.
func (w *ways) said(replica ident.ReplicaID) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.by[replica].said
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

// addressBook finds peers: first where one was found last, where configuration says, since its operator wrote it, and where the node itself says;
// then where the catalog has it, or the other members do, who were told or have it so in their catalogs; where nothing else is known, where this
// node was told when it joined.
type addressBook struct{ n *Node }

var _ transport.WayChooser = addressBook{}

// Address implements transport.Resolver.
func (b addressBook) Address(replica ident.ReplicaID) (string, bool) {
	if all := b.Addresses(replica); len(all) > 0 {
		return all[0], true
	}
	return "", false
}

// Addresses implements transport.WayChooser.
func (b addressBook) Addresses(replica ident.ReplicaID) []string {
	if all := b.n.ways.find(replica, b.configured(replica), b.known(replica)...); len(all) > 0 {
		return all
	}
	for _, m := range b.n.who().Members {
		if m.Replica == replica && m.RPCAddr != "" {
			return []string{m.RPCAddr}
		}
	}
	return nil
}

// AddressTaken implements transport.WayChooser.
func (b addressBook) AddressTaken(replica ident.ReplicaID, addr string) {
	b.n.ways.found(replica, addr, b.configured(replica))
}

// configured is what the configuration says of a replica's address, empty when it says nothing.
func (b addressBook) configured(replica ident.ReplicaID) string {
	if node, ok := b.node(replica); ok {
		for _, peer := range b.n.cfg.Cluster.Others() {
			if peer.NodeID == uint64(node) {
				return peer.RPCAddr
			}
		}
	}
	return ""
}

// known is what else is known of a replica's address but for what it says itself.
func (b addressBook) known(replica ident.ReplicaID) []string {
	known := []string{b.recorded(replica)}
	for _, m := range b.n.gossip.told(replica) {
		if addr := m.GetRpcAddr(); transport.IsAddress(addr) {
			known = append(known, addr)
		}
	}
	return known
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
